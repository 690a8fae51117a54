// The fault file system's own semantics: a tool that forgets too little proves nothing.
#include "io/fault_file_system.h"

#include <cerrno>
#include <set>
#include <string>

#include "base/random.h"
#include "base/thread.h"
#include "check.h"

namespace gapless::io {
namespace {

using Fs = FaultFileSystem;
using FsPtr = std::unique_ptr<FaultFileSystem>;

std::unique_ptr<File> OpenFile(FileSystem* fs, const std::string& path, OpenMode mode) {
  Result<std::unique_ptr<File>> file = fs->Open(path, mode);
  CHECK_OK(file);
  return file.ok() ? std::move(file.value()) : nullptr;
}

// A file whose name and first bytes are durable.
std::unique_ptr<File> DurableFile(FileSystem* fs, const std::string& name, Slice bytes) {
  std::unique_ptr<File> file = OpenFile(fs, "/" + name, OpenMode::kCreateNew);
  CHECK_OK(file->WriteAt(0, bytes));
  CHECK_OK(file->Sync());
  CHECK_OK(fs->SyncDirectory("/"));
  return file;
}

bool Has(FileSystem* fs, const std::string& path) {
  const Result<bool> exists = fs->Exists(path);
  CHECK_OK(exists);
  return exists.ok() && exists.value();
}

std::string Page(char fill) { return std::string(4096, fill); }

// All contents of `path` that some subset of the choices leaves behind; "-" where it is gone.
std::set<std::string> Outcomes(const Fs& fs, const std::string& path) {
  std::set<std::string> outcomes;
  const size_t count = fs.ChoiceCount();
  CHECK_LE(count, 12U);
  for (uint64_t bits = 0; bits < uint64_t{1} << count; bits++) {
    const FsPtr image = fs.ImageOfBits(bits);
    outcomes.insert(Has(image.get(), path) ? image->ReadRaw(path) : "-");
  }
  return outcomes;
}

TEST("what is synced survives every crash") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "kept");
  CHECK_EQ(fs.ChoiceCount(), 0U);
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f"), "kept");
}

TEST("an unsynced write is kept or lost, and so is the size") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "old");
  CHECK_OK(file->WriteAt(3, Slice("new")));
  CHECK_EQ(fs.ReadRaw("/f"), "oldnew");
  const std::set<std::string> expected{"old", "oldnew", std::string("old\0\0\0", 6)};
  CHECK(Outcomes(fs, "/f") == expected);
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f"), "old");
  CHECK_EQ(fs.ImageAllKept()->ReadRaw("/f"), "oldnew");
}

TEST("pages of one write survive in any subset") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", Page('.') + Page('.') + Page('.'));
  CHECK_OK(file->WriteAt(0, Page('a') + Page('b') + Page('c')));
  CHECK_EQ(fs.ChoiceCount(), 3U);
  CHECK_EQ(Outcomes(fs, "/f").size(), 8U);
  CHECK(fs.ImageOfBits(4)->ReadRaw("/f") == Page('.') + Page('.') + Page('c'));
}

TEST("two writes to one page survive independently") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "....");
  CHECK_OK(file->WriteAt(0, Slice("ab")));
  CHECK_OK(file->WriteAt(1, Slice("XY")));
  const std::set<std::string> expected{"....", "ab..", ".XY.", "aXY."};
  CHECK(Outcomes(fs, "/f") == expected);
}

TEST("a torn page keeps whole sectors") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", Page('.'));
  CHECK_OK(file->WriteAt(100, std::string(1000, 'x')));
  const std::string torn = fs.Image({2})->ReadRaw("/f");  // the second sector alone
  CHECK(torn == std::string(512, '.') + std::string(512, 'x') + std::string(3072, '.'));
}

