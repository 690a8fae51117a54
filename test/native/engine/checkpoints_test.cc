// Publication and release of checkpoints: what is kept, what goes, and that no crash and no error
// of the disk leaves a manifest without its runs.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/thread.h"
#include "checkpoints_fixture.h"

namespace gapless::engine::test {
namespace {

// What a disk holds must open, be `acknowledged` or a later attempt, and have every run that it
// names; behind the open nothing else is left. False at the first broken promise.
bool Judge(io::FaultFileSystem* disk, uint64_t acknowledged, uint64_t attempted, uint64_t highest,
           const std::string& what) {
  const auto fail = [&what](const std::string& why) {
    check::Fail(__FILE__, __LINE__, what + ": " + why);
    return false;
  };
  Result<KeptManifests> found = ReadManifests(disk, kGenerationPath);
  if (!found.ok()) return fail("is refused: " + found.status().ToString());
  const Manifest newest = found.value().newest;
  if (newest.number < acknowledged || newest.number > attempted) {
    return fail("manifest " + std::to_string(newest.number) + " is in force, acknowledged was " +
                std::to_string(acknowledged));
  }
  const Status sound = CheckRuns(newest, 2, "manifest");
  if (!sound.ok()) return fail(sound.ToString());
  Result<std::unique_ptr<Checkpoints>> opened =
      Checkpoints::Open(disk, kGenerationPath, std::move(found.value()));
  if (!opened.ok()) return fail("does not open: " + opened.status().ToString());
  for (const auto& manifest : opened.value()->kept()) {
    for (const table::RunInfo& run : manifest->runs) {
      const Result<bool> exists = disk->Exists(RunPath(run.number));
      if (!exists.ok() || !exists.value() ||
          disk->ReadRaw(RunPath(run.number)) != RunContent(run.number)) {
        return fail("run " + std::to_string(run.number) + " of manifest " +
                    std::to_string(manifest->number) + " is not whole");
      }
    }
  }
  uint64_t stray = 0;
  for (const std::string& path : FilesOf(*disk)) {
    const size_t slash = path.rfind('/');
    uint64_t number = 0;
    if (io::ParseRunName(Slice(path).Sub(slash + 1, path.size() - slash - 1), &number)) {
      stray = std::max(stray, number);
    }
  }
  const Status cleaned = opened.value()->RemoveStrays();
  if (!cleaned.ok()) return fail(cleaned.ToString());
  if (FilesOf(*disk) != ExpectedFiles(opened.value()->kept())) return fail("a stray is left");
  // The numbers of what stood there stay used, also for the next open.
  const uint64_t next = ReadManifest(disk, kGenerationPath).value().next_run;
  if (next <= stray || opened.value()->NextRunNumber() <= stray || next > highest + 1) {
    return fail("the number of a run is used again");
  }
  return true;
}

// Flushes and merges with the undo floor on its way behind. Ends at the first error.
Status Live(Runs* runs) {
  RETURN_IF_ERROR(runs->Flush(10, 10));
  RETURN_IF_ERROR(runs->Flush(20, 12));
  RETURN_IF_ERROR(runs->Merge(0));
  RETURN_IF_ERROR(runs->Flush(30, 25));
  RETURN_IF_ERROR(runs->Merge(1));
  RETURN_IF_ERROR(runs->Merge(0));
  RETURN_IF_ERROR(runs->MoveFloor(40));
  RETURN_IF_ERROR(runs->Flush(50, 45));
  return runs->Merge(1);
}

TEST("a manifest with runs comes back as it was written, and every changed byte and cut is seen") {
  Manifest manifest;
  manifest.generation = 3;
  manifest.number = 9;
  manifest.cluster.bytes[1] = 1;
  manifest.undo_floor = At(4);
  manifest.kept = 7;
  manifest.next_run = 44;
  manifest.meta = MetaAt(90);
  for (uint64_t i = 1; i < 5; ++i) {
    table::RunInfo run{i,  1, static_cast<uint32_t>(i), 5 * i, 6 * i, i, i + 1, 900 + i, i, 80 + i,
                       {}, {}};
    run.extent.lower = std::string(i * 3, '\0');
    run.extent.upper = std::string(i * 5, 'k');
    run.extent.unbounded = i == 4;
    if (i > 1) run.values = {{1, 1000, 10 * i}, {i, 2000 + i, i}};
    manifest.runs.push_back(run);
  }
  manifest.runs[1].extent = {std::string(32768, 'l'), std::string(32769, 'u'), false};
  std::string bytes = EncodeManifest(manifest);
  const Result<Manifest> decoded = DecodeManifest(bytes, "m");
  REQUIRE_OK(decoded);
  CHECK(decoded.value() == manifest);
  manifest.runs[1].extent = {"l", "u", false};
  bytes = EncodeManifest(manifest);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {1, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ mask);
      const Status status = DecodeManifest(changed, "m").status();
      CHECK(status.Is(Code::kCorrupt));
      CHECK_EQ(status.file(), std::string("m"));
    }
    CHECK(DecodeManifest(Slice(bytes).Sub(0, i), "m").status().Is(Code::kCorrupt));
  }
  CHECK(DecodeManifest(bytes + "x", "m").status().Is(Code::kCorrupt));
}

