// Helpers over any FileSystem: whole small files and trees. Callers' threads.
#include "io/file_system.h"

#include "io/file_names.h"

namespace gapless::io {

std::string JoinPath(const std::string& directory, const std::string& name) {
  if (directory.empty()) return name;
  return directory.back() == '/' ? directory + name : directory + "/" + name;
}

Result<std::string> ReadWholeFile(FileSystem* fs, const std::string& path, uint64_t max_bytes) {
  Result<std::unique_ptr<File>> opened = fs->Open(path, OpenMode::kRead);
  if (!opened.ok()) return opened.status();
  File* file = opened.value().get();
  const Result<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();
  if (size.value() > max_bytes) {
    return Status::Corrupt("file of " + std::to_string(size.value()) + " bytes, at most " +
                               std::to_string(max_bytes) + " expected",
                           path, max_bytes);
  }
  std::string bytes(static_cast<size_t>(size.value()), '\0');
  size_t got = 0;
  RETURN_IF_ERROR(file->ReadAt(0, bytes.data(), bytes.size(), &got));
  bytes.resize(got);
  return bytes;
}

Status PublishFile(FileSystem* fs, const std::string& directory, const std::string& name,
                   Slice bytes) {
  const std::string path = JoinPath(directory, name);
  const std::string temporary = path + kTemporarySuffix;
  const Result<bool> left_over = fs->Exists(temporary);
  if (!left_over.ok()) return left_over.status();
  if (left_over.value()) RETURN_IF_ERROR(fs->Remove(temporary));
  {
    Result<std::unique_ptr<File>> file = fs->Open(temporary, OpenMode::kCreateNew);
    if (!file.ok()) return file.status();
    RETURN_IF_ERROR(file.value()->WriteAt(0, bytes));
    RETURN_IF_ERROR(file.value()->Sync());
  }
  RETURN_IF_ERROR(fs->Rename(temporary, path));
  return fs->SyncDirectory(directory);
}

Status RemoveTree(FileSystem* fs, const std::string& path) {
  const Result<std::vector<std::string>> names = fs->List(path);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    const std::string child = JoinPath(path, name);
    const Result<bool> directory = fs->IsDirectory(child);
    if (!directory.ok()) return directory.status();
    RETURN_IF_ERROR(directory.value() ? RemoveTree(fs, child) : fs->Remove(child));
  }
  return fs->RemoveDirectory(path);
}

}  // namespace gapless::io
