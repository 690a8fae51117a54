// The POSIX file layer on a real directory, its lock, and the helpers of file_system.h.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/random.h"
#include "base/thread.h"
#include "check.h"
#include "io/file_system.h"
#include "io/gathered_write.h"

namespace gapless::io {
namespace {

using check::TempDir;

FileSystem* Fs() { return PosixFileSystem(); }

void WriteNew(const std::string& path, Slice bytes) {
  Result<std::unique_ptr<File>> file = Fs()->Open(path, OpenMode::kCreateNew);
  REQUIRE_OK(file);
  CHECK_OK(file.value()->WriteAt(0, bytes));
}

std::string Contents(const std::string& path) {
  const Result<std::string> bytes = ReadWholeFile(Fs(), path, 1 << 20);
  CHECK_OK(bytes);
  return bytes.ok() ? bytes.value() : "";
}

TEST("an absent file is an errno and no file") {
  const TempDir dir;
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    const Result<std::unique_ptr<File>> file = Fs()->Open(dir / "absent", mode);
    REQUIRE(!file.ok());
    CHECK(file.status().Is(Code::kIo));
    CHECK_EQ(file.status().sys_errno(), ENOENT);
    CHECK_EQ(file.status().file(), dir / "absent");
  }
  const Result<bool> exists = Fs()->Exists(dir / "absent");
  CHECK(exists.ok() && !exists.value());
}

TEST("creating refuses a file that exists") {
  const TempDir dir;
  WriteNew(dir / "f", "old");
  const Result<std::unique_ptr<File>> again = Fs()->Open(dir / "f", OpenMode::kCreateNew);
  CHECK_EQ(again.status().sys_errno(), EEXIST);
  CHECK_EQ(Contents(dir / "f"), "old");
}

TEST("files and directories are for their owner only") {
  const TempDir dir;
  WriteNew(dir / "f", "");
  REQUIRE_OK(Fs()->CreateDirectory(dir / "d"));
  struct stat facts;
  stat((dir / "f").c_str(), &facts);
  CHECK_EQ(facts.st_mode & 0777, 0600U);
  stat((dir / "d").c_str(), &facts);
  CHECK_EQ(facts.st_mode & 0777, 0700U);
}

TEST("a directory cannot be opened as a file") {
  const TempDir dir;
  const Result<std::unique_ptr<File>> file = Fs()->Open(dir.path(), OpenMode::kRead);
  CHECK_EQ(file.status().sys_errno(), EISDIR);
}

TEST("a gathered write of many parts arrives in order") {
  const TempDir dir;
  SeededRandom random(1);
  std::vector<std::string> pieces;
  std::string whole;
  for (int i = 0; i < 3000; i++) {
    pieces.push_back(std::string(static_cast<size_t>(random.Below(40)),
                                 static_cast<char>('a' + random.Below(26))));
    whole += pieces.back();
  }
  std::vector<IoVec> parts;
  for (const std::string& piece : pieces) parts.push_back(IoVec{piece.data(), piece.size()});
  Result<std::unique_ptr<File>> file = Fs()->Open(dir / "f", OpenMode::kCreateNew);
  REQUIRE_OK(file);
  REQUIRE_OK(file.value()->WriteAt(5, parts.data(), parts.size()));
  CHECK(Contents(dir / "f") == std::string(5, '\0') + whole);
  CHECK_OK(file.value()->WriteAt(0, nullptr, 0));
}

TEST("a gathered write goes on after short writes and interruptions") {
  SeededRandom random(2);
  for (int round = 0; round < 200; round++) {
    std::vector<std::string> pieces;
    std::string whole;
    for (uint64_t i = random.Below(600); i > 0; i--) {
      const auto size = static_cast<size_t>(random.Below(5));
      pieces.push_back(std::string(size, static_cast<char>('a' + random.Below(26))));
      whole += pieces.back();
    }
    std::vector<IoVec> parts;
    for (const std::string& piece : pieces) parts.push_back(IoVec{piece.data(), piece.size()});
    std::string file;
    uint64_t offset = 100;
    const auto write_some = [&](const iovec* vectors, int count, uint64_t at) -> ssize_t {
      CHECK_EQ(at, 100 + file.size());
      errno = EINTR;
      if (random.OneIn(4)) return -1;
      std::string given;
      for (int i = 0; i < count; i++) {
        given.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
      }
      const size_t taken = 1 + static_cast<size_t>(random.Below(given.size()));
      file += given.substr(0, taken);
      return static_cast<ssize_t>(taken);
    };
    CHECK_EQ(WriteGathered(parts.data(), parts.size(), &offset, write_some), 0);
    CHECK(file == whole);
    CHECK_EQ(offset, 100 + whole.size());
  }
}

TEST("a gathered write stops at an error and says where") {
  const IoVec parts[] = {{"abc", 3}, {"def", 3}};
  uint64_t offset = 7;
  const auto fails_second = [](const iovec*, int, uint64_t at) -> ssize_t {
    errno = ENOSPC;
    return at == 7 ? 4 : -1;
  };
  CHECK_EQ(WriteGathered(parts, 2, &offset, fails_second), ENOSPC);
  CHECK_EQ(offset, 11U);
  const auto takes_nothing = [](const iovec*, int, uint64_t) -> ssize_t { return 0; };
  CHECK_EQ(WriteGathered(parts, 2, &offset, takes_nothing), EIO);
}

TEST("a read ends at the end of the file") {
  const TempDir dir;
  WriteNew(dir / "f", "0123456789");
  Result<std::unique_ptr<File>> file = Fs()->Open(dir / "f", OpenMode::kRead);
  REQUIRE_OK(file);
  char buffer[16] = {};
  size_t got = 99;
  REQUIRE_OK(file.value()->ReadAt(7, buffer, sizeof(buffer), &got));
  CHECK_EQ(got, 3U);
  CHECK_EQ(std::string(buffer, got), "789");
  REQUIRE_OK(file.value()->ReadAt(10, buffer, sizeof(buffer), &got));
  CHECK_EQ(got, 0U);
  const Status status = file.value()->WriteAt(0, Slice("x"));
  CHECK_EQ(status.sys_errno(), EBADF);
}

TEST("allocated bytes read as zeros, extend the file, and leave old bytes alone") {
  const TempDir dir;
  WriteNew(dir / "f", "head");
  Result<std::unique_ptr<File>> file = Fs()->Open(dir / "f", OpenMode::kReadWrite);
  REQUIRE_OK(file);
  REQUIRE_OK(file.value()->Allocate(0, 100000));
  const Result<uint64_t> size = file.value()->Size();
  REQUIRE(size.ok());
  CHECK_EQ(size.value(), 100000U);
  CHECK(Contents(dir / "f") == "head" + std::string(99996, '\0'));
  REQUIRE_OK(file.value()->Allocate(0, 10));
  REQUIRE_OK(file.value()->Truncate(2));
  REQUIRE_OK(file.value()->SyncData());
  REQUIRE_OK(file.value()->Sync());
  CHECK_EQ(Contents(dir / "f"), "he");
}

TEST("a directory lists its names in bytewise order") {
  const TempDir dir;
  for (const char* name : {"b", "B", "a", "\xc3\xa4", "10", "9"}) WriteNew(dir / name, "");
  const Result<std::vector<std::string>> names = Fs()->List(dir.path());
  REQUIRE(names.ok());
  const std::vector<std::string> expected{"10", "9", "B", "a", "b", "\xc3\xa4"};
  CHECK(names.value() == expected);
  CHECK_EQ(Fs()->List(dir / "absent").status().sys_errno(), ENOENT);
}

TEST("an error on the way to a name is not absence") {
  const TempDir dir;
  WriteNew(dir / "f", "");
  const Result<bool> exists = Fs()->Exists(dir / "f/below");
  REQUIRE(!exists.ok());
  CHECK_EQ(exists.status().sys_errno(), ENOTDIR);
}

TEST("a dangling link exists") {
  const TempDir dir;
  REQUIRE_EQ(symlink("nowhere", (dir / "link").c_str()), 0);
  const Result<bool> exists = Fs()->Exists(dir / "link");
  CHECK(exists.ok() && exists.value());
}

TEST("published bytes replace the old file and leave nothing behind") {
  const TempDir dir;
  REQUIRE_OK(PublishFile(Fs(), dir.path(), "CURRENT", "one"));
  WriteNew(dir / "CURRENT.tmp", "torn remains of an earlier attempt");
  REQUIRE_OK(PublishFile(Fs(), dir.path(), "CURRENT", "two"));
  CHECK_EQ(Contents(dir / "CURRENT"), "two");
  const Result<std::vector<std::string>> names = Fs()->List(dir.path());
  REQUIRE(names.ok());
  CHECK_EQ(names.value().size(), 1U);
}

TEST("a whole file that is too large is refused, not read") {
  const TempDir dir;
  WriteNew(dir / "f", "12345");
  CHECK_OK(ReadWholeFile(Fs(), dir / "f", 5));
  const Result<std::string> refused = ReadWholeFile(Fs(), dir / "f", 4);
  REQUIRE(!refused.ok());
  CHECK(refused.status().Is(Code::kCorrupt));
  CHECK_EQ(refused.status().file(), dir / "f");
}

TEST("a tree is removed with everything in it") {
  const TempDir dir;
  REQUIRE_OK(Fs()->CreateDirectory(dir / "a"));
  REQUIRE_OK(Fs()->CreateDirectory(dir / "a/b"));
  WriteNew(dir / "a/b/f", "x");
  CHECK_EQ(Fs()->RemoveDirectory(dir / "a").sys_errno(), ENOTEMPTY);
  REQUIRE_OK(RemoveTree(Fs(), dir / "a"));
  const Result<bool> exists = Fs()->Exists(dir / "a");
  CHECK(exists.ok() && !exists.value());
}

TEST("a renamed file keeps its identity") {
  const TempDir dir;
  WriteNew(dir / "a", "x");
  const Result<FileIdentity> before = Fs()->Identify(dir / "a");
  REQUIRE_OK(Fs()->Rename(dir / "a", dir / "b"));
  REQUIRE_OK(Fs()->SyncDirectory(dir.path()));
  const Result<FileIdentity> after = Fs()->Identify(dir / "b");
  REQUIRE(before.ok() && after.ok());
  CHECK_EQ(before.value().inode, after.value().inode);
  CHECK_EQ(before.value().device, after.value().device);
  CHECK_EQ(Fs()->Rename(dir / "a", dir / "c").sys_errno(), ENOENT);
}

TEST("an exclusive lock keeps out a second open in the same process") {
  const TempDir dir;
  Result<std::unique_ptr<FileLock>> first = Fs()->Lock(dir / "LOCK", LockMode::kExclusive);
  REQUIRE_OK(first);
  for (const LockMode mode : {LockMode::kExclusive, LockMode::kShared}) {
    const Result<std::unique_ptr<FileLock>> second = Fs()->Lock(dir / "LOCK", mode);
    CHECK(second.status().Is(Code::kLocked));
    CHECK_EQ(second.status().file(), dir / "LOCK");
  }
  first.value().reset();
  CHECK_OK(Fs()->Lock(dir / "LOCK", LockMode::kExclusive));
}

TEST("shared locks go together and keep an exclusive one out") {
  const TempDir dir;
  WriteNew(dir / "LOCK", "{}");
  Result<std::unique_ptr<FileLock>> first = Fs()->Lock(dir / "LOCK", LockMode::kShared);
  Result<std::unique_ptr<FileLock>> second = Fs()->Lock(dir / "LOCK", LockMode::kShared);
  REQUIRE_OK(first);
  REQUIRE_OK(second);
  CHECK(Fs()->Lock(dir / "LOCK", LockMode::kExclusive).status().Is(Code::kLocked));
  first.value().reset();
  CHECK(Fs()->Lock(dir / "LOCK", LockMode::kExclusive).status().Is(Code::kLocked));
  second.value().reset();
  CHECK_OK(Fs()->Lock(dir / "LOCK", LockMode::kExclusive));
  CHECK_EQ(Contents(dir / "LOCK"), "{}");
}

TEST("a lock is one lock under every name of the file") {
  const TempDir dir;
  WriteNew(dir / "LOCK", "");
  REQUIRE_EQ(symlink("LOCK", (dir / "other").c_str()), 0);
  const Result<std::unique_ptr<FileLock>> held = Fs()->Lock(dir / "LOCK", LockMode::kExclusive);
  REQUIRE_OK(held);
  CHECK(Fs()->Lock(dir / "other", LockMode::kExclusive).status().Is(Code::kLocked));
}

TEST("a lock holds though the file is opened and closed elsewhere in the process") {
  const TempDir dir;
  const Result<std::unique_ptr<FileLock>> held = Fs()->Lock(dir / "LOCK", LockMode::kExclusive);
  REQUIRE_OK(held);
  CHECK_EQ(Contents(dir / "LOCK"), "");
  CHECK(Fs()->Lock(dir / "LOCK", LockMode::kExclusive).status().Is(Code::kLocked));
}

TEST("of many threads one gets the exclusive lock") {
  const TempDir dir;
  Mutex mutex;
  std::vector<std::unique_ptr<FileLock>> held;
  Thread threads[4];
  for (Thread& thread : threads) {
    REQUIRE_OK(thread.Start("lock", [&] {
      for (int i = 0; i < 50; i++) {
        Result<std::unique_ptr<FileLock>> lock = Fs()->Lock(dir / "LOCK", LockMode::kExclusive);
        if (!lock.ok()) continue;
        const MutexLock guard(&mutex);
        held.push_back(std::move(lock.value()));
      }
    }));
  }
  for (Thread& thread : threads) thread.Join();
  CHECK_EQ(held.size(), 1U);
}

}  // namespace
}  // namespace gapless::io