TEST("counts and lengths of a manifest whose checksum holds are judged too") {
  Manifest manifest;
  manifest.meta = MetaAt(5);
  manifest.runs.push_back({1, 0, 0, 5, 5, 0, 0, 9, 1, 5, {"a", "b", false}, {}});
  manifest.next_run = 2;
  const std::string bytes = EncodeManifest(manifest);
  const auto with = [&bytes](size_t at, uint32_t value) {
    std::string changed = bytes;
    StoreU32(changed.data() + at, value);
    StoreU32(changed.data() + changed.size() - 4,
             Crc32c(Slice(changed).Sub(0, changed.size() - 4)));
    return DecodeManifest(changed, "m").status();
  };
  REQUIRE(with(96, 1).ok());
  for (const uint32_t count : {2u, 1000u, UINT32_MAX}) CHECK(with(96, count).Is(Code::kCorrupt));
  CHECK(with(100 + 72, 4).Is(Code::kFormatUnsupported));  // a flag
  for (const size_t at : {76, 80}) {
    for (const uint32_t length : {40000u, UINT32_MAX, 3000u}) {
      CHECK(with(100 + at, length).Is(Code::kCorrupt));
    }
  }
  CHECK(with(8, 2).Is(Code::kFormatUnsupported));
  CHECK(with(12, 7).Is(Code::kCorrupt));
}

TEST("runs that cannot stand together are named") {
  Manifest manifest;
  manifest.meta = MetaAt(50);
  manifest.next_run = 10;
  const auto run = [](uint64_t number, uint32_t shard, uint32_t level, uint64_t from, uint64_t to,
                      const char* lower, const char* upper) {
    return table::RunInfo{number, shard, level, 1, 1, 0, 0, 1, from, to, {lower, upper, false}, {}};
  };
  manifest.runs = {run(1, 0, 0, 1, 10, "a", "z"), run(2, 0, 0, 11, 50, "a", "z"),
                   run(3, 1, 0, 1, 10, "a", "z"), run(4, 0, 6, 1, 9, "a", "c"),
                   run(5, 0, 6, 1, 50, "c", "d"), run(6, 1, 6, 1, 9, "a", "c")};
  REQUIRE_OK(CheckRuns(manifest, 2, "m"));
  const auto refused = [&manifest](size_t index, const table::RunInfo& changed) {
    Manifest other = manifest;
    other.runs[index] = changed;
    return CheckRuns(other, 2, "m").Is(Code::kCorrupt);
  };
  CHECK(refused(1, run(2, 0, 0, 10, 50, "a", "z")));  // level 0 out of order
  CHECK(refused(1, run(2, 0, 0, 11, 51, "a", "z")));  // behind the checkpoint
  CHECK(refused(1, run(2, 0, 0, 51, 50, "a", "z")));
  CHECK(refused(1, run(2, 2, 0, 11, 50, "a", "z")));  // no such shard
  CHECK(refused(1, run(2, 0, 7, 11, 50, "a", "z")));  // no such level
  CHECK(refused(1, run(1, 0, 0, 11, 50, "a", "z")));  // a number twice
  CHECK(refused(1, run(0, 0, 0, 11, 50, "a", "z")));
  CHECK(refused(1, run(10, 0, 0, 11, 50, "a", "z")));  // not below the next one
  CHECK(refused(4, run(5, 0, 6, 1, 50, "b", "d")));    // overlap
  CHECK(refused(4, run(5, 0, 6, 1, 50, "d", "d")));    // covers nothing
  table::RunInfo open = manifest.runs[3];
  open.extent.unbounded = true;
  CHECK(refused(3, open));
  CHECK(!refused(5, run(6, 1, 6, 1, 50, "a", "d")));  // another shard may
}

