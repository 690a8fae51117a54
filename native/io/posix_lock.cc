// flock with a table of the locks of this process.
#include "io/posix_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "base/mutex.h"

namespace gapless::io {
namespace {

struct Held {
  bool exclusive = false;
  int holders = 0;
};

class LockTable {
 public:
  // False if the mode does not go together with what is held.
  bool Acquire(FileIdentity file, LockMode mode) {
    const MutexLock lock(&mutex_);
    Held& held = held_[{file.device, file.inode}];
    const bool exclusive = mode == LockMode::kExclusive;
    if (held.holders > 0 && (held.exclusive || exclusive)) return false;
    held.exclusive = exclusive;
    held.holders++;
    return true;
  }

  void Release(FileIdentity file) {
    const MutexLock lock(&mutex_);
    const auto found = held_.find({file.device, file.inode});
    GAPLESS_ASSERT(found != held_.end() && found->second.holders > 0);
    if (--found->second.holders == 0) held_.erase(found);
  }

 private:
  Mutex mutex_;
  std::map<std::pair<uint64_t, uint64_t>, Held> held_ GUARDED_BY(mutex_);
};

LockTable* Table() {
  static LockTable* const table = new LockTable;
  return table;
}

FileIdentity IdentityOf(const struct stat& facts) {
  FileIdentity identity;
  identity.device = static_cast<uint64_t>(facts.st_dev);
  identity.inode = static_cast<uint64_t>(facts.st_ino);
  return identity;
}

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(FileIdentity file) : file_(file) {}
  // Closing the only descriptor of this open releases the lock; the table comes last.
  ~PosixLock() override {
    if (fd_ >= 0) close(fd_);
    Table()->Release(file_);
  }
  PosixLock(const PosixLock&) = delete;
  PosixLock& operator=(const PosixLock&) = delete;

  // Takes the descriptor over.
  Status Attach(int fd, const std::string& path, LockMode mode) {
    fd_ = fd;
    const int operation = (mode == LockMode::kExclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
    while (flock(fd_, operation) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) return Status::FromErrno(errno, "lock", path);
      return Status::Error(Code::kLocked, "held by another process").WithFile(path, -1);
    }
    return Status::Ok();
  }

 private:
  const FileIdentity file_;
  int fd_ = -1;
};

// A reader of a store that it may not write to still gets its shared lock. flock needs no right to
// write, so a shared lock changes nothing in an existing file.
int OpenForLock(const std::string& path, int flags) {
  while (true) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd >= 0 || errno != EINTR) return fd;
  }
}

Result<std::unique_ptr<FileLock>> LockIdentified(const std::string& path, LockMode mode,
                                                 FileIdentity file, bool* replaced) {
  if (!Table()->Acquire(file, mode)) {
    return Status::Error(Code::kLocked, "held by this process").WithFile(path, -1);
  }
  auto lock = std::make_unique<PosixLock>(file);
  const int fd = OpenForLock(path, mode == LockMode::kShared ? O_RDONLY : O_RDWR);
  if (fd < 0) return Status::FromErrno(errno, "open lock", path);
  RETURN_IF_ERROR(lock->Attach(fd, path, mode));
  struct stat opened;
  struct stat named;
  if (fstat(fd, &opened) != 0) return Status::FromErrno(errno, "stat lock", path);
  const bool still_named = stat(path.c_str(), &named) == 0 && named.st_ino == opened.st_ino;
  const FileIdentity found = IdentityOf(opened);
  *replaced = !still_named || found.device != file.device || found.inode != file.inode;
  return std::unique_ptr<FileLock>(std::move(lock));
}

}  // namespace

Result<std::unique_ptr<FileLock>> LockPosixFile(const std::string& path, LockMode mode) {
  constexpr int kAttempts = 8;
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    struct stat facts;
    if (stat(path.c_str(), &facts) != 0) {
      if (errno != ENOENT) return Status::FromErrno(errno, "stat lock", path);
      const int fd = OpenForLock(path, O_RDWR | O_CREAT);
      if (fd < 0) return Status::FromErrno(errno, "create lock", path);
      close(fd);
      continue;
    }
    bool replaced = false;
    Result<std::unique_ptr<FileLock>> lock =
        LockIdentified(path, mode, IdentityOf(facts), &replaced);
    if (!lock.ok() || !replaced) return lock;
  }
  return Status::Error(Code::kLocked, "lock file is being replaced").WithFile(path, -1);
}

}  // namespace gapless::io
