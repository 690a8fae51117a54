// Writing and reading files of lost/. See the header.
#include "engine/offline_lost.h"

#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "engine/offline_read.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr size_t kVersionAt = 8;
constexpr size_t kReasonAt = 12;
constexpr size_t kClusterAt = 16;
constexpr size_t kFromAt = 32;
constexpr size_t kToAt = 64;
constexpr size_t kTimeAt = 96;
constexpr size_t kRecordsAt = 104;
constexpr size_t kOperationsAt = 112;
constexpr size_t kBytesAt = 116;
constexpr size_t kCrcAt = 124;
constexpr uint32_t kEntryWhole = 1;
constexpr uint32_t kEntryDamaged = 2;

// Operations are counted in four bytes: a count that does not fit is shown as the largest.
std::string EncodeHeader(const LostHeader& header) {
  std::string bytes(kLostHeaderBytes, '\0');
  char* const to = bytes.data();
  std::memcpy(to, kLostMagic, 8);
  StoreU32(to + kVersionAt, kLostVersion);
  StoreU32(to + kReasonAt, static_cast<uint32_t>(header.reason));
  std::memcpy(to + kClusterAt, header.cluster.bytes.data(), 16);
  EncodePosition(header.from, to + kFromAt);
  EncodePosition(header.to, to + kToAt);
  StoreU64(to + kTimeAt, header.time_ms);
  StoreU64(to + kRecordsAt, header.records);
  StoreU32(to + kOperationsAt,
           static_cast<uint32_t>(std::min<uint64_t>(header.operations, UINT32_MAX)));
  StoreU64(to + kBytesAt, header.bytes);
  StoreU32(to + kCrcAt, Crc32c(Slice(to, kCrcAt)));
  return bytes;
}

Status DecodeHeader(Slice bytes, const std::string& file, LostHeader* header) {
  if (bytes.size() != kLostHeaderBytes) {
    return Status::Corrupt("the lost file is short", file, bytes.size()).With("what", "short");
  }
  const char* const from = bytes.data();
  if (std::memcmp(from, kLostMagic, 8) != 0) {
    return Status::Corrupt("not a lost file", file, 0).With("what", "magic");
  }
  if (Crc32c(bytes.Sub(0, kCrcAt)) != LoadU32(from + kCrcAt)) {
    return Status::Corrupt("the header of the lost file fails its checksum", file, kCrcAt)
        .With("what", "header_crc");
  }
  const uint32_t reason = LoadU32(from + kReasonAt);
  if (LoadU32(from + kVersionAt) != kLostVersion || reason < 1 || reason > 4) {
    return Status::Error(Code::kFormatUnsupported, "the lost file is of another version")
        .WithFile(file, kVersionAt);
  }
  header->reason = static_cast<LostReason>(reason);
  std::memcpy(header->cluster.bytes.data(), from + kClusterAt, 16);
  header->from = DecodePosition(from + kFromAt);
  header->to = DecodePosition(from + kToAt);
  header->time_ms = LoadU64(from + kTimeAt);
  header->records = LoadU64(from + kRecordsAt);
  header->operations = LoadU32(from + kOperationsAt);
  header->bytes = LoadU64(from + kBytesAt);
  return Status::Ok();
}

bool IsLostName(Slice name) {
  uint32_t term = 0;
  uint32_t run = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  return io::ParseLostName(name, &term, &run, &first, &last);
}

}  // namespace

Result<std::unique_ptr<LostWriter>> LostWriter::Begin(io::FileSystem* fs, const std::string& path,
                                                      const std::string& name) {
  const std::string directory = io::JoinPath(path, io::kLostDirectory);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) RETURN_IF_ERROR(fs->CreateDirectory(directory));
  RETURN_IF_ERROR(fs->SyncDirectory(path));
  std::unique_ptr<LostWriter> writer(new LostWriter(fs, directory, name));
  const std::string temporary = io::JoinPath(directory, name + io::kTemporarySuffix);
  const Result<bool> left_over = fs->Exists(temporary);
  if (!left_over.ok()) return left_over.status();
  if (left_over.value()) RETURN_IF_ERROR(fs->Remove(temporary));
  Result<std::unique_ptr<io::File>> file = fs->Open(temporary, io::OpenMode::kCreateNew);
  if (!file.ok()) return file.status();
  writer->file_ = std::move(file.value());
  return writer;
}