TEST("value files that a manifest names must be such as can be") {
  Manifest manifest;
  manifest.meta = MetaAt(50);
  manifest.next_run = 10;
  const auto run = [](uint64_t number, uint32_t shard, const char* lower, const char* upper,
                      table::ValueUses uses) {
    return table::RunInfo{number,         shard, 6, 1, 1, 0, 0, 1, 1, 50, {lower, upper, false},
                          std::move(uses)};
  };
  manifest.runs = {run(4, 0, "a", "b", {{2, 1064, 300}, {4, 1064, 1000}}),
                   run(5, 0, "b", "c", {{2, 1064, 700}})};
  REQUIRE_OK(CheckRuns(manifest, 2, "m"));
  for (const table::RunInfo& changed :
       {run(5, 0, "b", "c", {{2, 1065, 700}}), run(5, 1, "b", "c", {{2, 1064, 700}}),
        run(5, 0, "b", "c", {{2, 1064, 1001}}), run(5, 0, "b", "c", {{2, 1064, 0}}),
        run(5, 0, "b", "c", {{3, 63, 1}}), run(5, 0, "b", "c", {{6, 1064, 700}}),
        run(5, 0, "b", "c", {{0, 1064, 700}}),
        run(5, 0, "b", "c", {{2, 1064, 700}, {2, 1064, 700}})}) {
    Manifest other = manifest;
    other.runs[1] = changed;
    CHECK(CheckRuns(other, 2, "m").Is(Code::kCorrupt));
  }
}

TEST("kept are the newest manifest and the newest one at or below the undo floor") {
  Runs runs;
  CHECK_EQ(runs.checkpoints->base_offset(), 0u);
  REQUIRE_OK(runs.Flush(10, 10));
  CHECK_EQ(runs.checkpoints->kept().size(), 1u);
  CHECK_EQ(runs.checkpoints->base_offset(), 1000u);
  REQUIRE_OK(runs.Flush(20, 15));  // the one at 10 stays
  CHECK_EQ(runs.checkpoints->kept().size(), 2u);
  CHECK_EQ(runs.checkpoints->base_offset(), 1000u);
  REQUIRE_OK(runs.Flush(30, 15));  // the one at 20 goes
  CHECK_EQ(runs.checkpoints->kept()[1]->meta.position.seq, 10u);
  REQUIRE_OK(runs.Flush(40, 35));  // now the one at 30 is the newest below the floor
  CHECK_EQ(runs.checkpoints->kept()[1]->meta.position.seq, 30u);
  CHECK_EQ(runs.checkpoints->base_offset(), 3000u);
  CHECK(FilesOf(runs.fs) == ExpectedFiles(runs.checkpoints->kept()));
  // A floor below everything that is left: the oldest comes nearest.
  REQUIRE_OK(runs.Flush(50, 2));
  CHECK_EQ(runs.checkpoints->base_offset(), 3000u);
  REQUIRE_OK(runs.checkpoints->MoveUndoFloor(At(49)));
  CHECK_EQ(runs.checkpoints->base_offset(), 3000u);
  REQUIRE_OK(runs.checkpoints->MoveUndoFloor(At(50)));
  CHECK_EQ(runs.checkpoints->base_offset(), 5000u);
  CHECK(FilesOf(runs.fs) == ExpectedFiles(runs.checkpoints->kept()));
}

