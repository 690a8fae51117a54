// Flows into runs: every entry once, in its shard, in order, whatever the flows were divided by;
// and nothing left behind when it cannot be done.
#include "engine/base_runs.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>

#include "base/hash.h"
#include "check.h"
#include "engine/manifest.h"
#include "io/fault_file_system.h"
#include "io/file_names.h"
#include "table/read_gate.h"
#include "table/shard_of.h"

namespace gapless::engine::test {
namespace {

struct Value {
  std::string bytes;
  uint64_t seq = 0;
  uint64_t expires_at_ms = 0;
  bool operator==(const Value&) const = default;
};
using Entries = std::map<std::string, Value>;

class MapSource final : public snapshot::EntrySource {
 public:
  explicit MapSource(const Entries& entries) : entries_(entries), at_(entries_.begin()) {}
  bool Next(table::Entry* entry, Status*) override {
    if (at_ == entries_.end()) return false;
    entry->key = at_->first;
    entry->value = at_->second.bytes;
    entry->seq = at_->second.seq;
    entry->expires_at_ms = at_->second.expires_at_ms;
    ++at_;
    return true;
  }

 private:
  const Entries entries_;
  Entries::const_iterator at_;
};

Entries SampleEntries(uint64_t count) {
  Entries entries;
  for (uint64_t i = 1; i <= count; ++i) {
    Value value{std::string(i * 37 % 300, static_cast<char>('a' + i % 26)), i, i % 7 == 0 ? i : 0};
    entries["key" + std::to_string(i * 7919 % 100003)] = value;
  }
  entries[""] = {"", count + 1, 0};
  return entries;
}

// Flow files in /snap and a directory for runs.
struct Flows {
  io::FaultFileSystem fs;
  snapshot::Token token;
  std::atomic<uint64_t> next{1};
  BaseRunsRequest request;

  explicit Flows(const std::vector<Entries>& divided,
                 snapshot::Compression compression = snapshot::Compression::kNone) {
    CHECK_OK(fs.CreateDirectory("/snap"));
    CHECK_OK(fs.CreateDirectory("/runs"));
    token.cluster.bytes[0] = 7;
    token.compression = compression;
    token.meta.position = Position{{1, 0}, 100000, 4096, 9};
    for (uint32_t i = 0; i < divided.size(); ++i) token.flows.push_back({i, 0, 0, 0, 0});
    for (uint32_t i = 0; i < divided.size(); ++i) {
      snapshot::FlowWriter writer(snapshot::ExpectedHeader(token, i),
                                  std::make_unique<MapSource>(divided[i]));
      const auto flow =
          snapshot::WriteFlowFile(&fs, io::JoinPath("/snap", io::FlowName(i)), &writer, nullptr);
      CHECK_OK(flow);
      token.flows[i] = flow.value();
    }
    CHECK_OK(fs.SyncDirectory("/snap"));
    CHECK_OK(fs.SyncDirectory("/"));
    request.flows = "/snap";
    request.token = &token;
    request.runs.fs = &fs;
    request.runs.directory = "/runs";
    request.runs.cluster = token.cluster.bytes;
    request.shards = 3;
    request.next_number = [this] { return next.fetch_add(1); };
  }

