// Crash at every I/O operation of a rewind, with everything unsynced lost, kept, or any mix of it;
// and again while the open goes on with it. Oracles: the store is never refused; it is the old
// history, complete, or the common position; lost/ holds the whole suffix before anything of the
// suffix is gone; from the common position the successor's history follows, digests equal.
//
// GAPLESS_CRASH_SCALE=full runs at least 30000 states, otherwise about 1500.
#include <cstdio>
#include <cstdlib>

#include "engine/recovery.h"
#include "failover.h"

namespace gapless::engine::test {
namespace {

struct Scene {
  Failover pair;
  std::string suffix;
  std::string successor_log;  // behind the common position
  Position successor_end;
  DigestSum old_digest;
  DigestSum common_digest;
  DigestSum successor_digest;

  bool Prepare() {
    CHECK_OK(pair.All());
    if (check::Failed()) return false;
    suffix = Failover::Records(&pair.old, pair.common.offset);
    successor_end = pair.successor.engine->progress().visible;
    successor_log = Failover::Records(&pair.successor, pair.common.offset);
    old_digest = DigestOfModel(pair.old_model);
    common_digest = DigestOfModel(pair.common_model);
    successor_digest = DigestOf(pair.successor.engine.get());
    return !check::Failed();
  }
  Options OptionsOn(io::FileSystem* fs) {
    Options options = pair.old.options;
    options.fs = fs;
    return options;
  }
};

struct Tally {
  uint64_t states = 0;
  uint64_t second_crashes = 0;
  uint64_t old = 0;
  uint64_t rewound = 0;
  uint64_t continued = 0;
};

bool Complain(const std::string& what) {
  check::Fail(__FILE__, __LINE__, what);
  return false;
}

// What the log of a disk still has, before anybody opens it.
Result<Position> EndOfLog(io::FaultFileSystem* disk) {
  Result<StoreFiles> files = ReadStoreFiles(disk, "/db", true);
  if (!files.ok()) return files.status();
  const log::ScanOptions options =
      MakeScanOptions(disk, files.value(), files.value().manifests.newest);
  const Result<log::ScanResult> scan = log::ScanLog(options, nullptr);
  if (!scan.ok()) return scan.status();
  return scan.value().end;
}

bool LostIsWhole(Scene* scene, io::FaultFileSystem* disk, const std::string& what) {
  const Failover& pair = scene->pair;
  const std::string name =
      "1.0-" + std::to_string(pair.common.seq + 1) + "-" + std::to_string(pair.end.seq) + ".log";
  const Result<LostContent> content = ReadLost(disk, name);
  if (!content.ok()) return Complain(what + ": lost file: " + content.status().ToString());
  const bool same = content.value().bytes == scene->suffix && content.value().whole &&
                    content.value().header.from == pair.common &&
                    content.value().header.to == pair.end;
  return same || Complain(what + ": the lost file is not the suffix");
}

bool FollowsSuccessor(Scene* scene, Engine* engine, const std::string& what) {
  Result<Engine::Received> received = engine->AppendReplicated(scene->successor_log);
  Status went = received.status();
  if (went.ok()) went = engine->SyncTo(received.value().after.offset, kLong);
  if (went.ok()) engine->ApplyTicket(received.value().ticket);
  if (went.ok()) went = engine->PublishTicket(received.value().ticket);
  if (went.ok()) went = engine->Checkpoint(kLong);
  if (!went.ok()) return Complain(what + ": cannot follow: " + went.ToString());
  const bool same = engine->progress().visible == scene->successor_end &&
                    SameDigest(DigestOf(engine), scene->successor_digest);
  return same || Complain(what + ": not the successor's state");
}

bool JudgeOpen(Scene* scene, io::FaultFileSystem* disk, Engine* engine, const std::string& what,
               Tally* tally) {
  const Position end = engine->progress().visible;
  if (engine->recovery().rewound) ++tally->continued;
  if (end == scene->pair.end) {
    ++tally->old;
    return SameDigest(DigestOf(engine), scene->old_digest) ||
           Complain(what + ": not the old state");
  }
  ++tally->rewound;
  if (end != scene->pair.common) return Complain(what + ": at " + ToText(end));
  if (!SameDigest(DigestOf(engine), scene->common_digest)) {
    return Complain(what + ": not the state of the common position");
  }
  return LostIsWhole(scene, disk, what) && FollowsSuccessor(scene, engine, what);
}

// Who only reads finds some record end between the two positions, wherever the rewind stands.
bool ReadsAnyhow(Scene* scene, io::FaultFileSystem* disk, const std::string& what) {
  Options options = scene->OptionsOn(disk);
  options.read_only = true;
  options.as_replica = false;
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", options);
  if (!opened.ok()) return Complain(what + ", read-only: " + opened.status().ToString());
  const uint64_t end = opened.value()->progress().visible.offset;
  const Failover& pair = scene->pair;
  const bool good = end >= pair.common.offset && end <= pair.end.offset;
  const Status closed = opened.value()->Release();
  return (good && closed.ok()) || Complain(what + ", read-only: at " + std::to_string(end));
}

// Judges what one disk gives; false at the first broken promise.
bool Judge(Scene* scene, io::FaultFileSystem* disk, const std::string& what, Tally* tally) {
  ++tally->states;
  const Result<Position> found = EndOfLog(disk);
  if (!found.ok()) return Complain(what + ": unreadable: " + found.status().ToString());
  if (found.value() != scene->pair.end && !LostIsWhole(scene, disk, what)) return false;
  if (!ReadsAnyhow(scene, disk, what)) return false;
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", scene->OptionsOn(disk));
  if (!opened.ok()) return Complain(what + " is refused: " + opened.status().ToString());
  const bool good = JudgeOpen(scene, disk, opened.value().get(), what, tally);
  const Status closed = opened.value()->Release();
  return good && (closed.ok() || Complain(what + ": close: " + closed.ToString()));
}

bool CrashAgain(Scene* scene, const io::FaultFileSystem& first, uint64_t n, const std::string& what,
                Tally* tally) {
  const auto disk = first.Clone();
  disk->CrashAfter(disk->operations() + n);
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", scene->OptionsOn(disk.get()));
  if (opened.ok()) (void)opened.value()->Release();
  ++tally->second_crashes;
  const auto image = disk->ImageOfSeed(n * 31 + 7);
  return Judge(scene, image.get(), what + ", crashed again at " + std::to_string(n), tally);
}

bool RunCrash(uint64_t n, uint64_t seeds, Tally* tally, bool* crashed) {
  Scene whole;
  if (!whole.Prepare()) return false;
  Scene* const scene = &whole;
  io::FaultFileSystem* const disk = &scene->pair.old.fs;
  disk->CrashAfter(disk->operations() + n);
  const bool done = scene->pair.old.engine->Rewind(scene->pair.common, kNoLimit).ok();
  *crashed = disk->crashed();
  if (!done && !*crashed) return Complain("a rewind failed without a crash");
  const std::string at = "crash behind operation " + std::to_string(n);
  std::vector<std::unique_ptr<io::FaultFileSystem>> images;
  for (uint64_t seed = 0; seed < seeds; ++seed)
    images.push_back(disk->ImageOfSeed(n * 1000 + seed));
  const auto lost = disk->ImageAllLost();
  const auto kept = disk->ImageAllKept();
  if (!Judge(scene, lost.get(), at + ", all lost", tally)) return false;
  if (!Judge(scene, kept.get(), at + ", all kept", tally)) return false;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string what = at + ", seed " + std::to_string(seed);
    const bool again = seed % 3 == 2;
    const bool good = again ? CrashAgain(scene, *images[seed], 1 + (n + seed * 5) % 40, what, tally)
                            : Judge(scene, images[seed].get(), what, tally);
    if (!good) return false;
  }
  return true;
}

TEST("a crash at any operation of a rewind leaves the old history or the common position") {
  const char* scale = std::getenv("GAPLESS_CRASH_SCALE");
  const bool full = scale != nullptr && std::string(scale) == "full";
  const uint64_t seeds = full ? 400 : 12;
  Tally tally;
  bool crashed = true;
  uint64_t operations = 0;
  for (; crashed && !check::Failed(); ++operations) {
    if (!RunCrash(operations, seeds, &tally, &crashed)) break;
  }
  std::printf(
      "rewind crash states: %llu (%llu second crashes; %llu old, %llu rewound, of these "
      "%llu continued) over %llu operations\n",
      static_cast<unsigned long long>(tally.states),
      static_cast<unsigned long long>(tally.second_crashes),
      static_cast<unsigned long long>(tally.old), static_cast<unsigned long long>(tally.rewound),
      static_cast<unsigned long long>(tally.continued),
      static_cast<unsigned long long>(operations));
  CHECK_GT(operations, 25u);
  CHECK_GT(tally.old, 0u);
  CHECK_GT(tally.continued, 100u);
  CHECK_GT(tally.rewound, tally.continued);
}

}  // namespace
}  // namespace gapless::engine::test
