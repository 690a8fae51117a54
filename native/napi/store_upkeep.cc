// NativeStore: flushing, merging and compaction, and what the store says of its space.
#include <optional>

#include "napi/convert.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

// A job must end by itself: an environment that is torn down waits for it.
constexpr uint64_t kCompactWaitMs = 250;
constexpr uint64_t kCheckpointWaitMs = 30000;

napi_value MakeLevels(napi_env env, const std::vector<engine::LevelReport>& levels) {
  const napi_value array = MakeArray(env);
  for (const engine::LevelReport& level : levels) {
    ObjectBuilder object(env);
    Push(env, array, object.Count("runs", level.runs).Count("bytes", level.bytes).Done());
  }
  return array;
}

napi_value MakeCache(napi_env env, const table::CacheStats& cache) {
  ObjectBuilder object(env);
  object.Count("capacityBytes", cache.capacity_bytes).Count("usedBytes", cache.used_bytes);
  object.Count("hits", cache.hits).Count("misses", cache.misses);
  return object.Count("evictions", cache.evictions).Done();
}

napi_value MakeUpkeep(napi_env env, const engine::UpkeepReport& upkeep) {
  ObjectBuilder object(env);
  object.Count("flushes", upkeep.flushes).Count("flushReadBytes", upkeep.flush_read_bytes);
  object.Count("flushWrittenBytes", upkeep.flush_written_bytes);
  object.Count("merges", upkeep.merges).Count("moves", upkeep.moves);
  object.Count("mergeReadBytes", upkeep.merge_read_bytes);
  object.Count("mergeWrittenBytes", upkeep.merge_written_bytes);
  object.Count("failures", upkeep.failures).Count("damagedRuns", upkeep.damaged_runs);
  const Status& error = upkeep.last_error;
  return object.Set("lastError", error.ok() ? MakeNull(env) : MakeError(env, error)).Done();
}

napi_value StoreReport(StoreHandle& store, const Args& args) {
  const engine::StoreReport report = store.engine()->store_report();
  const napi_env env = args.env;
  ObjectBuilder object(env);
  object.Set("levels", MakeLevels(env, report.levels));
  object.Count("runBytes", report.run_bytes).Count("runMemoryBytes", report.run_memory_bytes);
  object.Count("liveBytesEstimate", report.live_bytes_estimate);
  object.Count("mergeDebtBytes", report.merge_debt_bytes);
  object.Count("memtableBytes", report.store.memtable_bytes);
  object.Count("memtableLimitBytes", report.memtable_limit_bytes);
  object.Count("keysEstimate", report.store.keys_estimate);
  object.Count("openViews", report.store.open_views);
  object.Set("cache", MakeCache(env, report.store.cache));
  object.Set("upkeep", MakeUpkeep(env, report.upkeep));
  object.Count("userBytes", report.user_bytes).Count("stalls", report.stalls);
  object.Count("stallUs", report.stall_us);
  object.Set("oldestViewAgeMs", report.oldest_view_age_ms.has_value()
                                    ? MakeCount(env, *report.oldest_view_age_ms)
                                    : MakeNull(env));
  return object.Set("checkpoint", MakePosition(env, report.checkpoint)).Done();
}

// compactStart(lower | null, upper | null)
napi_value CompactStart(StoreHandle& store, const Args& args) {
  table::Extent extent;
  Slice bound;
  if (!IsNullish(args.env, args[0])) {
    if (!ReadBytes(args.env, args[0], "the lower bound", &bound)) return nullptr;
    extent.lower = bound.ToString();
  }
  extent.unbounded = IsNullish(args.env, args[1]);
  if (!extent.unbounded) {
    if (!ReadBytes(args.env, args[1], "the upper bound", &bound)) return nullptr;
    extent.upper = bound.ToString();
  }
  const Result<uint64_t> started = store.engine()->StartCompact(extent);
  if (!started.ok()) return Throw(args.env, started.status());
  store.compactions.insert(started.value());
  return MakeBig(args.env, started.value());
}

napi_value CompactWait(StoreHandle& store, const Args& args) {
  using Ended = std::optional<engine::CompactReport>;
  uint64_t compaction = 0;
  if (!ReadBig(args.env, args[0], "the compaction", &compaction)) return nullptr;
  return StartStoreJob<Ended>(
      store, args.env, "gaplessdb compact",
      [compaction](engine::Engine* engine, Ended* ended) {
        Result<Ended> waited = engine->AwaitCompact(compaction, kCompactWaitMs);
        if (waited.ok()) *ended = waited.value();
        return waited.status();
      },
      [](napi_env env, const Ended& ended) {
        if (!ended.has_value()) return MakeNull(env);
        ObjectBuilder object(env);
        object.Count("bytesBefore", ended->bytes_before);
        return object.Count("bytesAfter", ended->bytes_after).Done();
      });
}

napi_value CompactCancel(StoreHandle& store, const Args& args) {
  uint64_t compaction = 0;
  if (!ReadBig(args.env, args[0], "the compaction", &compaction)) return nullptr;
  if (store.compactions.erase(compaction) != 0) store.engine()->CancelCompact(compaction);
  return nullptr;
}

napi_value Checkpoint(StoreHandle& store, const Args& args) {
  return StartStoreJob<Nothing>(
      store, args.env, "gaplessdb checkpoint",
      [](engine::Engine* engine, Nothing*) { return engine->Checkpoint(kCheckpointWaitMs); },
      AnswerNothing);
}

}  // namespace

void AddUpkeepMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("storeReport", OnStore<StoreReport>));
  methods->push_back(Method("compactStart", OnStore<CompactStart>));
  methods->push_back(Method("compactWait", OnStore<CompactWait>));
  methods->push_back(Method("compactCancel", OnStore<CompactCancel>));
  methods->push_back(Method("checkpoint", OnStore<Checkpoint>));
}

}  // namespace gapless::napi
