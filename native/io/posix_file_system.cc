// FileSystem on POSIX calls. Any thread.
//
// Invariants: every descriptor is close-on-exec; files are 0600, directories 0700; ENOSPC and
// EDQUOT are kNoSpace, every other failure is kIo with errno and path; a failed sync is never
// retried here.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/file_system.h"
#include "io/gathered_write.h"
#include "io/posix_lock.h"

namespace gapless::io {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
constexpr size_t kZeroBytes = 64 << 10;

Status Failed(const char* what, const std::string& path) {
  return Status::FromErrno(errno, what, path);
}

int SyncDescriptor(int fd) {
#if defined(__APPLE__)
  return fcntl(fd, F_FULLFSYNC);  // fsync alone does not reach the platter there
#else
  return fsync(fd);
#endif
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  // What close reports is of no use: nothing counts as written before a sync said so.
  ~PosixFile() override { close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  using File::WriteAt;
  Status ReadAt(uint64_t offset, void* to, size_t size, size_t* got) override;
  Status WriteAt(uint64_t offset, const IoVec* parts, size_t count) override;
  Status SyncData() override;
  Status Sync() override;
  Status Truncate(uint64_t size) override;
  Status Allocate(uint64_t offset, uint64_t size) override;
  Result<uint64_t> Size() override;
  const std::string& path() const override { return path_; }

 private:
  Status WriteZeros(uint64_t from, uint64_t end);

  const int fd_;
  const std::string path_;
};

Status PosixFile::ReadAt(uint64_t offset, void* to, size_t size, size_t* got) {
  auto* at = static_cast<char*>(to);
  *got = 0;
  while (*got < size) {
    const ssize_t n = pread(fd_, at + *got, size - *got, static_cast<off_t>(offset + *got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return Failed("read", path_).WithFile(path_, static_cast<int64_t>(offset + *got));
    }
    if (n == 0) break;
    *got += static_cast<size_t>(n);
  }
  return Status::Ok();
}

Status PosixFile::WriteAt(uint64_t offset, const IoVec* parts, size_t count) {
  const int error =
      WriteGathered(parts, count, &offset, [this](const iovec* vectors, int used, uint64_t at) {
        return pwritev(fd_, vectors, used, static_cast<off_t>(at));
      });
  if (error == 0) return Status::Ok();
  return Status::FromErrno(error, "write", path_).WithFile(path_, static_cast<int64_t>(offset));
}

Status PosixFile::SyncData() {
#if defined(GAPLESS_BUG_NO_FDATASYNC)
  return Status::Ok();
#elif defined(__APPLE__)
  return SyncDescriptor(fd_) == 0 ? Status::Ok() : Failed("fdatasync", path_);
#else
  return fdatasync(fd_) == 0 ? Status::Ok() : Failed("fdatasync", path_);
#endif
}

Status PosixFile::Sync() {
  return SyncDescriptor(fd_) == 0 ? Status::Ok() : Failed("fsync", path_);
}

Status PosixFile::Truncate(uint64_t size) {
  while (ftruncate(fd_, static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) return Failed("truncate", path_);
  }
  return Status::Ok();
}

Status PosixFile::Allocate(uint64_t offset, uint64_t size) {
  if (size == 0) return Status::Ok();
#if defined(__linux__)
  while (true) {
    if (fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(size)) == 0) {
      return Status::Ok();
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) break;
    if (errno != EINTR) return Failed("allocate", path_);
  }
#endif
  const Result<uint64_t> length = Size();
  if (!length.ok()) return length.status();
  return WriteZeros(std::max(offset, length.value()), offset + size);
}

Status PosixFile::WriteZeros(uint64_t from, uint64_t end) {
  static const char kZeros[kZeroBytes] = {};
  while (from < end) {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(end - from, kZeroBytes));
    RETURN_IF_ERROR(WriteAt(from, Slice(kZeros, size)));
    from += size;
  }
  return Status::Ok();
}

Result<uint64_t> PosixFile::Size() {
  struct stat facts;
  if (fstat(fd_, &facts) != 0) return Failed("stat", path_);
  return static_cast<uint64_t>(facts.st_size);
}

class PosixFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status CreateDirectory(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Result<bool> IsDirectory(const std::string& path) override;
  Result<uint64_t> FileSize(const std::string& path) override;
  Result<FileIdentity> Identify(const std::string& path) override;
  Result<uint64_t> FreeBytes(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path, LockMode mode) override {
    return LockPosixFile(path, mode);
  }
};

int OpenFlags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY | O_CLOEXEC;
    case OpenMode::kReadWrite:
      return O_RDWR | O_CLOEXEC;
    case OpenMode::kCreateNew:
      return O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
  }
  return O_RDONLY | O_CLOEXEC;
}

