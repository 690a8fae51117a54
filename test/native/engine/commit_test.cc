// The commit path: what a batch does, what refuses it, in which order things happen.
#include <algorithm>

#include "base/thread.h"
#include "engine_fixture.h"

namespace gapless::engine::test {
namespace {

TEST("the first record of a new store is epoch 1.0 and the first put has sequence 2") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  CHECK(bench.engine->progress().visible.IsEmpty());
  const Result<Commit> commit = bench.Sync1(Ops().Put("a", "1"));
  REQUIRE_OK(commit);
  CHECK_EQ(commit.value().first_seq, 2u);
  CHECK_EQ(commit.value().position.seq, 2u);
  CHECK(commit.value().position.epoch == (Epoch{1, 0}));
  const log::MetaState meta = bench.engine->meta();
  REQUIRE_EQ(meta.epochs.size(), 1u);
  CHECK(meta.epochs[0].before.IsEmpty());
  CHECK_EQ(meta.epochs[0].cause, 1);
  CHECK(bench.Get("a") == "1");
  CHECK_OK(bench.Close());
}

TEST(
    "what was committed is there after a reopen, with its sequence, and each open that writes "
    "begins a run") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1").Put("b", "2")));
  REQUIRE_OK(bench.Sync1(Ops().Del("a").Put("c", "3")));
  const Position before = bench.engine->progress().visible;
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.engine->progress().visible == before);
  CHECK(!bench.Get("a").has_value());
  CHECK(bench.Get("b") == "2");
  CHECK_EQ(SeqOf(bench.engine.get(), "b"), 3u);
  CHECK_EQ(bench.engine->counters().replayed_records, 3u);
  REQUIRE_OK(bench.Sync1(Ops().Put("d", "4")));
  CHECK(bench.engine->own_epoch() == (Epoch{1, 1}));
  CHECK_EQ(SeqOf(bench.engine.get(), "d"), before.seq + 2);
  CHECK(bench.engine->EpochOf(before.seq) == (Epoch{1, 0}));
  CHECK(bench.engine->EpochOf(before.seq + 2) == (Epoch{1, 1}));
}

TEST("opening, reading and closing write nothing") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  REQUIRE_OK(bench.Close());
  REQUIRE_OK(bench.Open());
  const Position before = bench.engine->progress().visible;
  CHECK(bench.Get("a") == "1");
  const std::string state = bench.fs.ReadRaw("/db/STATE");
  CHECK(bench.engine->progress().visible == before);
  CHECK(bench.engine->own_epoch() == (Epoch{1, 0}));
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.engine->progress().visible == before);
  CHECK_EQ(bench.engine->meta().epochs.size(), 1u);
}

TEST("a batch takes effect in order and a range deletion covers earlier puts only") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("k1", "old").Put("k2", "old")));
  REQUIRE_OK(bench.Commit1(Ops().Put("k3", "x").DelRange("k", "l").Put("k2", "new")));
  CHECK(!bench.Get("k1").has_value());
  CHECK(bench.Get("k2") == "new");
  CHECK(!bench.Get("k3").has_value());
  REQUIRE_OK(bench.Commit1(Ops().Put("z", "1").DelFrom("k2")));
  CHECK(!bench.Get("k2").has_value());
  CHECK(!bench.Get("z").has_value());
}

TEST("a batch without operations writes no record and resolves with the visible position") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const Result<Commit> first = bench.Commit1(Ops());
  REQUIRE_OK(first);
  CHECK(first.value().position.IsEmpty());
  const Result<Commit> put = bench.Commit1(Ops().Put("a", "1"));
  REQUIRE_OK(put);
  const Result<Commit> empty = bench.Commit1(Ops());
  REQUIRE_OK(empty);
  CHECK(empty.value().position == put.value().position);
  CHECK_EQ(bench.engine->counters().committed_records, 2u);
  CHECK_EQ(bench.engine->counters().committed_operations, 1u);
}