Status LostWriter::Add(const LostEntry& entry) {
  char head[kLostEntryBytes] = {};
  StoreU32(head, kLostEntryMagic);
  StoreU32(head + 4, entry.whole ? kEntryWhole : kEntryDamaged);
  StoreU64(head + 8, entry.offset);
  StoreU64(head + 16, entry.bytes.size());
  StoreU32(head + 24, Crc32c(entry.bytes));
  StoreU32(head + 28, Crc32c(Slice(head, 28)));
  const char zeros[8] = {};
  const size_t padded = static_cast<size_t>(AlignUp8(entry.bytes.size()));
  const io::IoVec parts[3] = {{head, sizeof head},
                              {entry.bytes.data(), entry.bytes.size()},
                              {zeros, padded - entry.bytes.size()}};
  RETURN_IF_ERROR(file_->WriteAt(at_, parts, 3));
  at_ += sizeof head + padded;
  return Status::Ok();
}

Status LostWriter::Publish(const LostHeader& header) {
  RETURN_IF_ERROR(file_->WriteAt(0, Slice(EncodeHeader(header))));
  RETURN_IF_ERROR(file_->Sync());
  file_.reset();
  const std::string path = io::JoinPath(directory_, name_);
  RETURN_IF_ERROR(fs_->Rename(path + io::kTemporarySuffix, path));
  return fs_->SyncDirectory(directory_);
}

Status ReadLostFile(io::FileSystem* fs, const std::string& path, LostHeader* header,
                    const std::function<bool(const LostEntry&)>& each, uint64_t begin) {
  Result<std::unique_ptr<io::File>> opened = fs->Open(path, io::OpenMode::kRead);
  if (!opened.ok()) return opened.status();
  io::File* const file = opened.value().get();
  const Result<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();
  char head[kLostHeaderBytes];
  size_t got = 0;
  RETURN_IF_ERROR(file->ReadAt(0, head, sizeof head, &got));
  RETURN_IF_ERROR(DecodeHeader(Slice(head, got), path, header));
  std::string bytes;
  for (uint64_t at = begin; at < size.value();) {
    RETURN_IF_ERROR(file->ReadAt(at, head, kLostEntryBytes, &got));
    const bool known = got == kLostEntryBytes && LoadU32(head) == kLostEntryMagic &&
                       Crc32c(Slice(head, 28)) == LoadU32(head + 28);
    const uint64_t length = known ? LoadU64(head + 16) : 0;
    if (!known || length > size.value() - at - kLostEntryBytes) {
      return Status::Corrupt("an entry of the lost file is damaged", path, at)
          .With("what", "header_crc");
    }
    bytes.resize(static_cast<size_t>(length));
    RETURN_IF_ERROR(file->ReadAt(at + kLostEntryBytes, bytes.data(), bytes.size(), &got));
    if (got != bytes.size() || Crc32c(bytes) != LoadU32(head + 24)) {
      return Status::Corrupt("an entry of the lost file fails its checksum", path,
                             at + kLostEntryBytes)
          .With("what", "body_crc");
    }
    at += kLostEntryBytes + AlignUp8(length);
    if (!each({LoadU32(head + 4) == kEntryWhole, LoadU64(head + 8), bytes, at})) {
      return Status::Ok();
    }
  }
  return Status::Ok();
}

Result<std::vector<LostFile>> ListLost(io::FileSystem* fs, const std::string& path) {
  const Result<std::unique_ptr<io::FileLock>> lock =
      LockStore(fs, io::SystemClock(), path, io::LockMode::kShared);
  if (!lock.ok()) return lock.status();
  std::vector<LostFile> files;
  const std::string directory = io::JoinPath(path, io::kLostDirectory);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return files;
  const Result<std::vector<std::string>> names = fs->List(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (!IsLostName(name)) continue;
    LostFile file;
    file.name = name;
    RETURN_IF_ERROR(ReadLostFile(fs, io::JoinPath(directory, name), &file.header,
                                 [](const LostEntry&) { return false; }));
    files.push_back(std::move(file));
  }
  return files;
}

Status VisitLost(io::FileSystem* fs, const std::string& path, const std::string& name,
                 uint64_t begin, LostHeader* header,
                 const std::function<bool(const LostEntry&)>& each) {
  const std::string file = io::JoinPath(io::JoinPath(path, io::kLostDirectory), name);
  const Result<bool> exists = IsLostName(name) ? fs->Exists(file) : Result<bool>(false);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    return Status::Error(Code::kNotFound, "there is no such file in lost/").WithFile(file, -1);
  }
  return ReadLostFile(fs, file, header, each, std::max<uint64_t>(begin, kLostHeaderBytes));
}

}  // namespace gapless::engine