TEST("a merge is no new checkpoint, and what it replaces goes unless the other one names it") {
  Runs runs;
  REQUIRE_OK(runs.Flush(10, 10));
  REQUIRE_OK(runs.Flush(20, 12));
  const uint64_t number = runs.checkpoints->newest()->number;
  REQUIRE_OK(runs.Merge(0));  // 1 and 3 become 5; 1 belongs to the checkpoint at 10
  CHECK(runs.checkpoints->newest()->meta == MetaAt(20));
  CHECK(runs.checkpoints->newest()->number > number);
  CHECK(NumbersOf(*runs.checkpoints->newest()) == (std::set<uint64_t>{2, 4, 5}));
  CHECK_EQ(runs.checkpoints->kept().size(), 2u);
  CHECK(FilesOf(runs.fs) == ExpectedFiles(runs.checkpoints->kept()));
  CHECK(runs.fs.Exists(RunPath(1)).value());
  CHECK(!runs.fs.Exists(RunPath(3)).value());
  REQUIRE_OK(runs.checkpoints->MoveUndoFloor(At(20)));
  CHECK(!runs.fs.Exists(RunPath(1)).value());
  CHECK_EQ(runs.checkpoints->kept().size(), 1u);
}

TEST("a run that moved to another level stays one file") {
  Runs runs;
  REQUIRE_OK(runs.Flush(10, 10));
  REQUIRE_OK(runs.Flush(20, 12));
  const auto run = runs.tree->shard(0).levels[0].back();
  table::RunInfo moved = run->info();
  moved.level = 6;
  REQUIRE_OK(runs.Publish(
      {run}, {std::make_shared<FakeRun>(moved)},
      [&](const table::RunTree& next) { return runs.checkpoints->PublishMerge(next); }));
  CHECK(runs.fs.Exists(RunPath(moved.number)).value());
  REQUIRE_OK(runs.checkpoints->MoveUndoFloor(At(20)));
  CHECK(runs.fs.Exists(RunPath(moved.number)).value());
  CHECK(FilesOf(runs.fs) == ExpectedFiles(runs.checkpoints->kept()));
}

TEST("a crash at any operation leaves a manifest in force that has all its runs, and no stray") {
  uint64_t whole = 0;
  {
    Runs runs;
    REQUIRE_OK(Live(&runs));
    whole = runs.fs.operations();
  }
  uint64_t states = 0;
  uint64_t later = 0;
  for (uint64_t n = Runs().fs.operations(); n <= whole && !check::Failed(); ++n) {
    Runs runs;
    runs.fs.CrashAfter(n);
    (void)Live(&runs);
    const uint64_t acknowledged = runs.checkpoints->newest()->number;
    for (uint64_t seed = 0; seed < 26 && !check::Failed(); ++seed) {
      const auto disk = seed == 0   ? runs.fs.ImageAllLost()
                        : seed == 1 ? runs.fs.ImageAllKept()
                                    : runs.fs.ImageOfSeed(seed * 1000 + n);
      const std::string what =
          "crash after " + std::to_string(n) + ", seed " + std::to_string(seed);
      if (ReadManifest(disk.get(), kGenerationPath).value().number > acknowledged) ++later;
      Judge(disk.get(), acknowledged, acknowledged + 1, runs.highest, what);
      ++states;
    }
  }
  CHECK_GT(later, 0u);  // a manifest that was named and not acknowledged
  std::printf("%llu states\n", static_cast<unsigned long long>(states));
}

TEST("a crash while strays are removed loses nothing either") {
  const uint64_t begin = Runs().fs.operations();
  uint64_t removals = 0;
  for (uint64_t first = begin + 3; first < begin + 60 && !check::Failed(); first += 4) {
    Runs runs;
    runs.fs.CrashAfter(first);
    (void)Live(&runs);
    const auto disk = runs.fs.ImageAllKept();
    for (uint64_t n = 0; n < 12 && !check::Failed(); ++n) {
      const auto second = disk->Clone();
      second->CrashAfter(n);
      Result<KeptManifests> found = ReadManifests(second.get(), kGenerationPath);
      if (!found.ok()) break;  // crashed at once
      const uint64_t number = found.value().newest.number;
      Result<std::unique_ptr<Checkpoints>> opened =
          Checkpoints::Open(second.get(), kGenerationPath, std::move(found.value()));
      if (!opened.ok()) break;
      (void)opened.value()->RemoveStrays();
      removals += second->operations();
      for (uint64_t seed = 0; seed < 10 && !check::Failed(); ++seed) {
        const auto image = second->ImageOfSeed(seed);
        Judge(image.get(), number, number + 1, runs.highest + 1,
              "second crash after " + std::to_string(first) + " and " + std::to_string(n));
      }
    }
  }
  CHECK_GT(removals, 100u);
}