TEST("random images tear pages and are the same for the same seed") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", Page('.') + Page('.'));
  CHECK_OK(file->WriteAt(0, Page('x') + Page('y')));
  std::set<std::string> seen;
  bool torn = false;
  for (uint64_t seed = 0; seed < 200; seed++) {
    const std::string bytes = fs.ImageOfSeed(seed)->ReadRaw("/f");
    CHECK(bytes == fs.ImageOfSeed(seed)->ReadRaw("/f"));
    const std::string first = bytes.substr(0, 4096);
    torn = torn || (first != Page('.') && first != Page('x'));
    seen.insert(bytes);
  }
  CHECK(torn);
  CHECK_GT(seen.size(), 20U);
  CHECK(seen.count(Page('.') + Page('.')) + seen.count(Page('x') + Page('y')) > 0);
}

TEST("a synced file without a synced name may be gone") {
  Fs fs;
  const std::unique_ptr<File> file = OpenFile(&fs, "/f", OpenMode::kCreateNew);
  CHECK_OK(file->WriteAt(0, Slice("data")));
  CHECK_OK(file->Sync());
  const std::set<std::string> expected{"-", "data"};
  CHECK(Outcomes(fs, "/f") == expected);
  CHECK_OK(fs.SyncDirectory("/"));
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f"), "data");
}

TEST("a synced name without synced data may be an empty file") {
  Fs fs;
  const std::unique_ptr<File> file = OpenFile(&fs, "/f", OpenMode::kCreateNew);
  CHECK_OK(file->WriteAt(0, Slice("data")));
  CHECK_OK(fs.SyncDirectory("/"));
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f"), "");
}

TEST("a removed file may come back until its directory is synced") {
  Fs fs;
  DurableFile(&fs, "f", "data").reset();
  CHECK_OK(fs.Remove("/f"));
  CHECK(!Has(&fs, "/f"));
  const std::set<std::string> expected{"-", "data"};
  CHECK(Outcomes(fs, "/f") == expected);
  CHECK_OK(fs.SyncDirectory("/"));
  CHECK(!Has(fs.ImageAllLost().get(), "/f"));
}

TEST("a rename leaves the old or the new, never both and never none") {
  Fs fs;
  DurableFile(&fs, "f", "old").reset();
  DurableFile(&fs, "f.tmp", "new").reset();
  CHECK_OK(fs.Rename("/f.tmp", "/f"));
  CHECK_EQ(fs.ChoiceCount(), 1U);
  const FsPtr lost = fs.ImageAllLost();
  CHECK_EQ(lost->ReadRaw("/f"), "old");
  CHECK_EQ(lost->ReadRaw("/f.tmp"), "new");
  const FsPtr kept = fs.ImageAllKept();
  CHECK_EQ(kept->ReadRaw("/f"), "new");
  CHECK(!Has(kept.get(), "/f.tmp"));
}

TEST("a new file that is renamed is never under two names") {
  Fs fs;
  OpenFile(&fs, "/a", OpenMode::kCreateNew).reset();
  CHECK_OK(fs.Rename("/a", "/b"));
  CHECK_OK(fs.Rename("/b", "/c"));
  CHECK_EQ(fs.ChoiceCount(), 3U);
  for (uint64_t bits = 0; bits < 8; bits++) {
    CHECK_EQ(fs.ImageOfBits(bits)->ListAll().size(), bits == 0 ? 0U : 1U);
  }
}

TEST("entries of one directory survive in any subset") {
  Fs fs;
  for (const char* name : {"/a", "/b", "/c"}) OpenFile(&fs, name, OpenMode::kCreateNew).reset();
  std::set<std::vector<std::string>> seen;
  for (uint64_t bits = 0; bits < 8; bits++) seen.insert(fs.ImageOfBits(bits)->ListAll());
  CHECK_EQ(seen.size(), 8U);
}

TEST("a lost directory takes everything in it along") {
  Fs fs;
  CHECK_OK(fs.CreateDirectory("/d"));
  const std::unique_ptr<File> file = OpenFile(&fs, "/d/f", OpenMode::kCreateNew);
  CHECK_OK(file->Sync());
  CHECK_OK(fs.SyncDirectory("/d"));
  CHECK_EQ(fs.ChoiceCount(), 1U);
  CHECK_EQ(fs.ImageAllLost()->ListAll().size(), 0U);
  CHECK_OK(fs.SyncDirectory("/"));
  CHECK(Has(fs.ImageAllLost().get(), "/d/f"));
}

