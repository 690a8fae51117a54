// A full sync that was cut short and is taken up again: what is kept of it, and what is not.
#include "engine/sync_file.h"

#include "base/coding.h"
#include "full_sync.h"
#include "io/file_names.h"

namespace gapless::engine::test {
namespace {

constexpr Id128 kSync = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

// A replica that has flow 0 whole, half of flow 1, nothing of flow 2, and half of the log.
struct Interrupted {
  io::FakeRandom random{99};
  Bench primary;
  Model model;
  Transfer transfer;
  Bench replica;
  Position received;

  Interrupted() {
    primary.options.shards = 3;
    primary.options.random = &random;
    CHECK_OK(primary.Open());
    Fill(&primary, &model, "base", 40);
    transfer = Capture(primary.engine.get(), [this] { Fill(&primary, &model, "later", 12); });
    replica.options.as_replica = true;
    CHECK_OK(replica.Open());
  }

  Status Receive(GenerationBuilder* builder) {
    RETURN_IF_ERROR(builder->Begin(transfer.token, transfer.Bytes()));
    RETURN_IF_ERROR(builder->Remember(kSync));
    RETURN_IF_ERROR(builder->FeedFlow(0, transfer.flows[0]));
    RETURN_IF_ERROR(builder->FinishFlow(0, transfer.summaries[0]));
    RETURN_IF_ERROR(
        builder->FeedFlow(1, Slice(transfer.flows[1]).Sub(0, transfer.flows[1].size() / 2)));
    const Slice log = transfer.log;
    size_t half = 0;
    while (half < log.size() / 2) half += RecordBytesAt(log.Sub(half, log.size() - half));
    return builder->AppendLog(log.Sub(0, half), &received);
  }

  static size_t RecordBytesAt(Slice records) {
    const uint32_t body = LoadU32(records.data() + log::kRecordBodyBytes);
    return (log::kRecordHeaderBytes + body + 7) / 8 * 8;
  }

  // Ends the process in mid-sync, in order.
  void Suspend() {
    Result<std::unique_ptr<GenerationBuilder>> builder = replica.engine->NewGeneration();
    REQUIRE_OK(builder);
    REQUIRE_OK(Receive(builder.value().get()));
    REQUIRE_OK(builder.value()->Suspend());
    builder.value().reset();
    REQUIRE_OK(replica.Reopen());
  }

