// Reads, views, pins and holds.
#include "engine_fixture.h"

namespace gapless::engine::test {
namespace {

bool Eventually(const std::function<bool()>& holds) {
  Mutex mutex;
  CondVar pause;
  const MutexLock lock(&mutex);
  for (int i = 0; i < 3000; ++i) {
    if (holds()) return true;
    pause.WaitFor(&mutex, 2000);
  }
  return false;
}

TEST("a view stays at its position while writes go on") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1").Put("b", "1")));
  const ViewInfo view = bench.engine->OpenView();
  CHECK(view.position == bench.engine->progress().visible);
  for (int i = 0; i < 200; ++i) {
    REQUIRE_OK(bench.Commit1(Ops().Put("a", std::to_string(i)).Del("b").Put("c", "1")));
  }
  CHECK(ViewValue(bench.engine.get(), view.id, "a") == "1");
  CHECK(ViewValue(bench.engine.get(), view.id, "b") == "1");
  CHECK(!ViewValue(bench.engine.get(), view.id, "c").has_value());
  Result<std::unique_ptr<ReadScope>> scope = bench.engine->ReadView(view.id);
  REQUIRE_OK(scope);
  CHECK(scope.value()->position() == view.position);
  bench.engine->ReleaseView(view.id);
  // A scope that was taken before keeps what it reads.
  table::Entry entry;
  CHECK(scope.value()->store().Get("a", scope.value()->at(), &entry).value());
  CHECK(entry.value == Slice("1"));
  CHECK(bench.engine->ReadView(view.id).status().Is(Code::kViewExpired));
}

TEST("a view expires by age, whether it is asked for or not") {
  Bench bench;
  bench.options.view_max_age_ms = 1000;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  const ViewInfo view = bench.engine->OpenView();
  (void)bench.engine->OpenView();
  bench.clock.AdvanceMs(999);
  CHECK_OK(bench.engine->ReadView(view.id));
  bench.clock.AdvanceMs(1);
  CHECK(bench.engine->ReadView(view.id).status().Is(Code::kViewExpired));
  CHECK(Eventually([&] { return bench.engine->store_stats().open_views == 0; }));
}

DigestSum DigestOfPin(Engine* engine, const PinInfo& pin) {
  DigestSum sum;
  for (uint32_t flow = 0; flow < pin.shards; ++flow) {
    Result<std::unique_ptr<snapshot::EntrySource>> source = engine->PinnedShard(pin.id, flow);
    if (!source.ok()) return DigestSum{};
    table::Entry entry;
    Status error;
    std::string last;
    bool first = true;
    while (source.value()->Next(&entry, &error)) {
      CHECK(first || Slice(last) < entry.key);
      first = false;
      last = entry.key.ToString();
      sum.Add(DigestEntry(entry.key, entry.value));
    }
    CHECK_OK(error);
  }
  return sum;
}

TEST(
    "a pin gives the state, the meta state and a hold of one position, whatever is written "
    "behind") {
  Bench bench;
  bench.options.log_retain_bytes = 0;
  REQUIRE_OK(bench.Open());
  Model model;
  for (int i = 0; i < 1500; ++i) {
    const std::string key = "key" + std::to_string(i * 7919 % 1500);
    REQUIRE_OK(bench.Commit1(Ops().Put(key, std::to_string(i))));
    model[key] = std::to_string(i);
  }
  model[""] = "";
  REQUIRE_OK(bench.Commit1(Ops().Put("", "")));
  const Result<PinInfo> pin = bench.engine->Pin("backup");
  REQUIRE_OK(pin);
  CHECK(pin.value().meta.position == bench.engine->progress().visible);
  CHECK_EQ(pin.value().meta.epochs.size(), 1u);
  CHECK_EQ(pin.value().shards, 2u);
  CHECK(pin.value().cluster == bench.engine->identity().cluster);
  REQUIRE_OK(bench.Commit1(Ops().DelFrom("").Put("new", "1")));
  CHECK(SameDigest(DigestOfPin(bench.engine.get(), pin.value()), DigestOfModel(model)));
  bool held = false;
  for (const log::HoldInfo& hold : bench.engine->log_stats().holds) {
    held = held || (hold.name == "backup" && hold.kind == log::HoldKind::kSnapshot &&
                    hold.offset == pin.value().meta.position.offset);
  }
  CHECK(held);
  CHECK_OK(bench.engine->CheckPin(pin.value().id));
  bench.engine->ReleasePin(pin.value().id);
  CHECK(bench.engine->CheckPin(pin.value().id).Is(Code::kEvicted));
  CHECK(bench.engine->PinnedShard(pin.value().id, 0).status().Is(Code::kEvicted));
  CHECK_EQ(bench.engine->store_stats().open_views, 0u);
}

TEST("a pin ends with hold_expired when its time is over, and lets go of what it held") {
  Bench bench;
  bench.options.snapshot_hold_ms = 5000;
  bench.options.view_max_age_ms = 1000;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  const Result<PinInfo> pin = bench.engine->Pin("backup");
  REQUIRE_OK(pin);
  bench.clock.AdvanceMs(4999);
  // Its view lives as long as the pin, not as long as a view.
  CHECK(ViewValue(bench.engine.get(), pin.value().view, "a") == "1");
  CHECK_OK(bench.engine->CheckPin(pin.value().id));
  bench.clock.AdvanceMs(1);
  const Status expired = bench.engine->CheckPin(pin.value().id);
  CHECK(expired.Is(Code::kEvicted));
  CHECK_EQ(DetailOf(expired, "reason"), "hold_expired");
  CHECK(Eventually([&] { return bench.engine->store_stats().open_views == 0; }));
  CHECK(bench.engine->CheckPin(pin.value().id).Is(Code::kEvicted));
}

TEST("a view without a greatest age never expires") {
  Bench bench;
  bench.options.view_max_age_ms = 0;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("a", "1")));
  const ViewInfo view = bench.engine->OpenView();
  bench.clock.AdvanceMs(uint64_t{1} << 40);
  CHECK(ViewValue(bench.engine.get(), view.id, "a") == "1");
}

