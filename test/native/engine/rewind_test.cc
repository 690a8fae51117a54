// Rewinding a store that is open: what goes, what stays, who sees which state, and what is refused.
#include "failover.h"
#include "full_sync.h"

namespace gapless::engine::test {
namespace {

TEST("1-4: the old primary's puts, deletes and range delete are undone, saved, and nothing else") {
  Failover pair;
  REQUIRE_OK(pair.All());
  const std::string suffix = Failover::Records(&pair.old, pair.common.offset);
  const uint64_t before = pair.old.engine->progress().generation;
  const Result<Divergence> rewound = pair.old.engine->Rewind(pair.common, kNoLimit);
  REQUIRE_OK(rewound);
  const Divergence& lost = rewound.value();
  CHECK(lost.common == pair.common);
  CHECK(lost.to == pair.end);
  CHECK_EQ(lost.records, pair.suffix_records);
  CHECK_EQ(lost.operations, pair.operations);
  CHECK_EQ(lost.bytes, suffix.size());
  CHECK_EQ(lost.keys.size(), 9u);
  CHECK_EQ(lost.file, "1.0-" + std::to_string(pair.common.seq + 1) + "-" +
                          std::to_string(pair.end.seq) + ".log");
  const Result<LostContent> content = ReadLost(&pair.old.fs, lost.file);
  REQUIRE_OK(content);
  CHECK(content.value().whole && content.value().bytes == suffix);
  CHECK_EQ(content.value().header.operations, pair.operations);
  CHECK(content.value().header.reason == LostReason::kRewind);
  CHECK(pair.old.engine->progress().visible == pair.common);
  CHECK(pair.old.engine->progress().durable == pair.common);
  CHECK(pair.old.engine->progress().generation > before);
  CHECK(SameAsModel(pair.old.engine.get(), pair.common_model));
  CHECK(!pair.old.Get("lost0"));
  CHECK(pair.old.Get(KeyOf(0)) == pair.common_model[KeyOf(0)]);
  REQUIRE_OK(Failover::Follow(&pair.successor, &pair.old));
  CHECK(pair.Same());
  REQUIRE_OK(pair.old.engine->Checkpoint(kLong));
  REQUIRE_OK(pair.old.Reopen());
  CHECK(!pair.old.engine->recovery().rewound);
  CHECK(pair.Same());
}

TEST("views and reads that run stay on the state that is undone, later reads see the new one") {
  Failover pair;
  REQUIRE_OK(pair.All());
  const ViewInfo view = pair.old.engine->OpenView();
  const std::unique_ptr<ReadScope> reading = pair.old.engine->Read();
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, kNoLimit));
  CHECK(ViewValue(pair.old.engine.get(), view.id, "lost0") == std::string(3000, 'x'));
  CHECK(!ViewValue(pair.old.engine.get(), view.id, KeyOf(0)));
  CHECK(reading->position() == pair.end);
  table::Entry entry;
  const Result<bool> found = reading->store().Get("lost1", reading->at(), &entry);
  CHECK(found.ok() && found.value());
  CHECK(!pair.old.Get("lost0"));
  // The files belong to the live generation: they stay when the last view of the old one ends.
  pair.old.engine->ReleaseView(view.id);
  REQUIRE_OK(Failover::Follow(&pair.successor, &pair.old));
  CHECK(pair.Same());
  REQUIRE_OK(pair.old.Reopen());
  CHECK(pair.Same());
}

TEST("1-2: histories with the same head sequence are told apart and the suffix is undone") {
  Failover pair;
  REQUIRE_OK(pair.Begin());
  REQUIRE_OK(pair.Lose(Ops().Put("k", "222").Put("k2", "222"), 2));
  REQUIRE_OK(pair.successor.engine->Promote(0));
  REQUIRE_OK(pair.successor.Sync1(Ops().Put("k", "111")));
  REQUIRE_OK(pair.old.engine->Demote());
  CHECK_EQ(pair.successor.engine->progress().visible.seq, pair.end.seq);
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, kNoLimit));
  REQUIRE_OK(Failover::Follow(&pair.successor, &pair.old));
  CHECK(pair.old.Get("k") == "111");
  CHECK(!pair.old.Get("k2"));
  CHECK(pair.Same());
}