Result<std::unique_ptr<File>> PosixFiles::Open(const std::string& path, OpenMode mode) {
  int fd = -1;
  do {
    fd = open(path.c_str(), OpenFlags(mode), kFileMode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return Failed(mode == OpenMode::kCreateNew ? "create" : "open", path);
  auto file = std::make_unique<PosixFile>(fd, path);
  struct stat facts;
  if (fstat(fd, &facts) != 0) return Failed("stat", path);
  if (S_ISDIR(facts.st_mode)) return Status::FromErrno(EISDIR, "open", path);
  return std::unique_ptr<File>(std::move(file));
}

Status PosixFiles::CreateDirectory(const std::string& path) {
  return mkdir(path.c_str(), kDirectoryMode) == 0 ? Status::Ok() : Failed("mkdir", path);
}

Status PosixFiles::Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return Status::Ok();
  return Failed("rename", from).With("to", to);
}

Status PosixFiles::Remove(const std::string& path) {
  return unlink(path.c_str()) == 0 ? Status::Ok() : Failed("remove", path);
}

Status PosixFiles::RemoveDirectory(const std::string& path) {
  return rmdir(path.c_str()) == 0 ? Status::Ok() : Failed("rmdir", path);
}

Status PosixFiles::SyncDirectory(const std::string& path) {
#if defined(GAPLESS_BUG_NO_DIRSYNC)
  static_cast<void>(path);
  return Status::Ok();
#else
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed("open directory", path);
  const Status status = SyncDescriptor(fd) == 0 ? Status::Ok() : Failed("fsync directory", path);
  close(fd);
  return status;
#endif
}

Result<std::vector<std::string>> PosixFiles::List(const std::string& path) {
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return Failed("list", path);
  std::vector<std::string> names;
  while (true) {
    errno = 0;  // readdir reports its failure in errno alone
    const dirent* const entry = readdir(directory);
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  const Status status = errno == 0 ? Status::Ok() : Failed("list", path);
  closedir(directory);
  if (!status.ok()) return status;
  std::sort(names.begin(), names.end());
  return names;
}

Result<bool> PosixFiles::Exists(const std::string& path) {
  struct stat facts;
  // lstat: a dangling link is something that stands in the way, not absence.
  if (lstat(path.c_str(), &facts) == 0) return true;
  if (errno == ENOENT) return false;
  return Failed("stat", path);
}

Result<bool> PosixFiles::IsDirectory(const std::string& path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) == 0) return S_ISDIR(facts.st_mode);
  if (errno == ENOENT) return false;
  return Failed("stat", path);
}

Result<uint64_t> PosixFiles::FileSize(const std::string& path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0) return Failed("stat", path);
  return static_cast<uint64_t>(facts.st_size);
}

Result<FileIdentity> PosixFiles::Identify(const std::string& path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0) return Failed("stat", path);
  FileIdentity identity;
  identity.device = static_cast<uint64_t>(facts.st_dev);
  identity.inode = static_cast<uint64_t>(facts.st_ino);
  return identity;
}

Result<uint64_t> PosixFiles::FreeBytes(const std::string& path) {
  struct statvfs facts;
  if (statvfs(path.c_str(), &facts) != 0) return Failed("statvfs", path);
  return static_cast<uint64_t>(facts.f_bavail) * facts.f_frsize;
}

}  // namespace

// Never destroyed: files of other threads may outlive static destructors.
FileSystem* PosixFileSystem() {
  static FileSystem* const files = new PosixFiles;
  return files;
}

}  // namespace gapless::io
