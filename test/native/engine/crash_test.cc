// Crash at every I/O operation of a scripted life, with everything unsynced lost, kept, or any mix
// of it; and again during the recovery. Oracles: acknowledged-never-lost (P1), prefix (P2: the
// digest at the position that came back is the digest that the history had there), never refused.
//
// GAPLESS_CRASH_SCALE=full runs at least 20000 states, otherwise about 3000.
#include <cstdio>
#include <cstdlib>

#include "base/random.h"
#include "engine_fixture.h"

namespace gapless::engine::test {
namespace {

struct Script;

// What a run has told its callers. The history is one line: offsets are unique in it.
struct Oracle {
  std::map<uint64_t, std::pair<Position, DigestSum>> ends;  // every record end, by offset
  Position acknowledged;                                    // durable by the engine's word
  Model model;
};

// One life: opens, writes, rotates, promotes, closes, reopens. Ends at the first error.
struct Script {
  io::FaultFileSystem fs;
  io::FakeClock clock;
  io::FakeRandom random{11};
  Client client;
  std::shared_ptr<Engine> engine;
  Oracle oracle;
  uint64_t turn = 0;

  Options MakeOptions(io::FileSystem* on) {
    Options options = SmallOptions(on, &clock, &random);
    options.segment_bytes = 8192;
    options.log_retain_bytes = 0;
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
      const DigestSum digest = before == oracle.ends.end() ? DigestSum{} : before->second.second;
      Position after{entry.epoch, entry.before.seq + 1, entry.before.offset + 120, entry.chain};
      oracle.ends.insert({after.offset, {after, digest}});
    }
  }

  // The model takes a batch at once; increments are of "n" only.
  void Apply(uint64_t kind, Ops* ops) {
    Model& model = oracle.model;
    const std::string key = "k" + std::to_string(turn % 13);
    switch (kind) {
      case 0:
        ops->Put(key, "v" + std::to_string(turn));
        model[key] = "v" + std::to_string(turn);
        break;
      case 1:
        ops->Put(key, std::string(700, static_cast<char>('a' + turn % 26))).Del("k3");
        model[key] = std::string(700, static_cast<char>('a' + turn % 26));
        model.erase("k3");
        break;
      case 2:
        ops->Del(key);
        model.erase(key);
        break;
      case 3:
        ops->Put("k1", "x").DelRange("k1", "k2").Put("k10", "y");
        model.erase(model.lower_bound("k1"), model.lower_bound("k2"));
        model["k10"] = "y";
        break;
      case 4: {
        ops->Increment("n", 3).Increment("n", -1).Put(key, "z");
        const auto at = model.find("n");
        model["n"] = std::to_string((at == model.end() ? 0 : std::stoll(at->second)) + 2);
        model[key] = "z";
        break;
      }
      default:
        ops->Put(key, std::string(2500, 'L'));
        model[key] = std::string(2500, 'L');
        break;
    }
  }

  bool Commit(uint64_t kind, bool wait) {
    ++turn;
    clock.AdvanceMs(1);
    Ops ops;
    Apply(kind, &ops);
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

  bool Promote() {
    const Result<Position> promoted = engine->Promote(0);
    if (promoted.ok() || !promoted.status().Is(Code::kAlreadyPrimary)) return false;
    const Result<Position> raised = engine->Promote(engine->highest_term() + 1);
    NoteEpochs();
    if (!raised.ok()) return false;
    oracle.acknowledged = raised.value();
    return true;
  }

  void Run() {
    oracle.ends[0] = {Position{}, DigestSum{}};
    (void)Live();
    (void)Close();
  }

  bool Live() {
    if (!Open()) return false;
    for (uint64_t i = 0; i < 8; ++i) {
      if (!Commit(i % 6, i % 2 == 1)) return false;
    }
    if (!Promote()) return false;
    for (uint64_t i = 0; i < 6; ++i) {
      if (!Commit(5 - i % 6, i % 3 == 2)) return false;
    }
    if (!Close()) return false;
    if (!Open()) return false;
    for (uint64_t i = 0; i < 6; ++i) {
      if (!Commit(i * 5 % 6, i % 2 == 0)) return false;
    }
    return Close();
  }
};

struct Tally {
  uint64_t states = 0;
  uint64_t second_crashes = 0;
  uint64_t cut = 0;
};

// Judges what one disk gives; false at the first broken promise.
bool Judge(Script* script, io::FaultFileSystem* disk, const std::string& what, Tally* tally,
           bool go_on) {
  ++tally->states;
  Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", script->MakeOptions(disk));
  if (!opened.ok()) {
    check::Fail(__FILE__, __LINE__, what + " is refused: " + opened.status().ToString());
    return false;
  }
  Engine* engine = opened.value().get();
  const Position end = engine->progress().visible;
  if (engine->recovery().cut.has_value()) ++tally->cut;
  const auto known = script->oracle.ends.find(end.offset);
  bool good = known != script->oracle.ends.end() && known->second.first == end;
  if (!good) check::Fail(__FILE__, __LINE__, what + ": no record end: " + ToText(end));
  if (good && !SameDigest(known->second.second, DigestOf(engine))) {
    check::Fail(__FILE__, __LINE__, what + ": not the state of " + ToText(end));
    good = false;
  }
  if (end.offset < script->oracle.acknowledged.offset) {
    check::Fail(__FILE__, __LINE__,
                what + ": acknowledged " + ToText(script->oracle.acknowledged) +
                    " is lost, end is " + ToText(end));
    good = false;
  }
  if (good && go_on) {
    Client client;
    engine->AddClient(&client);
    const Result<Commit> commit = SyncCommit(engine, &client, Ops().Put("behind", "the crash"));
    if (!commit.ok() || commit.value().position.epoch <= end.epoch) {
      check::Fail(__FILE__, __LINE__, what + ": cannot go on: " + commit.ToString());
      good = false;
    }
    engine->RemoveClient(&client);
  }
  const Status closed = opened.value()->Release();
  if (!closed.ok()) check::Fail(__FILE__, __LINE__, what + ": close: " + closed.ToString());
  return good && closed.ok();
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
  return Judge(script, image.get(), what + ", crashed again at " + std::to_string(n), tally,
               n % 5 == 0);
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

TEST("a crash at any operation loses nothing acknowledged and leaves a prefix") {
  const char* scale = std::getenv("GAPLESS_CRASH_SCALE");
  const bool full = scale != nullptr && std::string(scale) == "full";
  Script whole;
  whole.Run();
  const uint64_t operations = whole.fs.operations();
  REQUIRE(!whole.fs.crashed());
  REQUIRE_EQ(whole.oracle.ends.size(), 24u);
  const uint64_t wanted = full ? 20000 : 3000;
  // Group commit makes the number of operations vary from run to run: some more for each of them.
  const uint64_t per_crash = wanted * 3 / (2 * operations) + 1;
  Tally tally;
  bool crashed = true;
  for (uint64_t n = 0; crashed && !check::Failed(); ++n) {
    if (!RunCrash(n, per_crash, &tally, &crashed)) break;
  }
  std::printf("crash states: %llu (%llu second crashes, %llu tails cut) over %llu operations\n",
              static_cast<unsigned long long>(tally.states),
              static_cast<unsigned long long>(tally.second_crashes),
              static_cast<unsigned long long>(tally.cut),
              static_cast<unsigned long long>(operations));
  if (!check::Failed()) CHECK_GE(tally.states, wanted);
  CHECK_GT(tally.cut, 0u);
}

}  // namespace
}  // namespace gapless::engine::test