TEST("a rename to another directory is atomic and durable once that one is synced") {
  Fs fs;
  CHECK_OK(fs.CreateDirectory("/from"));
  CHECK_OK(fs.CreateDirectory("/to"));
  OpenFile(&fs, "/from/f", OpenMode::kCreateNew).reset();
  CHECK_OK(fs.SyncDirectory("/from"));
  CHECK_OK(fs.SyncDirectory("/"));
  CHECK_OK(fs.Rename("/from/f", "/to/f"));
  CHECK_OK(fs.SyncDirectory("/from"));
  CHECK_EQ(fs.ChoiceCount(), 1U);
  CHECK(Has(fs.ImageAllLost().get(), "/from/f"));
  CHECK(!Has(fs.ImageAllLost().get(), "/to/f"));
  CHECK(Has(fs.ImageAllKept().get(), "/to/f"));
  CHECK_OK(fs.SyncDirectory("/to"));
  CHECK_EQ(fs.ChoiceCount(), 0U);
  CHECK(!Has(fs.ImageAllLost().get(), "/from/f"));
  CHECK(Has(fs.ImageAllLost().get(), "/to/f"));
}

TEST("a name that is used again settles the rename that freed it") {
  Fs fs;
  CHECK_OK(fs.CreateDirectory("/to"));
  DurableFile(&fs, "f", "first").reset();
  CHECK_OK(fs.Rename("/f", "/to/f"));
  DurableFile(&fs, "f", "second").reset();
  const FsPtr image = fs.ImageAllLost();
  CHECK_EQ(image->ReadRaw("/f"), "second");
  CHECK_EQ(image->ReadRaw("/to/f"), "first");
}

TEST("a truncation is kept or lost, and what it cut never shines through") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "abcdef");
  CHECK_OK(file->Truncate(2));
  const std::set<std::string> cut{"ab", "abcdef"};
  CHECK(Outcomes(fs, "/f") == cut);
  CHECK_OK(file->Truncate(4));
  CHECK_EQ(fs.ReadRaw("/f"), std::string("ab\0\0", 4));
  CHECK_OK(file->SyncData());
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f"), std::string("ab\0\0", 4));
}

TEST("bytes kept beyond a lost size never come back when the file grows again") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "old");
  CHECK_OK(file->WriteAt(3, Slice("new")));
  REQUIRE_EQ(fs.ChoiceCount(), 2U);
  for (const std::vector<uint8_t>& kept : {std::vector<uint8_t>{255, 0}, {0, 255}}) {
    const FsPtr image = fs.Image(kept);
    CHECK_OK(OpenFile(image.get(), "/f", OpenMode::kReadWrite)->Truncate(6));
    CHECK_EQ(image->ReadRaw("/f"), std::string("old\0\0\0", 6));
  }
}

TEST("an allocation is a size that may be lost") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "");
  CHECK_OK(file->Allocate(0, 10000));
  CHECK_EQ(fs.ChoiceCount(), 1U);
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f").size(), 0U);
  CHECK(fs.ImageAllKept()->ReadRaw("/f") == std::string(10000, '\0'));
}

TEST("after CrashAfter everything fails and nothing changes") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "abc");
  const uint64_t before = fs.operations();
  fs.CrashAfter(before + 1);
  CHECK_OK(file->WriteAt(0, Slice("X")));
  char byte = 0;
  size_t got = 0;
  CHECK_OK(file->ReadAt(0, &byte, 1, &got));
  CHECK(file->WriteAt(1, Slice("Y")).Is(Code::kIo));
  CHECK(fs.crashed());
  CHECK(file->SyncData().Is(Code::kIo));
  CHECK(file->ReadAt(0, &byte, 1, &got).Is(Code::kIo));
  CHECK(fs.List("/").status().Is(Code::kIo));
  CHECK(fs.Open("/f", OpenMode::kRead).status().Is(Code::kIo));
  CHECK(fs.CreateDirectory("/d").Is(Code::kIo));
  CHECK_EQ(fs.operations(), before + 1);
  const std::set<std::string> expected{"abc", "Xbc"};
  CHECK(Outcomes(fs, "/f") == expected);
}