TEST("a pin that somebody goes on reading outlives the time that it waits for a joiner") {
  Bench bench;
  bench.options.snapshot_hold_ms = 5000;
  REQUIRE_OK(bench.Open());
  for (int i = 0; i < 4000; ++i) {
    REQUIRE_OK(bench.Commit1(Ops().Put("key" + std::to_string(i), "value")));
  }
  const Result<PinInfo> pin = bench.engine->Pin("sync");
  REQUIRE_OK(pin);
  Result<std::unique_ptr<snapshot::EntrySource>> source =
      bench.engine->PinnedShard(pin.value().id, 0);
  REQUIRE_OK(source);
  table::Entry entry;
  Status error;
  int entries = 0;
  while (source.value()->Next(&entry, &error)) {
    if (++entries % 200 == 0) bench.clock.AdvanceMs(2000);  // a chunk has 256 entries
  }
  CHECK_OK(error);
  CHECK(entries >= 600);  // more than the hold in all
  CHECK_OK(bench.engine->CheckPin(pin.value().id));
  bench.clock.AdvanceMs(5000);
  CHECK(bench.engine->CheckPin(pin.value().id).Is(Code::kEvicted));
}

TEST("the meta state of a pin is not touched by later control records") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const Result<Commit> put = bench.Commit1(Ops().Put("a", "1"));
  REQUIRE_OK(put);
  const log::MetaState before = bench.engine->meta();
  const std::string body = log::EncodeCursorBody({put.value().position, "c"});
  REQUIRE(bench.engine->SubmitControl(&bench.client, log::RecordKind::kCursor, body).state ==
          Submitted::State::kSequenced);
  CHECK_EQ(before.cursors.size(), 0u);
  CHECK_EQ(bench.engine->meta().cursors.size(), 1u);
}

TEST("the log is read up to the shipping end, whole records, and positions are found") {
  Bench bench;
  REQUIRE_OK(bench.Open());
  const Result<Commit> first = bench.Sync1(Ops().Put("a", "1"));
  REQUIRE_OK(first);
  REQUIRE_OK(bench.Sync1(Ops().Put("b", "1")));
  const Position end = bench.engine->shipping_end();
  CHECK(end == bench.engine->progress().visible);
  const Result<log::LogChunk> chunk = bench.engine->ReadLog(0, 1 << 20);
  REQUIRE_OK(chunk);
  CHECK(chunk.value().after == end);
  CHECK_EQ(chunk.value().bytes.size(), end.offset);
  CHECK(bench.engine->ReadLog(end.offset + 8, 100).status().Is(Code::kPositionUnavailable));
  CHECK(bench.engine->PositionAt(first.value().position.offset).value() == first.value().position);
  CHECK(bench.engine->PositionBeforeSeq(3).value() == first.value().position);
  const Result<log::HoldId> hold = bench.engine->AddHold(log::HoldKind::kReader, "reader", 0, 0);
  REQUIRE_OK(hold);
  CHECK_OK(bench.engine->MoveHold(hold.value(), end.offset));
  bench.engine->ReleaseHold(hold.value());
  CHECK(bench.engine->MoveHold(hold.value(), end.offset).Is(Code::kEvicted));
}

TEST("reads beside writers see whole batches only") {
  Bench bench;
  bench.options.durability = log::Durability::kMemory;
  REQUIRE_OK(bench.Open());
  REQUIRE_OK(bench.Commit1(Ops().Put("x", "0").Put("y", "0")));
  std::atomic<bool> stop{false};
  Thread writer;
  REQUIRE_OK(writer.Start("writer", [&] {
    for (int i = 1; !stop.load(); ++i) {
      const std::string value = std::to_string(i);
      const Ops ops = Ops().Put("x", value).Put("y", value);
      (void)bench.engine->Submit(nullptr, ops.Request(), true);
    }
  }));
  uint64_t torn = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::unique_ptr<ReadScope> scope = bench.engine->Read();
    table::Entry x;
    table::Entry y;
    const bool both = scope->store().Get("x", scope->at(), &x).value() &&
                      scope->store().Get("y", scope->at(), &y).value();
    if (!both || x.value != y.value || y.seq > scope->position().seq) ++torn;
  }
  stop = true;
  writer.Join();
  CHECK_EQ(torn, 0u);
}

}  // namespace
}  // namespace gapless::engine::test