// Fails one operation, or all from one on, and lets the caller try again when it may.
void FailAt(uint64_t n, int sys_errno, bool takes_effect, bool for_ever) {
  Runs runs;
  io::FaultRule rule;
  rule.first_operation = n;
  rule.times = for_ever ? io::kForever : 1;
  rule.sys_errno = sys_errno;
  rule.takes_effect = takes_effect;
  runs.fs.AddRule(rule);
  const std::string what = "errno " + std::to_string(sys_errno) + " at " + std::to_string(n) +
                           (takes_effect ? " with effect" : "") + (for_ever ? " for ever" : "");
  const auto judge = [&](const char* when) {
    const uint64_t number = runs.checkpoints->newest()->number;
    for (uint64_t seed = 0; seed < 6 && !check::Failed(); ++seed) {
      const auto disk = seed == 0 ? runs.fs.ImageAllLost() : runs.fs.ImageOfSeed(seed + n);
      // In doubt either one may be found; otherwise only the former.
      Judge(disk.get(), number, runs.checkpoints->in_doubt() ? number + 1 : number, runs.highest,
            what + when);
    }
  };
  const Manifest before = *runs.checkpoints->newest();
  Status status = Live(&runs);
  if (!status.ok()) {
    const bool typed = status.Is(sys_errno == ENOSPC ? Code::kNoSpace : Code::kIo);
    CHECK(typed);
    CHECK(*runs.checkpoints->newest() == runs.published.back());
    judge(", failed");
    runs.fs.ClearRules();
    status = runs.Flush(runs.seq() + 10, runs.seq());
    CHECK_OK(status);
  }
  runs.fs.ClearRules();
  REQUIRE_OK(runs.Flush(runs.seq() + 10, runs.seq()));
  CHECK(!runs.checkpoints->in_doubt());
  judge(", at the end");
  const std::vector<std::string> files = FilesOf(runs.fs);
  if (files == ExpectedFiles(runs.checkpoints->kept())) return;
  check::Fail(__FILE__, __LINE__, what + ": something is left beside " + files.back());
}

TEST("an error of the disk at any operation is typed and leaves the former manifest in force") {
  uint64_t whole = 0;
  const uint64_t begin = Runs().fs.operations() + 1;
  {
    Runs runs;
    REQUIRE_OK(Live(&runs));
    whole = runs.fs.operations();
  }
  for (uint64_t n = begin; n <= whole && !check::Failed(); ++n) {
    for (const int sys_errno : {EIO, ENOSPC}) {
      FailAt(n, sys_errno, false, false);
      FailAt(n, sys_errno, true, false);
      FailAt(n, sys_errno, false, true);
    }
  }
}

TEST("runs whose names a failed sync may have lost are refused until they are written anew") {
  Runs runs;
  REQUIRE_OK(runs.Flush(10, 10));
  const auto run = runs.Write(0, 0, 11, 20);
  REQUIRE_OK(run);
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kSyncDirectory);
  rule.path_contains = "/runs";
  runs.fs.AddRule(rule);
  const auto next = runs.tree->With({}, {run.value()});
  CHECK(runs.checkpoints->PublishCheckpoint(MetaAt(20), *next, At(20)).Is(Code::kIo));
  CHECK(!runs.checkpoints->in_doubt());
  CHECK(runs.checkpoints->PublishCheckpoint(MetaAt(20), *next, At(20)).Is(Code::kIo));
  CHECK_EQ(runs.seq(), 10u);
  runs.checkpoints->Discard({run.value()->info()});
  CHECK(!runs.fs.Exists(RunPath(run.value()->info().number)).value());
  CHECK_OK(runs.Flush(20, 20));
}