TEST("an image is a file system of its own that can crash again") {
  Fs fs;
  DurableFile(&fs, "f", "abc").reset();
  fs.CrashNow();
  const FsPtr image = fs.ImageAllKept();
  CHECK(!image->crashed());
  const std::unique_ptr<File> file = OpenFile(image.get(), "/f", OpenMode::kReadWrite);
  CHECK_OK(file->WriteAt(0, Slice("X")));
  image->CrashNow();
  CHECK_EQ(image->ImageAllLost()->ReadRaw("/f"), "abc");
  CHECK_EQ(image->ImageAllKept()->ReadRaw("/f"), "Xbc");
  CHECK_EQ(fs.ReadRaw("/f"), "abc");
}

TEST("a clone has the same changes pending and goes its own way") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "abc");
  CHECK_OK(file->WriteAt(0, Slice("X")));
  CHECK_OK(OpenFile(&fs, "/g", OpenMode::kCreateNew)->Sync());
  const FsPtr clone = fs.Clone();
  CHECK_EQ(clone->ChoiceCount(), fs.ChoiceCount());
  CHECK_OK(file->WriteAt(1, Slice("Y")));
  CHECK_OK(file->Sync());
  CHECK_EQ(clone->ReadRaw("/f"), "Xbc");
  CHECK_EQ(clone->ImageAllLost()->ReadRaw("/f"), "abc");
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/f"), "XYc");
  CHECK_OK(OpenFile(clone.get(), "/f", OpenMode::kReadWrite)->Sync());
  CHECK_EQ(clone->ImageAllLost()->ReadRaw("/f"), "Xbc");
  CHECK(!Has(clone->ImageAllLost().get(), "/g"));
}

TEST("an observer may take the state before each operation") {
  Fs fs;
  std::vector<FsPtr> states;
  std::vector<std::string> seen;
  fs.SetObserver([&](const Operation& operation) {
    states.push_back(fs.Clone());
    seen.push_back(operation.ToString());
  });
  DurableFile(&fs, "f", "abc").reset();
  REQUIRE_EQ(states.size(), 4U);
  CHECK_EQ(seen[0], "1 create /f");
  CHECK_EQ(seen[1], "2 write /f at 0 size 3");
  CHECK_EQ(seen[3], "4 sync directory /");
  CHECK(!Has(states[0].get(), "/f"));
  CHECK(!Has(states[3]->ImageAllLost().get(), "/f"));
  CHECK_EQ(states[3]->ImageAllKept()->ReadRaw("/f"), "abc");
  CHECK_EQ(fs.Trace().size(), 4U);
}

TEST("a rule fails the operations it names and no others") {
  Fs fs;
  const std::unique_ptr<File> log = DurableFile(&fs, "log", "");
  const std::unique_ptr<File> other = DurableFile(&fs, "other", "");
  FaultRule rule;
  rule.kinds = static_cast<uint32_t>(OperationKind::kWrite);
  rule.path_contains = "log";
  rule.skip = 1;
  rule.times = 2;
  rule.sys_errno = ENOSPC;
  fs.AddRule(rule);
  CHECK_OK(log->WriteAt(0, Slice("1")));
  CHECK_OK(other->WriteAt(0, Slice("1")));
  CHECK_OK(log->SyncData());
  for (int i = 0; i < 2; i++) {
    const Status status = log->WriteAt(1, Slice("2"));
    CHECK(status.Is(Code::kNoSpace));
    CHECK_EQ(status.sys_errno(), ENOSPC);
    CHECK_EQ(status.file(), "/log");
    CHECK_EQ(status.offset(), 1);
  }
  CHECK_OK(log->WriteAt(1, Slice("3")));
  CHECK_EQ(fs.ReadRaw("/log"), "13");
  CHECK_EQ(fs.FaultsStruck(), 2U);
}