TEST("increments see each other, the batch's puts and its deletions, in order") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("n", "10")));
  const Result<Commit> commit = bench.Commit1(Ops()
                                                  .Increment("n", 5)
                                                  .Increment("n", -20)
                                                  .Put("m", "7")
                                                  .Increment("m", 1)
                                                  .Del("m")
                                                  .Increment("m", 2)
                                                  .DelRange("a", "z")
                                                  .Increment("n", 3)
                                                  .Increment("fresh", 4));
  REQUIRE_OK(commit);
  CHECK(commit.value().results == (std::vector<int64_t>{15, -5, 8, 2, 3, 4}));
  CHECK(bench.Get("n") == "3");
  CHECK(!bench.Get("m").has_value());
  CHECK(bench.Get("fresh") == "4");
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.Get("n") == "3");
  const Result<Commit> more = bench.Commit1(Ops().Increment("n", INT64_MIN));
  REQUIRE_OK(more);
  CHECK(bench.Get("n") == "-9223372036854775805");
}

TEST("a counter that is none, or would overflow, refuses the whole batch") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("text", "7x").Put("max", "9223372036854775807")));
  const Position before = bench.engine->progress().visible;
  const Result<Commit> text = bench.Commit1(Ops().Put("a", "1").Increment("text", 1));
  CHECK(text.status().Is(Code::kNotACounter));
  CHECK_EQ(DetailOf(text.status(), "key"), "text");
  const Result<Commit> max = bench.Commit1(Ops().Put("a", "1").Increment("max", 1));
  CHECK(max.status().Is(Code::kCounterOverflow));
  CHECK(!bench.Get("a").has_value());
  CHECK(bench.engine->progress().visible == before);
  for (const char* odd : {"", "-", "+1", "01", "-0", " 1", "9223372036854775808", "1e3"}) {
    int64_t value = 0;
    CHECK(!ParseCounter(odd, &value));
  }
  int64_t least = 0;
  CHECK(ParseCounter("-9223372036854775808", &least));
  CHECK_EQ(least, INT64_MIN);
}

TEST("a check passes only for exactly the version that wrote the key last") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  const uint64_t seq = SeqOf(bench.engine.get(), "a");
  CHECK_OK(bench.Commit1(Ops().Check("a", {1, 0}, seq).CheckAbsent("b").Put("a", "2")));
  const Position before = bench.engine->progress().visible;
  const Result<Commit> stale = bench.Commit1(Ops().Check("a", {1, 0}, seq).Put("a", "3"));
  REQUIRE(stale.status().Is(Code::kConflict));
  CHECK_EQ(DetailOf(stale.status(), "key"), "a");
  CHECK_EQ(DetailOf(stale.status(), "expected"), "1.0:" + std::to_string(seq));
  CHECK_EQ(DetailOf(stale.status(), "actual"),
           "1.0:" + std::to_string(SeqOf(bench.engine.get(), "a")));
  const Result<Commit> epoch =
      bench.Commit1(Ops().Check("a", {2, 0}, SeqOf(bench.engine.get(), "a")).Put("a", "3"));
  CHECK(epoch.status().Is(Code::kConflict));
  const Result<Commit> absent = bench.Commit1(Ops().CheckAbsent("a").Put("b", "3"));
  CHECK(absent.status().Is(Code::kConflict));
  CHECK_EQ(DetailOf(absent.status(), "expected"), "");
  const Result<Commit> gone = bench.Commit1(Ops().Check("x", {1, 0}, 2).Put("b", "3"));
  CHECK_EQ(DetailOf(gone.status(), "actual"), "");
  CHECK(bench.Get("a") == "2");
  CHECK(bench.engine->progress().visible == before);
  // Against the state before the batch, whatever the batch itself does.
  CHECK_OK(bench.Commit1(Ops().CheckAbsent("c").Put("c", "1")));
  CHECK(bench.Commit1(Ops().Check("a", {1, 0}, 999)).status().Is(Code::kConflict));
}

TEST("an expired key is absent for checks and increments by the history's clock") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const uint64_t now = bench.clock.WallMs();
  REQUIRE_OK(bench.Commit1(Ops().Put("n", "5", now + 1000)));
  bench.clock.AdvanceMs(2000);
  CHECK(!bench.Get("n").has_value());
  // The last record is older than the expiry: the position still says live.
  CHECK(bench.Commit1(Ops().CheckAbsent("n").Put("x", "1")).status().Is(Code::kConflict));
  REQUIRE_OK(bench.Commit1(Ops().Put("tick", "1")));
  CHECK_OK(bench.Commit1(Ops().CheckAbsent("n").Increment("n", 1)));
  CHECK(bench.Get("n") == "1");
}

