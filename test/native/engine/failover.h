// An old primary with records that its successor lacks, and the successor: what a rewind is for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/offline_lost.h"
#include "upkeep_fixture.h"

namespace gapless::engine::test {

inline constexpr uint64_t kNoLimit = UINT64_MAX;

struct Failover {
  UpkeepBench old;        // was the primary
  UpkeepBench successor;  // was its replica
  Model common_model;     // what both have
  Position common;
  Model old_model;  // what the old primary had in the end
  Position end;
  uint64_t operations = 0;  // of the suffix
  uint64_t suffix_records = 0;

  // What the primary has and the other one does not, taken and shown.
  static Status Follow(Bench* primary, Bench* replica) {
    Engine* to = replica->engine.get();
    while (to->progress().visible.offset < primary->engine->shipping_end().offset) {
      Result<log::LogChunk> chunk =
          primary->engine->ReadLog(to->progress().visible.offset, 1 << 20);
      if (!chunk.ok()) return chunk.status();
      Result<Engine::Received> received = to->AppendReplicated(chunk.value().bytes);
      if (!received.ok()) return received.status();
      RETURN_IF_ERROR(to->SyncTo(received.value().after.offset, kLong));
      to->ApplyTicket(received.value().ticket);
      RETURN_IF_ERROR(to->PublishTicket(received.value().ticket));
    }
    return Status::Ok();
  }

  // Everything behind `from`.
  static std::string Records(Bench* bench, uint64_t from) {
    std::string records;
    while (from < bench->engine->shipping_end().offset) {
      const Result<log::LogChunk> chunk = bench->engine->ReadLog(from, 1 << 20);
      CHECK_OK(chunk);
      if (!chunk.ok()) break;
      records += chunk.value().bytes;
      from = chunk.value().after.offset;
    }
    return records;
  }

  // Both have `keys` keys; the old primary keeps a checkpoint for them, as a slot makes it do.
  Status Begin(uint64_t keys = 60) {
    for (UpkeepBench* bench : {&old, &successor}) bench->options.segment_bytes = 8192;
    successor.options.as_replica = true;
    RETURN_IF_ERROR(old.Open());
    RETURN_IF_ERROR(successor.Open());
    RETURN_IF_ERROR(successor.engine->AdoptCluster(old.engine->identity().cluster));
    const Result<log::HoldId> slot = old.engine->AddHold(log::HoldKind::kSlot, "successor", 0, 0);
    if (!slot.ok()) return slot.status();
    RETURN_IF_ERROR(WriteKeys(&old, &common_model, 0, keys, 1));
    RETURN_IF_ERROR(old.engine->Checkpoint(kLong));
    RETURN_IF_ERROR(WriteKeys(&old, &common_model, keys / 2, keys, 2));
    common = old.engine->progress().visible;
    RETURN_IF_ERROR(old.engine->SyncTo(common.offset, kLong));
    RETURN_IF_ERROR(Follow(&old, &successor));
    RETURN_IF_ERROR(old.engine->MoveHold(slot.value(), common.offset));
    old_model = common_model;
    return Status::Ok();
  }

  Status Lose(const Ops& ops, uint64_t count) {
    operations += count;
    ++suffix_records;
    const Result<Commit> commit = old.Sync1(ops);
    if (commit.ok()) end = commit.value().position;
    return commit.status();
  }

  // Five puts, three deletes, a range delete, and a checkpoint of all of it.
  Status Diverge() {
    for (uint64_t i = 0; i < 5; ++i) {
      const std::string key = "lost" + std::to_string(i);
      RETURN_IF_ERROR(Lose(Ops().Put(key, std::string(3000, 'x')), 1));
      old_model[key] = std::string(3000, 'x');
    }
    for (uint64_t i = 0; i < 3; ++i) {
      RETURN_IF_ERROR(Lose(Ops().Del(KeyOf(i)), 1));
      old_model.erase(KeyOf(i));
    }
    RETURN_IF_ERROR(Lose(Ops().DelRange(KeyOf(10), KeyOf(20)), 1));
    old_model.erase(old_model.lower_bound(KeyOf(10)), old_model.lower_bound(KeyOf(20)));
    return old.engine->Checkpoint(kLong);
  }

  // The successor takes over and writes; the old primary comes back as a replica.
  Status TakeOver() {
    const Result<Position> promoted = successor.engine->Promote(0);
    if (!promoted.ok()) return promoted.status();
    for (uint64_t i = 0; i < 4; ++i) {
      RETURN_IF_ERROR(
          successor.Sync1(Ops().Put("new" + std::to_string(i), "of the successor")).status());
    }
    return old.engine->Demote();
  }

  Status All() {
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(Diverge());
    return TakeOver();
  }

  bool Same() {
    return successor.engine->progress().visible == old.engine->progress().visible &&
           SameDigest(DigestOf(successor.engine.get()), DigestOf(old.engine.get())) &&
           old.engine->meta() == successor.engine->meta();
  }
};

struct LostContent {
  LostHeader header;
  std::string bytes;
  uint64_t entries = 0;
  bool whole = true;
};

inline Result<LostContent> ReadLost(io::FileSystem* fs, const std::string& name) {
  LostContent content;
  RETURN_IF_ERROR(
      ReadLostFile(fs, "/db/lost/" + name, &content.header, [&](const LostEntry& entry) {
        content.bytes.append(entry.bytes.data(), entry.bytes.size());
        content.whole = content.whole && entry.whole;
        ++content.entries;
        return true;
      }));
  return content;
}

}  // namespace gapless::engine::test