TEST("a rule can strike one operation by its number, or all from there on") {
  for (const uint64_t times : {uint64_t{1}, kForever}) {
    Fs fs;
    const std::unique_ptr<File> file = DurableFile(&fs, "f", "");
    FaultRule rule;
    rule.first_operation = fs.operations() + 2;
    rule.times = times;
    fs.AddRule(rule);
    CHECK_OK(file->WriteAt(0, Slice("1")));
    CHECK(file->WriteAt(0, Slice("2")).Is(Code::kIo));
    CHECK_EQ(file->WriteAt(0, Slice("3")).ok(), times == 1);
    CHECK_EQ(fs.CreateDirectory("/d").ok(), times == 1);
    fs.ClearRules();
    CHECK_OK(file->WriteAt(0, Slice("4")));
  }
}

TEST("a short write puts its first bytes into the file and fails") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "");
  FaultRule rule;
  rule.short_bytes = 3;
  fs.AddRule(rule);
  const Status status = file->WriteAt(0, Slice("abcdef"));
  CHECK(status.Is(Code::kIo));
  CHECK_EQ(status.offset(), 3);
  CHECK_EQ(fs.ReadRaw("/f"), "abc");
}

TEST("a call can do its work and fail all the same") {
  Fs fs;
  DurableFile(&fs, "a", "x").reset();
  FaultRule rule;
  rule.takes_effect = true;
  fs.AddRule(rule);
  CHECK(fs.Rename("/a", "/b").Is(Code::kIo));
  CHECK(Has(&fs, "/b"));
  CHECK(!Has(&fs, "/a"));
}

TEST("reads and lookups can fail too, without a number") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", "abc");
  const uint64_t before = fs.operations();
  FaultRule rule;
  rule.kinds = static_cast<uint32_t>(OperationKind::kRead);
  fs.AddRule(rule);
  rule.kinds = static_cast<uint32_t>(OperationKind::kOpen);
  fs.AddRule(rule);
  char byte = 0;
  size_t got = 0;
  CHECK(file->ReadAt(0, &byte, 1, &got).Is(Code::kIo));
  CHECK_OK(file->ReadAt(0, &byte, 1, &got));
  CHECK(fs.Open("/f", OpenMode::kRead).status().Is(Code::kIo));
  CHECK_EQ(fs.operations(), before);
}

TEST("a later sync does not save what a failed sync dropped") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", Page('.') + Page('.'));
  CHECK_OK(file->WriteAt(0, Page('x')));
  FaultRule rule;
  rule.kinds = kSyncOperations;
  fs.AddRule(rule);
  CHECK(file->SyncData().Is(Code::kIo));
  CHECK_OK(file->WriteAt(4096, Page('y')));
  CHECK_OK(file->SyncData());
  CHECK(fs.ReadRaw("/f") == Page('x') + Page('y'));
  CHECK(fs.ImageAllLost()->ReadRaw("/f") == Page('.') + Page('y'));
  CHECK_OK(file->WriteAt(4095, Slice("z")));
  CHECK_OK(file->SyncData());
  CHECK(fs.ImageAllLost()->ReadRaw("/f") == Page('x').substr(1) + "z" + Page('y'));
}

TEST("a full disk takes what fits and has room again after a removal") {
  Fs fs;
  fs.SetCapacity(3 * 4096);
  DurableFile(&fs, "a", Page('a') + Page('a')).reset();
  const std::unique_ptr<File> file = OpenFile(&fs, "/b", OpenMode::kCreateNew);
  const Status full = file->WriteAt(0, Page('b') + Page('b'));
  CHECK(full.Is(Code::kNoSpace));
  CHECK_EQ(full.offset(), 4096);
  CHECK_EQ(fs.UsedBytes(), 3 * 4096U);
  CHECK_OK(file->WriteAt(0, Page('c')));
  CHECK(file->Allocate(0, 8192).Is(Code::kNoSpace));
  CHECK_OK(fs.Remove("/a"));
  const Result<uint64_t> free = fs.FreeBytes("/");
  REQUIRE_OK(free);
  CHECK_EQ(free.value(), 8192U);
  CHECK_OK(file->Allocate(0, 3 * 4096));
  CHECK_OK(file->WriteAt(0, Page('d') + Page('d') + Page('d')));
  CHECK(file->WriteAt(3 * 4096, Slice("x")).Is(Code::kNoSpace));
  fs.SetCapacity(kForever);
  CHECK_OK(file->WriteAt(3 * 4096, Slice("x")));
  CHECK_OK(file->Truncate(0));
  CHECK_EQ(fs.UsedBytes(), 0U);
}

