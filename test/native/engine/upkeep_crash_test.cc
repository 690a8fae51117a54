// Crash at every I/O operation of a life that flushes, merges, publishes manifests, drops log and
// compacts all the time, with everything unsynced lost, kept, or any mix of it; and again during
// the recovery. Oracles: acknowledged-never-lost (P1), prefix (P2: the digest at the position that
// came back is the digest that the history had there), never refused, no file left over.
//
// GAPLESS_CRASH_SCALE=full runs at least 100000 states, otherwise about 3000.
#include <cstdio>
#include <cstdlib>

#include "base/random.h"
#include "io/file_names.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {
namespace {

// What a run has told its callers. The history is one line: offsets are unique in it.
struct Oracle {
  std::map<uint64_t, std::pair<Position, DigestSum>> ends;  // every record end, by offset
  Position acknowledged;                                    // durable by the engine's word
  Model model;
};

struct Script {
  io::FaultFileSystem fs;
  io::FakeClock clock;
  io::FakeRandom random{13};
  Client client;
  std::shared_ptr<Engine> engine;
  Oracle oracle;
  uint64_t turn = 0;

  Options MakeOptions(io::FileSystem* on) {
    Options options = SmallOptions(on, &clock, &random);
    MakeTiny(&options);
    options.segment_bytes = 8192;
    options.value_file_bytes_min = 300;
    options.compression = turn % 2 == 0 ? table::Compression::kNone : table::Compression::kLz4;
    return options;
  }

  bool Open() {
    Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", MakeOptions(&fs));
    if (!opened.ok()) return false;
    engine = opened.value();
    engine->AddClient(&client);
    return true;
  }

  bool Close() {
    if (engine == nullptr) return true;
    NoteEpochs();
    engine->RemoveClient(&client);
    const bool closed = engine->Release().ok();
    engine.reset();
    return closed;
  }

  // Epoch records change nothing: their end has the digest of what stood before.
  void NoteEpochs() {
    const log::MetaState meta = engine->meta();
    for (const EpochEntry& entry : meta.epochs) {
      const auto before = oracle.ends.find(entry.before.offset);
      if (before == oracle.ends.end()) continue;
      const DigestSum digest = before->second.second;
      const Position after{entry.epoch, entry.before.seq + 1, entry.before.offset + 120,
                           entry.chain};
      oracle.ends.insert({after.offset, {after, digest}});
    }
  }

  Ops Next() {
    Ops ops;
    Model& model = oracle.model;
    const std::string key = "k" + std::to_string(turn * 7 % 29);
    const std::string value(60 + turn * 31 % 900, static_cast<char>('a' + turn % 26));
    ops.Put(key, value);
    model[key] = value;
    if (turn % 3 == 1) {
      ops.Del("k" + std::to_string(turn % 29));
      model.erase("k" + std::to_string(turn % 29));
    }
    if (turn % 4 == 2) {
      ops.DelRange("k1", "k2").Put("k13", "y");
      model.erase(model.lower_bound("k1"), model.lower_bound("k2"));
      model["k13"] = "y";
    }
    if (turn % 5 == 3) {
      ops.Increment("n", 3);
      const auto at = model.find("n");
      model["n"] = std::to_string((at == model.end() ? 0 : std::stoll(at->second)) + 3);
    }
    return ops;
  }

  bool Commit(bool wait) {
    ++turn;
    clock.AdvanceMs(1);
    const Ops ops = Next();
    const Result<engine::Commit> commit = CommitOf(engine.get(), &client, ops);
    if (!commit.ok()) return false;
    NoteEpochs();
    const Position& position = commit.value().position;
    oracle.ends[position.offset] = {position, DigestOfModel(oracle.model)};
    if (!wait) return true;
    if (!engine->WaitFor(position, log::Durability::kSync, kLong).ok()) return false;
    oracle.acknowledged = position;
    return true;
  }

  bool Commits(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      if (!Commit(i % 3 == 2)) return false;
    }
    return true;
  }

  bool Checkpoint() {
    const Position at = engine->progress().visible;
    if (!engine->Checkpoint(kLong).ok()) return false;
    oracle.acknowledged = at;  // log first
    return true;
  }

  void Run() {
    oracle.ends[0] = {Position{}, DigestSum{}};
    (void)Live();
    (void)Close();
  }

  bool Live() {
    for (uint64_t life = 0; life < 3; ++life) {
      if (!Open()) return false;
      for (uint64_t i = 0; i < 6; ++i) {
        if (!Commits(4) || !Checkpoint()) return false;
      }
      if (life == 1 && !engine->Compact(std::nullopt).ok()) return false;
      const ViewInfo view = engine->OpenView();
      if (!Commits(5) || !Checkpoint()) return false;
      engine->ReleaseView(view.id);
      if (!Commits(2) || !Close()) return false;
    }
    return true;
  }
};

struct Tally {
  uint64_t states = 0;
  uint64_t second_crashes = 0;
  uint64_t cut = 0;
};

bool Complain(const std::string& what) {
  check::Fail(__FILE__, __LINE__, what);
  return false;
}