TEST("a suffix of control records only is undone without a file in lost/") {
  Failover pair;
  REQUIRE_OK(pair.Begin());
  REQUIRE_OK(pair.old.engine->Promote(2));
  REQUIRE_OK(pair.successor.engine->Promote(3));
  REQUIRE_OK(pair.successor.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(pair.old.engine->Demote());
  const Result<Divergence> rewound = pair.old.engine->Rewind(pair.common, 0);
  REQUIRE_OK(rewound);
  CHECK_EQ(rewound.value().operations, 0u);
  CHECK_EQ(rewound.value().records, 1u);
  CHECK_EQ(rewound.value().file, "");
  CHECK(!pair.old.fs.Exists("/db/lost").value());
  // What this node has seen of terms, and begun, it remembers.
  CHECK_EQ(pair.old.engine->highest_term(), 2u);
  REQUIRE_OK(Failover::Follow(&pair.successor, &pair.old));
  CHECK(pair.Same());
}

TEST("the end of the history is no rewind: nothing is changed") {
  Failover pair;
  REQUIRE_OK(pair.All());
  const uint64_t generation = pair.old.engine->progress().generation;
  const Result<Divergence> rewound = pair.old.engine->Rewind(pair.end, kNoLimit);
  REQUIRE_OK(rewound);
  CHECK_EQ(rewound.value().records, 0u);
  CHECK_EQ(pair.old.engine->progress().generation, generation);
  CHECK(SameAsModel(pair.old.engine.get(), pair.old_model));
}

// What is refused leaves the store as it was, and it goes on: follows, flushes, merges.
void CheckRefused(Failover* pair, const Position& common, uint64_t lost_max, Code code,
                  const std::string& reason) {
  const Status refused = pair->old.engine->Rewind(common, lost_max).status();
  CHECK(refused.Is(code));
  CHECK_EQ(DetailOf(refused, "reason"), reason);
  CHECK(pair->old.engine->progress().visible == pair->end);
  CHECK(SameAsModel(pair->old.engine.get(), pair->old_model));
  CHECK(pair->old.engine->progress().acknowledging);
}

TEST("1-8: without a kept checkpoint at or below the common position a rewind is refused") {
  Failover pair;
  REQUIRE_OK(pair.All());
  // A history that goes back further than anything that is kept.
  const Position below{Epoch{1, 0}, 1, 120, 1};
  CheckRefused(&pair, below, kNoLimit, Code::kPositionUnavailable, "undo_unavailable");
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, kNoLimit));
}

TEST("a common position with another chain is refused: chain_mismatch") {
  Failover pair;
  REQUIRE_OK(pair.All());
  Position other = pair.common;
  other.chain ^= 1;
  CheckRefused(&pair, other, kNoLimit, Code::kPositionNotInHistory, "chain_mismatch");
  other = pair.common;
  other.offset += 8;
  CheckRefused(&pair, other, kNoLimit, Code::kPositionNotInHistory, "chain_mismatch");
}

TEST("lostMaxBytes: a full lost/ needs an operator, and nothing is lost") {
  Failover pair;
  REQUIRE_OK(pair.All());
  const uint64_t bytes = pair.end.offset - pair.common.offset;
  CheckRefused(&pair, pair.common, bytes - 1, Code::kNeedsOperator, "lost_full");
  // Upkeep goes on behind a refusal.
  REQUIRE_OK(pair.old.engine->Compact(std::nullopt));
  CHECK(SameAsModel(pair.old.engine.get(), pair.old_model));
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, bytes));
  CHECK(SameAsModel(pair.old.engine.get(), pair.common_model));
}

TEST("a disk without room for lost/ refuses the rewind, and the intent is taken back") {
  Failover pair;
  REQUIRE_OK(pair.All());
  io::FaultRule full;
  full.kinds = static_cast<uint32_t>(io::OperationKind::kWrite);
  full.path_contains = "/lost/";
  full.times = io::kForever;
  full.sys_errno = 28;
  pair.old.fs.AddRule(full);
  const Status refused = pair.old.engine->Rewind(pair.common, kNoLimit).status();
  CHECK(refused.Is(Code::kNoSpace));
  CHECK_GT(pair.old.fs.FaultsStruck(), 0u);
  pair.old.fs.ClearRules();
  CHECK(SameAsModel(pair.old.engine.get(), pair.old_model));
  {
    // As a crash would find it.
    const std::unique_ptr<io::FaultFileSystem> disk = pair.old.fs.ImageAllKept();
    Options options = pair.old.options;
    options.fs = disk.get();
    Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", options);
    REQUIRE_OK(opened);
    CHECK(!opened.value()->recovery().rewound);
    CHECK(SameAsModel(opened.value().get(), pair.old_model));
    REQUIRE_OK(opened.value()->Release());
  }
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, kNoLimit));
  CHECK(SameAsModel(pair.old.engine.get(), pair.common_model));
}