TEST("an open file lives on after its removal and then gives its space back") {
  Fs fs;
  std::unique_ptr<File> file = DurableFile(&fs, "f", "abc");
  CHECK_OK(fs.Remove("/f"));
  char byte = 0;
  size_t got = 0;
  CHECK_OK(file->ReadAt(2, &byte, 1, &got));
  CHECK_EQ(byte, 'c');
  CHECK_EQ(fs.UsedBytes(), 4096U);
  file.reset();
  CHECK_EQ(fs.UsedBytes(), 0U);
}

TEST("names fail with the errors of the operating system") {
  Fs fs;
  DurableFile(&fs, "f", "").reset();
  CHECK_OK(fs.CreateDirectory("/d"));
  DurableFile(&fs, "d/g", "").reset();
  CHECK_EQ(fs.Open("/none", OpenMode::kReadWrite).status().sys_errno(), ENOENT);
  CHECK_EQ(fs.Open("/none/f", OpenMode::kCreateNew).status().sys_errno(), ENOENT);
  CHECK_EQ(fs.Open("/f", OpenMode::kCreateNew).status().sys_errno(), EEXIST);
  CHECK_EQ(fs.Open("/d", OpenMode::kRead).status().sys_errno(), EISDIR);
  CHECK_EQ(fs.Exists("/f/x").status().sys_errno(), ENOTDIR);
  CHECK_EQ(fs.CreateDirectory("/d").sys_errno(), EEXIST);
  CHECK_EQ(fs.Remove("/d").sys_errno(), EISDIR);
  CHECK_EQ(fs.RemoveDirectory("/d").sys_errno(), ENOTEMPTY);
  CHECK_EQ(fs.RemoveDirectory("/f").sys_errno(), ENOTDIR);
  CHECK_EQ(fs.Rename("/d", "/d/e").sys_errno(), EINVAL);
  CHECK_EQ(fs.Rename("/f", "/d").sys_errno(), EISDIR);
  CHECK_EQ(fs.Rename("/none", "/x").sys_errno(), ENOENT);
  CHECK_EQ(fs.SyncDirectory("/none").sys_errno(), ENOENT);
  CHECK_EQ(OpenFile(&fs, "/f", OpenMode::kRead)->WriteAt(0, Slice("x")).sys_errno(), EBADF);
}

TEST("locks of a fault file system behave as flock does") {
  Fs fs;
  Result<std::unique_ptr<FileLock>> held = fs.Lock("/LOCK", LockMode::kShared);
  CHECK_OK(fs.Lock("/LOCK", LockMode::kShared));
  CHECK(fs.Lock("/LOCK", LockMode::kExclusive).status().Is(Code::kLocked));
  CHECK_OK(fs.ImageAllKept()->Lock("/LOCK", LockMode::kExclusive));
  held.value().reset();
  held = fs.Lock("/LOCK", LockMode::kExclusive);
  REQUIRE_OK(held);
  CHECK(fs.Lock("/LOCK", LockMode::kShared).status().Is(Code::kLocked));
  held.value().reset();
  CHECK_OK(fs.Lock("/LOCK", LockMode::kShared));
}

TEST("damage is done below the operations and stays") {
  Fs fs;
  fs.PutRaw("/d/e/f", "abc");
  CHECK_EQ(fs.operations(), 0U);
  fs.FlipBits("/d/e/f", 1, 0x01);
  CHECK_EQ(fs.ReadRaw("/d/e/f"), "acc");
  const FsPtr copy = fs.Clone();
  fs.TruncateRaw("/d/e/f", 1);
  fs.WriteRaw("/d/e/f", 3, "z");
  CHECK_EQ(fs.ImageAllLost()->ReadRaw("/d/e/f"), std::string("a\0\0z", 4));
  CHECK_EQ(copy->ReadRaw("/d/e/f"), "acc");
  const std::vector<std::string> expected{"/d/", "/d/e/", "/d/e/f"};
  CHECK(fs.ListAll() == expected);
}