  std::vector<std::string> Left() { return fs.List("/runs").value(); }
};

std::vector<Entries> Divide(const Entries& entries, uint32_t flows, bool rightly = true) {
  std::vector<Entries> divided(flows);
  uint32_t turn = 0;
  for (const auto& [key, value] : entries) {
    const uint32_t flow = rightly ? table::ShardOfHash(HashKey(key), flows) : turn++ % flows;
    divided[flow][key] = value;
  }
  return divided;
}

// Reads everything back, checks each run against what its info says.
Entries ReadRuns(Flows* flows, const std::vector<table::RunInfo>& infos) {
  Entries entries;
  table::ReadGate gate;
  table::BlockCache cache(&gate, 1 << 20);
  for (const table::RunInfo& info : infos) {
    const auto run = table::Run::Open(flows->request.runs, info, &cache);
    CHECK_OK(run);
    if (!run.ok()) return entries;
    const auto damage = run.value()->Verify();
    CHECK(damage.ok() && damage.value().empty());
    CHECK_EQ(info.level, kBaseLevel);
    const std::unique_ptr<table::CellStream> stream = table::Run::NewStream(run.value());
    table::Cell cell;
    while (stream->Next(&cell).value()) {
      CHECK_EQ(table::ShardOfHash(HashKey(cell.key), flows->request.shards), info.shard);
      const Value value{cell.value.ToString(), cell.seq, cell.expires_at_ms};
      CHECK(!cell.deleted && entries.emplace(cell.key.ToString(), value).second);
    }
  }
  return entries;
}

void CheckAll(Flows* flows, const Entries& entries, size_t runs_at_least) {
  const auto runs = WriteBaseRuns(flows->request);
  REQUIRE_OK(runs);
  CHECK_GE(runs.value().size(), runs_at_least);
  CHECK_EQ(flows->Left().size(), runs.value().size());
  CHECK(ReadRuns(flows, runs.value()) == entries);
  Manifest manifest;
  manifest.meta = flows->token.meta;
  manifest.next_run = flows->next.load();
  manifest.runs = runs.value();
  CHECK_OK(CheckRuns(manifest, flows->request.shards, "m"));
}

TEST("flows become runs of the deepest level, each entry once, in its shard") {
  const Entries entries = SampleEntries(700);
  for (const uint32_t count : {1u, 2u, 3u, 5u}) {
    for (const auto compression : {snapshot::Compression::kNone, snapshot::Compression::kLz4}) {
      Flows flows(Divide(entries, count), compression);
      CheckAll(&flows, entries, 3);
    }
  }
}

TEST("as many flows as shards that are divided in another way give the same") {
  const Entries entries = SampleEntries(300);
  Flows flows(Divide(entries, 3, false));
  CheckAll(&flows, entries, 3);
}

TEST("outputs are split by size without overlap") {
  const Entries entries = SampleEntries(900);
  for (const bool rightly : {true, false}) {
    Flows flows(Divide(entries, 3, rightly));
    flows.request.run_bytes = 8192;
    CheckAll(&flows, entries, 12);
  }
}

TEST("empty flows give no run") {
  Flows flows({{}, {}, {}});
  CheckAll(&flows, {}, 0);
  CHECK(flows.Left().empty());
}

TEST("flows that are not what the token says are refused by name, and no run stays") {
  const Entries entries = SampleEntries(200);
  const auto refused = [](Flows* flows, const std::string& file, const std::string& what) {
    const Status status = WriteBaseRuns(flows->request).status();
    std::string told;
    for (const Detail& detail : status.details()) {
      if (detail.name == "what") told = detail.text;
    }
    if (status.Is(Code::kCorrupt) && status.file() == file && told == what) {
      return flows->Left().empty();
    }
    check::Fail(__FILE__, __LINE__, "told is: " + status.ToString() + " " + told);
    return false;
  };
  for (const uint32_t count : {3u, 4u}) {
    Flows fewer(Divide(entries, count));
    fewer.token.flows[1].entries += 1;
    CHECK(refused(&fewer, "/snap/flow-00001", "token"));
    Flows longer(Divide(entries, count));
    longer.token.flows[2].bytes += 1;
    CHECK(refused(&longer, "/snap/flow-00002", "token"));
    Flows behind(Divide(entries, count));
    behind.token.meta.position.seq = 100;
    CHECK(!WriteBaseRuns(behind.request).ok());  // the flows' headers say another position
    CHECK(behind.Left().empty());
    std::vector<Entries> late = Divide(entries, count);
    late[0].begin()->second.seq = 100001;
    Flows later(late);
    CHECK(refused(&later, "/snap/flow-00000", "order"));
    Flows damaged(Divide(entries, count));
    damaged.fs.FlipBits("/snap/flow-00000", 300, 1);
    CHECK(WriteBaseRuns(damaged.request).status().Is(Code::kCorrupt));
    CHECK(damaged.Left().empty());
  }
  std::vector<Entries> twice = Divide(entries, 4);
  twice[3]["key7919"] = twice[0]["key7919"] = {"v", 1, 0};
  Flows doubled(twice);
  const Status status = WriteBaseRuns(doubled.request).status();
  CHECK(status.Is(Code::kCorrupt));
  CHECK(doubled.Left().empty());
}

TEST("a disk that fails at any operation is told, and no run stays") {
  const Entries entries = SampleEntries(150);
  uint64_t struck = 0;
  for (const uint32_t count : {3u, 2u}) {
    for (uint64_t n = 0; n < 300; ++n) {
      Flows flows(Divide(entries, count));
      flows.request.run_bytes = 8192;
      io::FaultRule rule;
      rule.first_operation = flows.fs.operations() + 1;
      rule.skip = n;
      rule.sys_errno = n % 2 == 0 ? ENOSPC : EIO;
      flows.fs.AddRule(rule);
      const Status status = WriteBaseRuns(flows.request).status();
      if (flows.fs.FaultsStruck() == 0) {
        CHECK_OK(status);
        break;
      }
      CHECK(status.Is(n % 2 == 0 ? Code::kNoSpace : Code::kIo));
      CHECK(flows.Left().empty());
      ++struck;
      if (check::Failed()) return;
    }
  }
  CHECK_GT(struck, 20u);
}

}  // namespace
}  // namespace gapless::engine::test