TEST("while a manifest is in doubt nothing is removed, and the next publication settles it first") {
  Runs runs;
  REQUIRE_OK(runs.Flush(10, 10));
  REQUIRE_OK(runs.Flush(20, 20));
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kSyncDirectory);
  rule.path_contains = "/gen-000001";
  rule.skip = 1;  // that of the runs
  rule.times = 2;
  runs.fs.AddRule(rule);
  CHECK(runs.Merge(0).Is(Code::kIo));
  CHECK(runs.checkpoints->in_doubt());
  CHECK(runs.fs.Exists(RunPath(5)).value());  // what the doubtful manifest names
  CHECK(runs.fs.Exists(RunPath(1)).value());
  CHECK(runs.fs.Exists(RunPath(3)).value());
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const auto disk = runs.fs.ImageOfSeed(seed);
    Judge(disk.get(), 3, 4, runs.highest, "in doubt, seed " + std::to_string(seed));
  }
  REQUIRE_OK(runs.Merge(1));
  CHECK(!runs.checkpoints->in_doubt());
  CHECK(!runs.fs.Exists(RunPath(5)).value());
  CHECK(FilesOf(runs.fs) == ExpectedFiles(runs.checkpoints->kept()));
}

TEST("numbers and what is kept are shown to every thread while another one publishes") {
  Runs runs;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::vector<uint64_t>> numbers(2);
  std::vector<std::unique_ptr<Thread>> threads;
  for (std::vector<uint64_t>& taken : numbers) {
    threads.push_back(std::make_unique<Thread>());
    REQUIRE_OK(threads.back()->Start("reader", [&runs, &stop, &wrong, &taken] {
      uint64_t base = 0;
      while (!stop.load()) {
        if (taken.size() < 1000) taken.push_back(runs.checkpoints->NextRunNumber());
        const auto kept = runs.checkpoints->kept();
        const uint64_t now = runs.checkpoints->base_offset();
        if (now < base || kept.size() > 2 || runs.checkpoints->in_doubt()) ++wrong;
        if (kept.size() == 2 && kept[0]->kept != kept[1]->number) ++wrong;
        base = now;
      }
    }));
  }
  for (uint64_t i = 1; i <= 60; ++i) {
    CHECK_OK(runs.Flush(i * 10, i * 10 - 5));
    CHECK_OK(runs.Merge(i % 2));
  }
  stop = true;
  for (const auto& thread : threads) thread->Join();
  CHECK_EQ(wrong.load(), 0u);
  std::set<uint64_t> all;
  size_t taken = 0;
  for (const Manifest& manifest : runs.published) {
    for (const uint64_t number : NumbersOf(manifest)) all.insert(number);
  }
  const size_t published = all.size();
  for (const std::vector<uint64_t>& some : numbers) {
    all.insert(some.begin(), some.end());
    taken += some.size();
  }
  CHECK_EQ(all.size(), published + taken);
}

TEST("a kept manifest that is missing, damaged or of another generation is refused by name") {
  Runs runs;
  REQUIRE_OK(runs.Flush(10, 10));
  REQUIRE_OK(runs.Flush(20, 12));
  const uint64_t older = runs.checkpoints->kept()[1]->number;
  const std::string path = ManifestPath(kGenerationPath, older);
  const std::string bytes = runs.fs.ReadRaw(path);
  const auto refused = [&] {
    const Status status = ReadManifests(&runs.fs, kGenerationPath).status();
    return status.Is(Code::kCorrupt) && status.file() == path;
  };
  CHECK(!refused());
  runs.fs.FlipBits(path, bytes.size() / 2, 4);
  CHECK(refused());
  Manifest other = *runs.checkpoints->kept()[1];
  other.generation = 2;
  runs.fs.PutRaw(path, EncodeManifest(other));
  CHECK(refused());
  other.generation = 1;
  other.meta = MetaAt(21);
  runs.fs.PutRaw(path, EncodeManifest(other));
  CHECK(refused());
  runs.fs.PutRaw(path, bytes);
  CHECK(!refused());
  REQUIRE_OK(runs.fs.Remove(path));
  CHECK(refused());
}

}  // namespace
}  // namespace gapless::engine::test