TEST("a published file is the old one or the new one after every crash") {
  Fs fs;
  CHECK_OK(PublishFile(&fs, "/", "CURRENT", "one"));
  std::vector<FsPtr> states;
  fs.SetObserver([&](const Operation&) { states.push_back(fs.Clone()); });
  CHECK_OK(PublishFile(&fs, "/", "CURRENT", "two"));
  states.push_back(fs.Clone());
  size_t images = 0;
  for (size_t i = 0; i < states.size(); i++) {
    for (const std::string& outcome : Outcomes(*states[i], "/CURRENT")) {
      CHECK(outcome == "one" || outcome == "two");
      CHECK(i + 1 < states.size() || outcome == "two");
      images++;
    }
  }
  CHECK_EQ(states.size(), 6U);
  CHECK_GT(images, states.size());
}

TEST("live content equals that of the image that keeps everything") {
  for (uint64_t seed = 0; seed < 60; seed++) {
    SeededRandom random(seed);
    Fs fs;
    const std::unique_ptr<File> file = DurableFile(&fs, "f", "start");
    std::string model = "start";
    for (int step = 0; step < 40; step++) {
      const uint64_t offset = random.Below(20000);
      const std::string bytes(1 + random.Below(9000), static_cast<char>('a' + step % 26));
      if (random.OneIn(5)) {
        CHECK_OK(file->Truncate(offset));
        model.resize(offset, '\0');
      } else if (random.OneIn(6)) {
        CHECK_OK(random.OneIn(2) ? file->SyncData() : file->Sync());
        CHECK(fs.ImageAllLost()->ReadRaw("/f") == model);
      } else {
        CHECK_OK(file->WriteAt(offset, bytes));
        if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size(), '\0');
        model.replace(offset, bytes.size(), bytes);
      }
      CHECK(fs.ReadRaw("/f") == model);
      CHECK(fs.ImageAllKept()->ReadRaw("/f") == model);
      if (check::Failed()) return;
    }
  }
}

TEST("thousands of images of a large file are cheap") {
  Fs fs;
  const std::unique_ptr<File> file = DurableFile(&fs, "f", std::string(8 << 20, 'x'));
  CHECK_OK(file->WriteAt(1000, std::string(20000, 'y')));
  fs.CrashNow();
  size_t changed = 0;
  for (uint64_t seed = 0; seed < 1000; seed++) {
    const FsPtr image = fs.ImageOfSeed(seed);
    const std::unique_ptr<File> read = OpenFile(image.get(), "/f", OpenMode::kRead);
    char byte = 0;
    size_t got = 0;
    CHECK_OK(read->ReadAt(1000, &byte, 1, &got));
    changed += byte == 'y' ? 1 : 0;
  }
  CHECK_GT(changed, 100U);
  CHECK_LT(changed, 900U);
}

TEST("threads may use one fault file system together") {
  Fs fs;
  Thread threads[4];
  for (int i = 0; i < 4; i++) {
    REQUIRE_OK(threads[i].Start("writer", [&fs, i] {
      const std::string name = "f" + std::to_string(i);
      const std::unique_ptr<File> file = DurableFile(&fs, name, "");
      for (int n = 0; n < 50; n++) CHECK_OK(file->WriteAt(static_cast<uint64_t>(n), Slice("x")));
      CHECK_OK(file->SyncData());
      CHECK_EQ(fs.ImageOfSeed(static_cast<uint64_t>(i))->ReadRaw("/" + name).size(), 50U);
    }));
  }
  for (Thread& thread : threads) thread.Join();
  CHECK_EQ(fs.ImageAllLost()->ListAll().size(), 4U);
}

}  // namespace
}  // namespace gapless::io
