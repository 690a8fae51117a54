// What checkpoints and log are kept for: slots, whether somebody listens or not, and what a primary
// announced to its replica.
#include "engine/manifest.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {
namespace {

Status NameSlot(Bench* bench, uint8_t node) {
  std::string body(24, '\0');
  body[0] = 1;
  body[8] = static_cast<char>(node);
  const Submitted submitted =
      bench->engine->SubmitControl(&bench->client, log::RecordKind::kConfig, body);
  if (submitted.state != Submitted::State::kQueued) return submitted.status;
  return bench->client.Await(bench->engine.get(), submitted.ticket).status;
}

// Twice what the memtables take, then a checkpoint of everything.
Status WriteMuch(Bench* bench, uint64_t round) {
  Model model;
  RETURN_IF_ERROR(WriteKeys(bench, &model, 0, 2000, round));
  return bench->engine->Checkpoint(kLong);
}

uint64_t OldestCheckpoint(Bench* bench) {
  const Result<KeptManifests> kept =
      ReadManifests(&bench->fs, static_cast<EngineImpl*>(bench->engine.get())->Live()->path());
  CHECK_OK(kept);
  if (!kept.ok()) return UINT64_MAX;
  const auto& older = kept.value().older;
  return older ? older->meta.position.offset : kept.value().newest.meta.position.offset;
}

bool LogReachesBackTo(Engine* engine, const Position& position) {
  return engine->ReadLog(position.offset, 1).ok();
}

TEST("a slot keeps log and checkpoint across opens in which nobody listens") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(NameSlot(&bench, 7));
  const Result<Commit> last = bench.Sync1(Ops().Put("last", "that the replica has"));
  REQUIRE_OK(last);
  const Position has = last.value().position;
  for (uint64_t round = 0; round < 4; ++round) {
    REQUIRE_OK(WriteMuch(&bench, round));
    CHECK_LE(OldestCheckpoint(&bench), has.offset);
    REQUIRE_OK(bench.Reopen());
    CHECK(LogReachesBackTo(bench.engine.get(), has));
  }
}

TEST("a slot keeps no more than its cap, and without one nothing is kept") {
  for (const bool with_slot : {true, false}) {
    UpkeepBench bench;
    bench.options.slot_max_bytes = uint64_t{1} << 20;
    REQUIRE_OK(bench.Open());
    if (with_slot) REQUIRE_OK(NameSlot(&bench, 7));
    const Result<Commit> last = bench.Sync1(Ops().Put("last", "that the replica has"));
    REQUIRE_OK(last);
    REQUIRE_OK(WriteMuch(&bench, 0));
    CHECK_EQ(LogReachesBackTo(bench.engine.get(), last.value().position), with_slot);
    for (uint64_t round = 1; round < 4; ++round) REQUIRE_OK(WriteMuch(&bench, round));
    CHECK(bench.Eventually(
        [&] { return !LogReachesBackTo(bench.engine.get(), last.value().position); }));
  }
}

TEST("a hold of the slot says where its replica is, and takes the floor with it") {
  UpkeepBench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(NameSlot(&bench, 7));
  const Result<Commit> last = bench.Sync1(Ops().Put("last", "that the replica has"));
  REQUIRE_OK(last);
  const std::string name = "07" + std::string(30, '0');
  const auto hold = bench.engine->AddHold(log::HoldKind::kSlot, name, 0, 0);
  REQUIRE_OK(hold);
  REQUIRE_OK(WriteMuch(&bench, 0));
  CHECK_EQ(OldestCheckpoint(&bench), 0u);
  const Position end = bench.engine->progress().durable;
  REQUIRE_OK(bench.engine->MoveHold(hold.value(), end.offset));
  CHECK(bench.Eventually([&] { return OldestCheckpoint(&bench) == end.offset; }));
}

// Everything that the primary has, up to its durable end.
Status Follow(Bench* primary, Bench* replica) {
  const uint64_t end = primary->engine->progress().durable.offset;
  while (replica->engine->log_stats().end < end) {
    const auto chunk = primary->engine->ReadLog(replica->engine->log_stats().end, 20000);
    if (!chunk.ok()) return chunk.status();
    const auto received = replica->engine->AppendReplicated(chunk.value().bytes);
    if (!received.ok() && !received.status().Is(Code::kQueueFull)) return received.status();
    RETURN_IF_ERROR(replica->engine->FinishTickets());
  }
  return Status::Ok();
}

TEST("a replica keeps the checkpoint at or below the floor that its primary announced") {
  UpkeepBench primary;
  UpkeepBench replica;
  primary.options.log_retain_bytes = uint64_t{1} << 30;
  replica.options.as_replica = true;
  REQUIRE_OK(primary.Open());
  REQUIRE_OK(replica.Open());
  REQUIRE_OK(replica.engine->AdoptCluster(primary.engine->identity().cluster));
  Position floor;
  for (uint64_t round = 0; round < 4; ++round) {
    REQUIRE_OK(WriteMuch(&primary, round));
    REQUIRE_OK(Follow(&primary, &replica));
    if (round == 0) {
      REQUIRE_OK(replica.engine->Checkpoint(kLong));
      floor = replica.engine->progress().durable;
    }
    if (round < 2) replica.engine->SetUndoFloor(floor);
    REQUIRE_OK(replica.engine->Checkpoint(kLong));
    CHECK_LE(OldestCheckpoint(&replica), floor.offset);
    // What the manifest keeps stands until the primary is heard again.
    if (round > 0) REQUIRE_OK(replica.Reopen());
    CHECK(LogReachesBackTo(replica.engine.get(), floor));
  }
  const Position end = replica.engine->progress().durable;
  replica.engine->SetUndoFloor(end);
  REQUIRE_OK(replica.engine->Checkpoint(kLong));
  CHECK(replica.Eventually([&] { return OldestCheckpoint(&replica) == end.offset; }));
}

}  // namespace
}  // namespace gapless::engine::test