TEST("limits of keys, values and batches are typed and nothing is written") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const std::string key(32 * 1024 + 1, 'k');
  CHECK(bench.Commit1(Ops().Put(key, "v")).status().Is(Code::kKeyTooLarge));
  CHECK(bench.Commit1(Ops().Increment(key, 1)).status().Is(Code::kKeyTooLarge));
  CHECK(bench.Commit1(Ops().CheckAbsent(key)).status().Is(Code::kKeyTooLarge));
  CHECK_OK(bench.Commit1(Ops().Put(key.substr(1), "v")));
  CHECK(bench.Commit1(Ops().Put("v", std::string((64 << 20) + 1, 'v')))
            .status()
            .Is(Code::kValueTooLarge));
  WriteRequest request;
  const std::string cut = Ops().Put("a", "1").body().substr(0, 9);
  request.body = cut;
  request.operations = 1;
  CHECK(bench.engine->Submit(&bench.client, request, true).status.Is(Code::kUsage));
  WriteRequest wrong = Ops().Put("a", "1").Request();
  const std::string body = Ops().Put("a", "1").body();
  wrong.body = body;
  wrong.operations = 2;
  CHECK(bench.engine->Submit(&bench.client, wrong, true).status.Is(Code::kUsage));
  CHECK_EQ(bench.engine->counters().committed_operations, 1u);
}

TEST("timestamps rise when the clock goes back, and across a reopen") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "1")));
  const uint64_t first = bench.engine->meta().clock;
  bench.clock.SetWallMs(1000);
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "2")));
  const uint64_t second = bench.engine->meta().clock;
  CHECK_EQ(second, first + 1);
  REQUIRE_OK(bench.Reopen());
  CHECK_EQ(bench.engine->meta().clock, second);
  REQUIRE_OK(bench.Sync1(Ops().Put("a", "3")));
  CHECK_EQ(bench.engine->meta().clock, second + 2);
}

TEST("a first write that cannot queue waits for the epoch and is sequenced") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const Ops ops = Ops().Put("a", "1");
  const Submitted submitted = bench.engine->Submit(&bench.client, ops.Request(), false);
  REQUIRE(submitted.state == Submitted::State::kSequenced);
  CHECK_EQ(submitted.commit.first_seq, 2u);
}

TEST("control records own a sequence, count as no operation and come back after a reopen") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const Result<Commit> put = bench.Sync1(Ops().Put("a", "1"));
  REQUIRE_OK(put);
  const std::string cursor =
      log::EncodeCursorBody(log::CursorBody{put.value().position, "indexer"});
  Submitted submitted =
      bench.engine->SubmitControl(&bench.client, log::RecordKind::kCursor, cursor);
  REQUIRE(submitted.state == Submitted::State::kSequenced);
  CHECK_EQ(submitted.commit.first_seq, 3u);
  log::CursorBody ahead{put.value().position, "indexer"};
  ahead.position.offset += 100000;
  CHECK(bench.engine
            ->SubmitControl(&bench.client, log::RecordKind::kCursor, log::EncodeCursorBody(ahead))
            .status.Is(Code::kCursorAheadOfLog));
  CHECK(bench.engine->SubmitControl(&bench.client, log::RecordKind::kEpoch, "")
            .status.Is(Code::kUsage));
  CHECK_EQ(bench.engine->counters().committed_operations, 1u);
  REQUIRE_OK(bench.Reopen());
  const log::MetaState meta = bench.engine->meta();
  REQUIRE_EQ(meta.cursors.size(), 1u);
  CHECK_EQ(meta.cursors[0].name, "indexer");
  CHECK(meta.cursors[0].position == put.value().position);
}