  // Fetches what is missing, and installs.
  Status GoOn(GenerationBuilder* builder, const RecalledSync& recalled) {
    Position end;
    RETURN_IF_ERROR(builder->AppendLog(transfer.log, &end));
    for (uint32_t flow = 0; flow < 3; ++flow) {
      bool finished = false;
      for (const uint32_t other : builder->finished()) finished |= other == flow;
      if (finished) continue;
      const Slice bytes = transfer.flows[flow];
      const uint64_t from = recalled.flow_bytes[flow];
      RETURN_IF_ERROR(builder->FeedFlow(flow, bytes.Sub(from, bytes.size() - from)));
      RETURN_IF_ERROR(builder->FinishFlow(flow, transfer.summaries[flow]));
    }
    return builder->Install();
  }
};

// The one generation that is being built.
std::string IncomingGeneration(io::FileSystem* fs) {
  const Result<std::vector<std::string>> names = fs->List("/db/incoming");
  CHECK_OK(names);
  if (!names.ok()) return "";
  for (const std::string& name : names.value()) {
    uint64_t number = 0;
    if (io::ParseGenerationName(name, &number)) return "/db/incoming/" + name;
  }
  return "";
}

std::string FlowPath(io::FileSystem* fs, uint32_t flow) {
  return IncomingGeneration(fs) + "/runs/" + io::FlowName(flow);
}

bool NothingIncoming(io::FileSystem* fs) {
  const Result<bool> exists = fs->Exists("/db/incoming");
  return exists.ok() && !exists.value();
}

TEST("a suspended full sync is recalled after a restart with what is verified, and goes on") {
  Interrupted sync;
  sync.Suspend();
  Result<std::unique_ptr<GenerationBuilder>> builder = sync.replica.engine->NewGeneration();
  REQUIRE_OK(builder);
  RecalledSync recalled;
  const Result<bool> found = builder.value()->Recall(&recalled);
  REQUIRE_OK(found);
  REQUIRE(found.value());
  CHECK(recalled.sync == kSync);
  CHECK(recalled.token.meta.position == sync.transfer.token.meta.position);
  CHECK_EQ(recalled.flow_bytes[0], sync.transfer.flows[0].size());
  CHECK_LE(recalled.flow_bytes[1], sync.transfer.flows[1].size() / 2);
  CHECK_EQ(recalled.flow_bytes[2], 0u);
  CHECK_EQ(builder.value()->finished().size(), 1u);
  CHECK(builder.value()->received() == sync.received);
  CHECK(!sync.replica.engine->complete());
  REQUIRE_OK(sync.GoOn(builder.value().get(), recalled));
  builder.value().reset();
  CHECK(Equals(sync.replica.engine.get(), sync.model));
  CHECK(NothingIncoming(&sync.replica.fs));
  REQUIRE_OK(sync.replica.Reopen());
  CHECK(Equals(sync.replica.engine.get(), sync.model));
}

TEST("a flow that was damaged meanwhile is kept up to its last whole chunk before the damage") {
  Interrupted sync;
  sync.Suspend();
  const std::string path = FlowPath(&sync.replica.fs, 0);
  {
    Result<std::unique_ptr<io::File>> file = sync.replica.fs.Open(path, io::OpenMode::kReadWrite);
    REQUIRE_OK(file);
    REQUIRE_OK(file.value()->WriteAt(sync.transfer.flows[0].size() - 60, Slice("damage")));
  }
  Result<std::unique_ptr<GenerationBuilder>> builder = sync.replica.engine->NewGeneration();
  REQUIRE_OK(builder);
  RecalledSync recalled;
  const Result<bool> found = builder.value()->Recall(&recalled);
  REQUIRE_OK(found);
  REQUIRE(found.value());
  CHECK_LT(recalled.flow_bytes[0], sync.transfer.flows[0].size());
  CHECK_GT(recalled.flow_bytes[0], 0u);
  CHECK(builder.value()->finished().empty());
  REQUIRE_OK(sync.GoOn(builder.value().get(), recalled));
  CHECK(Equals(sync.replica.engine.get(), sync.model));
}

TEST("what cannot be read of it, or belongs to nothing, is removed, and the store opens") {
  for (const bool flow_gone : {false, true}) {
    Interrupted sync;
    sync.Suspend();
    if (flow_gone) {
      REQUIRE_OK(io::RemoveTree(&sync.replica.fs, IncomingGeneration(&sync.replica.fs)));
    } else {
      Result<std::unique_ptr<io::File>> file =
          sync.replica.fs.Open("/db/incoming/SYNC", io::OpenMode::kReadWrite);
      REQUIRE_OK(file);
      REQUIRE_OK(file.value()->WriteAt(40, Slice("damage")));
    }
    REQUIRE_OK(sync.replica.Reopen());
    Result<std::unique_ptr<GenerationBuilder>> builder = sync.replica.engine->NewGeneration();
    REQUIRE_OK(builder);
    RecalledSync recalled;
    const Result<bool> found = builder.value()->Recall(&recalled);
    REQUIRE_OK(found);
    CHECK(!found.value());
    builder.value().reset();
    CHECK(NothingIncoming(&sync.replica.fs));
    REQUIRE_OK(FullSync(sync.replica.engine.get(), sync.transfer));
    CHECK(Equals(sync.replica.engine.get(), sync.model));
  }
}

TEST("a sync that was not remembered, or whose node was promoted, leaves nothing to recall") {
  Interrupted sync;
  sync.Suspend();
  REQUIRE_OK(sync.replica.engine->Promote(0));
  sync.replica.options.as_replica = false;
  REQUIRE_OK(sync.replica.Reopen());
  CHECK(NothingIncoming(&sync.replica.fs));
}

TEST("SYNC has exactly the bytes of its format, and damage of any of them is told") {
  const Interrupted sync;
  const std::string bytes = EncodeSyncFile(kSync, sync.transfer.token);
  Id128 id{};
  snapshot::Token token;
  REQUIRE_OK(DecodeSyncFile(bytes, "SYNC", &id, &token));
  CHECK(id == kSync);
  CHECK(token.meta.position == sync.transfer.token.meta.position);
  CHECK(bytes.compare(0, 8, "GPLSSYN1") == 0);
  CHECK(bytes.compare(16, 4, "\x01\x02\x03\x04") == 0);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    CHECK(DecodeSyncFile(damaged, "SYNC", &id, &token).Is(Code::kCorrupt));
    CHECK(DecodeSyncFile(bytes.substr(0, i), "SYNC", &id, &token).Is(Code::kCorrupt));
  }
}

}  // namespace
}  // namespace gapless::engine::test
