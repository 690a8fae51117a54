// The operating system behind one interface: files, directories, locks.
//
// Everything above this room reaches the disk only through FileSystem, so that a test can replace
// it by one that loses, tears or fails writes (io/fault_file_system.h). All paths are absolute or
// relative to the process, as the operating system takes them. Methods may be called from any
// thread; one File may be used by several threads only for ReadAt.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"

namespace gapless::io {

// Part of one gathered write.
struct IoVec {
  const void* data = nullptr;
  size_t size = 0;
};

class File {
 public:
  virtual ~File() = default;
  // Reads up to `size` bytes at `offset`; *got < size only at the end of the file.
  virtual Status ReadAt(uint64_t offset, void* to, size_t size, size_t* got) = 0;
  // Writes everything or fails; retries EINTR and short writes itself. Extends the file if needed.
  virtual Status WriteAt(uint64_t offset, const IoVec* parts, size_t count) = 0;
  Status WriteAt(uint64_t offset, Slice bytes) {
    const IoVec part{bytes.data(), bytes.size()};
    return WriteAt(offset, &part, 1);
  }
  // fdatasync / fsync. After a failure the caller must not retry (P4).
  virtual Status SyncData() = 0;
  virtual Status Sync() = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // Allocates blocks and sets the length to at least offset + size; new bytes read as zero.
  // Where the file system cannot allocate, it writes zeros.
  virtual Status Allocate(uint64_t offset, uint64_t size) = 0;
  virtual Result<uint64_t> Size() = 0;
  virtual const std::string& path() const = 0;
};

// Held until destruction. Released by the kernel when the process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

enum class OpenMode {
  kRead,       // must exist
  kReadWrite,  // must exist: absence is an error, never an empty file
  kCreateNew,  // must not exist
};

enum class LockMode { kShared, kExclusive };

struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;  // 0600
  virtual Status CreateDirectory(const std::string& path) = 0;  // 0700; an existing one is an error
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Remove(const std::string& path) = 0;           // a file
  virtual Status RemoveDirectory(const std::string& path) = 0;  // an empty one
  virtual Status SyncDirectory(const std::string& path) = 0;
  // Names without "." and "..", in bytewise order.
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  // Absence is a value, an I/O error is not absence.
  virtual Result<bool> Exists(const std::string& path) = 0;
  virtual Result<bool> IsDirectory(const std::string& path) = 0;
  virtual Result<uint64_t> FileSize(const std::string& path) = 0;
  virtual Result<FileIdentity> Identify(const std::string& path) = 0;
  virtual Result<uint64_t> FreeBytes(const std::string& path) = 0;
  // flock without waiting on an existing or new file. kLocked if somebody else holds it.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path, LockMode mode) = 0;
};

// The real one; lives for the whole process.
FileSystem* PosixFileSystem();

// Whole small files (identity, pointers). ReadWholeFile refuses more than `max_bytes`.
Result<std::string> ReadWholeFile(FileSystem* fs, const std::string& path, uint64_t max_bytes);
// Writes `path`.tmp, fsyncs it, renames it over `path`, fsyncs the directory.
Status PublishFile(FileSystem* fs, const std::string& directory, const std::string& name,
                   Slice bytes);
// Removes a directory and all in it. Not atomic.
Status RemoveTree(FileSystem* fs, const std::string& path);

std::string JoinPath(const std::string& directory, const std::string& name);

}  // namespace gapless::io