// Of a closed store: every run and value file is named by a manifest, and nothing else stands
// beside them.
bool NothingLeftOver(io::FaultFileSystem* disk, const std::string& what) {
  uint64_t files = 0;
  std::string temporary;
  for (const std::string& path : disk->ListAll()) {
    if (path.find("/runs/") != std::string::npos && path.back() != '/') ++files;
    // (A prepared segment of the log has such a name, too.)
    const bool of_log = path.find("/log/") != std::string::npos;
    if (!of_log && path.find(".tmp") != std::string::npos) temporary += " " + path;
  }
  std::set<std::string> named;
  const Result<KeptManifests> kept = ReadManifests(disk, "/db/gen-000001");
  if (!kept.ok()) return Complain(what + ": " + kept.ToString());
  const auto add = [&named](const Manifest& manifest) {
    for (const table::RunInfo& run : manifest.runs) {
      named.insert(io::RunName(run.number));
      for (const table::ValueUse& use : run.values) named.insert(io::ValuesName(use.file));
    }
  };
  add(kept.value().newest);
  if (kept.value().older.has_value()) add(*kept.value().older);
  if (files == named.size() && temporary.empty()) return true;
  return Complain(what + ": " + std::to_string(files) + " files for " +
                  std::to_string(named.size()) + " names;" + temporary);
}

bool GoOn(Script* script, Engine* engine, const Position& end, const std::string& what) {
  Client client;
  engine->AddClient(&client);
  Status went = SyncCommit(engine, &client, Ops().Put("behind", "the crash")).status();
  if (went.ok()) went = engine->Checkpoint(kLong);
  engine->RemoveClient(&client);
  if (!went.ok()) return Complain(what + ": cannot go on: " + went.ToString());
  DigestSum expected = script->oracle.ends.find(end.offset)->second.second;
  expected.Add(DigestEntry("behind", "the crash"));
  return SameDigest(expected, DigestOf(engine)) || Complain(what + ": goes on with another state");
}

// Judges what one disk gives; false at the first broken promise.
bool Judge(Script* script, io::FaultFileSystem* disk, const std::string& what, Tally* tally,
           bool go_on) {
  ++tally->states;
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", script->MakeOptions(disk));
  if (!opened.ok()) return Complain(what + " is refused: " + opened.status().ToString());
  Engine* engine = opened.value().get();
  const Position end = engine->progress().visible;
  if (engine->recovery().cut.has_value()) ++tally->cut;
  const auto known = script->oracle.ends.find(end.offset);
  bool good = known != script->oracle.ends.end() && known->second.first == end;
  if (!good) (void)Complain(what + ": no record end: " + ToText(end));
  if (good && !SameDigest(known->second.second, DigestOf(engine))) {
    good = Complain(what + ": not the state of " + ToText(end));
  }
  if (end.offset < script->oracle.acknowledged.offset) {
    good = Complain(what + ": acknowledged " + ToText(script->oracle.acknowledged) +
                    " is lost, end is " + ToText(end));
  }
  if (good && go_on) good = GoOn(script, engine, end, what);
  const Status closed = opened.value()->Release();
  if (!closed.ok()) (void)Complain(what + ": close: " + closed.ToString());
  return good && closed.ok() && NothingLeftOver(disk, what);
}

// A second crash, at operation `n` of the recovery, on a disk that a first one left.
bool CrashAgain(Script* script, const io::FaultFileSystem& first, uint64_t n,
                const std::string& what, Tally* tally) {
  const auto disk = first.Clone();
  disk->CrashAfter(disk->operations() + n);
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", script->MakeOptions(disk.get()));
  if (opened.ok()) (void)opened.value()->Release();
  ++tally->second_crashes;
  const auto image = disk->ImageOfSeed(n * 31 + 7);
  return Judge(script, image.get(), what + ", crashed again at " + std::to_string(n), tally, false);
}

bool RunCrash(uint64_t n, uint64_t seeds, Tally* tally, bool* crashed) {
  Script script;
  script.fs.CrashAfter(n);
  script.Run();
  *crashed = script.fs.crashed();
  const std::string at = "crash behind operation " + std::to_string(n);
  const auto lost = script.fs.ImageAllLost();
  if (!Judge(&script, lost.get(), at + ", all lost", tally, n % 7 == 0)) return false;
  const auto kept = script.fs.ImageAllKept();
  if (!Judge(&script, kept.get(), at + ", all kept", tally, n % 7 == 1)) return false;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const auto disk = script.fs.ImageOfSeed(n * 1000 + seed);
    const std::string what = at + ", seed " + std::to_string(seed);
    if (seed % 4 == 3) {
      if (!CrashAgain(&script, *disk, 1 + (n + seed) % 9, what, tally)) return false;
    } else if (!Judge(&script, disk.get(), what, tally, seed % 8 == 1)) {
      return false;
    }
  }
  return true;
}

TEST("a crash during flush, merge, manifest or compaction loses nothing and leaves a prefix") {
  const char* scale = std::getenv("GAPLESS_CRASH_SCALE");
  const bool full = scale != nullptr && std::string(scale) == "full";
  Script whole;
  whole.Run();
  const uint64_t operations = whole.fs.operations();
  REQUIRE(!whole.fs.crashed());
  REQUIRE(whole.oracle.ends.size() >= 90);
  const uint64_t wanted = full ? 100000 : 3000;
  // Threads make the number of operations vary from run to run: some more for each of them.
  const uint64_t per_crash = wanted * 4 / (3 * operations) + 1;
  Tally tally;
  bool crashed = true;
  for (uint64_t n = 0; crashed && !check::Failed(); ++n) {
    if (!RunCrash(n, per_crash, &tally, &crashed)) break;
  }
  std::printf(
      "upkeep crash states: %llu (%llu second crashes, %llu tails cut) over %llu operations\n",
      static_cast<unsigned long long>(tally.states),
      static_cast<unsigned long long>(tally.second_crashes),
      static_cast<unsigned long long>(tally.cut), static_cast<unsigned long long>(operations));
  if (!check::Failed()) CHECK_GE(tally.states, wanted);
  CHECK_GT(tally.cut, 0u);
}

}  // namespace
}  // namespace gapless::engine::test