TEST("a disk that fails in the middle of a rewind poisons the store; the next open goes on") {
  for (const char* path : {"MANIFEST", "/log/"}) {
    Failover pair;
    REQUIRE_OK(pair.All());
    io::FaultRule broken;
    broken.kinds = io::kMutatingOperations;
    broken.path_contains = path;
    broken.times = io::kForever;
    const auto strike = [&](const io::Operation& operation) {
      if (operation.path.find("/lost") != std::string::npos) pair.old.fs.AddRule(broken);
    };
    pair.old.fs.SetObserver(strike);
    const Status failed = pair.old.engine->Rewind(pair.common, kNoLimit).status();
    pair.old.fs.SetObserver(nullptr);
    CHECK(failed.Is(Code::kPoisoned));
    CHECK(!pair.old.engine->progress().acknowledging);
    CHECK(SameAsModel(pair.old.engine.get(), pair.old_model));
    pair.old.fs.ClearRules();
    (void)pair.old.Close();
    REQUIRE_OK(pair.old.Open());
    REQUIRE(pair.old.engine->recovery().rewound.has_value());
    CHECK_EQ(pair.old.engine->recovery().rewound->operations, pair.operations);
    CHECK(pair.old.engine->progress().visible == pair.common);
    CHECK(SameAsModel(pair.old.engine.get(), pair.common_model));
    REQUIRE_OK(Failover::Follow(&pair.successor, &pair.old));
    CHECK(pair.Same());
  }
}

TEST("only a replica is rewound, not while a full sync is under way, and no promotion meanwhile") {
  Failover pair;
  REQUIRE_OK(pair.Begin());
  REQUIRE_OK(pair.Diverge());
  CHECK(pair.old.engine->Rewind(pair.common, kNoLimit).status().Is(Code::kAlreadyPrimary));
  REQUIRE_OK(pair.TakeOver());
  {
    const Result<std::unique_ptr<GenerationBuilder>> builder = pair.old.engine->NewGeneration();
    REQUIRE_OK(builder);
    CHECK(pair.old.engine->Rewind(pair.common, kNoLimit).status().Is(Code::kConflict));
  }
  std::vector<Code> codes;
  const auto watch = [&](const io::Operation& operation) {
    if (operation.path.find("/lost") == std::string::npos || !codes.empty()) return;
    codes.push_back(pair.old.engine->Promote(0).status().code());
    codes.push_back(pair.old.engine->AppendReplicated("x").status().code());
    codes.push_back(pair.old.engine->Checkpoint(kLong).code());
    codes.push_back(pair.old.engine->PositionAt(pair.end.offset).status().code());
  };
  pair.old.fs.SetObserver(watch);
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, kNoLimit));
  pair.old.fs.SetObserver(nullptr);
  const std::vector<Code> wanted{Code::kNotReady, Code::kNotReady, Code::kNotReady, Code::kOk};
  CHECK(codes == wanted);
  CHECK(pair.old.engine->Promote(0).ok());
}

TEST("nobody reads the log while it is cut, and snapshots of what is undone go") {
  Failover pair;
  REQUIRE_OK(pair.All());
  const Result<PinInfo> pin = pair.old.engine->Pin("of the suffix");
  REQUIRE_OK(pin);
  std::vector<Code> codes;
  const auto watch = [&](const io::Operation& operation) {
    if (operation.kind != io::OperationKind::kTruncate || !codes.empty()) return;
    codes.push_back(pair.old.engine->PositionAt(pair.common.offset).status().code());
    codes.push_back(pair.old.engine->ReadLog(pair.common.offset, 1 << 20).status().code());
  };
  pair.old.fs.SetObserver(watch);
  REQUIRE_OK(pair.old.engine->Rewind(pair.common, kNoLimit));
  pair.old.fs.SetObserver(nullptr);
  CHECK(codes == std::vector<Code>(2, Code::kNotReady));
  CHECK_OK(pair.old.engine->PositionAt(pair.common.offset));
  CHECK_EQ(DetailOf(pair.old.engine->CheckPin(pin.value().id), "reason"), "hold_expired");
}

TEST(
    "what a full sync is going to replace can be saved before, with and without a common "
    "position") {
  Failover pair;
  REQUIRE_OK(pair.All());
  const std::string suffix = Failover::Records(&pair.old, pair.common.offset);
  CHECK(pair.old.engine->SaveSuffix(pair.common, 10).status().Is(Code::kNeedsOperator));
  const Result<Divergence> saved = pair.old.engine->SaveSuffix(pair.common, kNoLimit);
  REQUIRE_OK(saved);
  const Result<LostContent> content = ReadLost(&pair.old.fs, saved.value().file);
  REQUIRE_OK(content);
  CHECK(content.value().bytes == suffix);
  CHECK(content.value().header.reason == LostReason::kFull);
  // Once more: the file is there.
  CHECK_EQ(pair.old.engine->SaveSuffix(pair.common, kNoLimit).value().file, saved.value().file);
  const uint64_t floor = pair.old.engine->log_stats().floor;
  const Result<Divergence> all = pair.old.engine->SaveSuffix(std::nullopt, kNoLimit);
  REQUIRE_OK(all);
  CHECK_EQ(all.value().common.offset, floor);
  CHECK_EQ(all.value().bytes, pair.end.offset - floor);
  CHECK(SameAsModel(pair.old.engine.get(), pair.old_model));
}

}  // namespace
}  // namespace gapless::engine::test