class RecordingSink final : public CommitSink {
 public:
  void OnAppend(uint64_t offset, Slice header, Slice body, const Position& after) override {
    contiguous = contiguous && offset == next &&
                 AlignUp8(header.size() + body.size()) == after.offset - offset;
    next = after.offset;
    ++appends;
  }
  void OnApplied(const Position& visible) override { applied = visible; }
  void OnShippingEnd(uint64_t shipping_end, uint64_t durable) override {
    order = order && shipping_end >= shipping && shipping_end <= next && durable <= next;
    shipping = shipping_end;
  }
  void OnHistoryReset(uint64_t offset) override { next = offset; }

  uint64_t next = 0;
  uint64_t appends = 0;
  uint64_t shipping = 0;
  bool contiguous = true;
  bool order = true;
  Position applied;
};

TEST("the sink gets every record in commit order and never a shipping end beyond them") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  RecordingSink sink;
  bench.engine->SetSink(&sink);
  for (int i = 0; i < 50; ++i) REQUIRE_OK(bench.Commit1(Ops().Put("k", std::to_string(i))));
  REQUIRE_OK(bench.Sync1(Ops().Put("k", "last")));
  const Position visible = bench.engine->progress().visible;
  bench.engine->SetSink(nullptr);
  CHECK_EQ(sink.appends, 52u);
  CHECK(sink.contiguous);
  CHECK(sink.order);
  CHECK_EQ(sink.next, visible.offset);
  CHECK(sink.applied == visible);
  CHECK_EQ(bench.engine->shipping_end().offset, visible.offset);
}

TEST("threads that commit at once get consecutive positions, each its own in call order") {
  Bench bench;
  bench.options.durability = log::Durability::kOs;
  REQUIRE_OK(bench.Open());
  constexpr size_t kThreads = 4;
  constexpr size_t kCommits = 200;
  std::vector<std::vector<Position>> positions(kThreads);
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t t = 0; t < kThreads; ++t) {
    clients.push_back(std::make_unique<Client>());
    bench.engine->AddClient(clients.back().get());
  }
  for (size_t t = 0; t < kThreads; ++t) {
    threads.push_back(std::make_unique<Thread>());
    REQUIRE_OK(threads.back()->Start("committer", [&, t] {
      std::vector<uint64_t> tickets;
      for (size_t i = 0; i < kCommits; ++i) {
        const Ops ops = Ops().Put("t" + std::to_string(t), std::to_string(i)).Increment("sum", 1);
        const Submitted submitted = bench.engine->Submit(clients[t].get(), ops.Request(), true);
        if (submitted.state == Submitted::State::kQueued) {
          tickets.push_back(submitted.ticket);
        } else if (submitted.state == Submitted::State::kSequenced) {
          // Whatever was queued before it must have had its turn.
          for (const uint64_t ticket : tickets) {
            positions[t].push_back(clients[t]->Await(bench.engine.get(), ticket).commit.position);
          }
          tickets.clear();
          positions[t].push_back(submitted.commit.position);
        }
        (void)GetValue(bench.engine.get(), "sum");
      }
      for (const uint64_t ticket : tickets) {
        positions[t].push_back(clients[t]->Await(bench.engine.get(), ticket).commit.position);
      }
    }));
  }
  for (const auto& thread : threads) thread->Join();
  std::vector<Position> all;
  for (const auto& own : positions) {
    CHECK_EQ(own.size(), kCommits);
    CHECK(std::is_sorted(own.begin(), own.end(),
                         [](const Position& a, const Position& b) { return a.offset < b.offset; }));
    all.insert(all.end(), own.begin(), own.end());
  }
  std::sort(all.begin(), all.end(),
            [](const Position& a, const Position& b) { return a.seq < b.seq; });
  for (size_t i = 1; i < all.size(); ++i) CHECK_EQ(all[i].seq, all[i - 1].seq + 2);
  CHECK(bench.Get("sum") == std::to_string(kThreads * kCommits));
  for (size_t t = 0; t < kThreads; ++t) {
    CHECK(bench.Get("t" + std::to_string(t)) == std::to_string(kCommits - 1));
    bench.engine->RemoveClient(clients[t].get());
  }
  REQUIRE_OK(bench.Reopen());
  CHECK(bench.Get("sum") == std::to_string(kThreads * kCommits));
}

}  // namespace
}  // namespace gapless::engine::test
