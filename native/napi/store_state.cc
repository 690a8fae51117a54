// NativeStore: opening, closing, and what a store says about itself.
#include "napi/convert.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

constexpr size_t kProgressWords = 20;
constexpr uint64_t kAcknowledging = 1;
constexpr uint64_t kNoSpace = 2;
constexpr uint64_t kCompletions = 4;
constexpr uint64_t kFenced = 8;
constexpr uint64_t kPrimary = 16;
constexpr uint64_t kComplete = 32;
constexpr uint64_t kBelowFormerMark = 64;

// Option names and where they go; absent ones stay as they are.
class OptionReader {
 public:
  OptionReader(napi_env env, napi_value object) : env_(env), object_(object) {}
  bool ok() const { return ok_; }
  template <typename T>
  void Number(const char* name, T engine::Options::*field) {
    uint64_t number = 0;
    napi_value value = nullptr;
    if (!Take(name, &value)) return;
    ok_ = ReadCount(env_, value, name, &number);
    const T narrow = static_cast<T>(number);
    if (ok_ && narrow != number) ok_ = Refuse(env_, name);
    setters_.push_back([field, narrow](engine::Options* to) { to->*field = narrow; });
  }
  void Flag(const char* name, bool engine::Options::*field) {
    bool flag = false;
    napi_value value = nullptr;
    if (!Take(name, &value)) return;
    ok_ = ReadBool(env_, value, name, &flag);
    setters_.push_back([field, flag](engine::Options* to) { to->*field = flag; });
  }
  void Durability(const char* name) {
    uint32_t code = 0;
    napi_value value = nullptr;
    if (!Take(name, &value)) return;
    ok_ = ReadU32(env_, value, name, &code) && (code <= 2 || Refuse(env_, name));
    setters_.push_back(
        [code](engine::Options* to) { to->durability = static_cast<log::Durability>(code); });
  }
  void Compression(const char* name) {
    uint32_t code = 0;
    napi_value value = nullptr;
    if (!Take(name, &value)) return;
    ok_ = ReadU32(env_, value, name, &code) && (code <= 1 || Refuse(env_, name));
    setters_.push_back(
        [code](engine::Options* to) { to->compression = static_cast<table::Compression>(code); });
  }
  std::vector<std::function<void(engine::Options*)>> Done() { return std::move(setters_); }

 private:
  bool Take(const char* name, napi_value* value) {
    ok_ = ok_ && ReadProperty(env_, object_, name, value);
    return ok_ && !IsNullish(env_, *value);
  }

  napi_env env_;
  napi_value object_;
  bool ok_ = true;
  std::vector<std::function<void(engine::Options*)>> setters_;
};

bool ReadOptions(napi_env env, napi_value object,
                 std::vector<std::function<void(engine::Options*)>>* setters) {
  using Options = engine::Options;
  OptionReader reader(env, object);
  reader.Durability("durability");
  reader.Number("flushIntervalMs", &Options::flush_interval_ms);
  reader.Number("syncIntervalMs", &Options::sync_interval_ms);
  reader.Number("pendingBytes", &Options::pending_bytes);
  reader.Number("shards", &Options::shards);
  reader.Number("segmentBytes", &Options::segment_bytes);
  reader.Number("logRetainBytes", &Options::log_retain_bytes);
  reader.Number("viewMaxAgeMs", &Options::view_max_age_ms);
  reader.Number("holdMaxBytes", &Options::hold_max_bytes);
  reader.Number("snapshotHoldMs", &Options::snapshot_hold_ms);
  reader.Number("slotMaxBytes", &Options::slot_max_bytes);
  reader.Number("clockMaxAheadMs", &Options::clock_max_ahead_ms);
  reader.Number("memtableBytes", &Options::memtable_bytes);
  reader.Number("cacheBytes", &Options::cache_bytes);
  reader.Compression("compression");
  reader.Number("mergeRateBytes", &Options::merge_rate_bytes);
  reader.Flag("createIfMissing", &Options::create_if_missing);
  reader.Flag("errorIfExists", &Options::error_if_exists);
  reader.Flag("readOnly", &Options::read_only);
  reader.Flag("asReplica", &Options::as_replica);
  reader.Flag("newNodeId", &Options::new_node_id);
  *setters = reader.Done();
  return reader.ok();
}

// Holds the wake function while the engine opens.
class OpenJob : public Job {
 public:
  OpenJob(std::string path, std::vector<std::function<void(engine::Options*)>> setters,
          napi_ref wake)
      : path_(std::move(path)), setters_(std::move(setters)), wake_(wake) {}

  Status Run() override {
    Result<EngineRef> opened = EngineRef::Open(path_, [this](engine::Options* options) {
      for (const auto& set : setters_) set(options);
    });
    if (!opened.ok()) return opened.status();
    engine_ = std::move(opened.value());
    return Status::Ok();
  }
  napi_value Answer(napi_env env) override {
    napi_value wake = nullptr;
    if (napi_get_reference_value(env, wake_, &wake) != napi_ok) return nullptr;
    return StoreHandle::Create(env, std::move(engine_), wake);
  }
  void Ended(napi_env env) override { napi_delete_reference(env, wake_); }

 private:
  std::string path_;
  std::vector<std::function<void(engine::Options*)>> setters_;
  napi_ref wake_;
  EngineRef engine_;
};

napi_value Close(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  auto* const handle = AnyHandleOf(args);
  return handle == nullptr ? nullptr : (*handle)->Close();
}

napi_value Token(StoreHandle& store, const Args& args) {
  return MakeBig(args.env, store.ref().token());
}

napi_value SetPending(StoreHandle& store, const Args& args) {
  bool pending = false;
  if (args.Flag(0, &pending)) store.SetPending(pending);
  return nullptr;
}

napi_value Identity(StoreHandle& store, const Args& args) {
  const engine::Identity identity = store.engine()->identity();
  ObjectBuilder object(args.env);
  object.Set("clusterId", MakeId(args.env, identity.cluster.bytes));
  object.Set("nodeId", MakeId(args.env, identity.node.bytes));
  return object.Count("shards", identity.shards).Done();
}

napi_value State(StoreHandle& store, const Args& args) {
  engine::Engine* const engine = store.engine();
  const engine::Progress progress = engine->progress();
  ObjectBuilder object(args.env);
  object.Text("role", engine->role() == engine::Role::kPrimary ? "primary" : "replica");
  object.Bool("fenced", engine->fenced()).Bool("complete", engine->complete());
  object.Text("ownEpoch", ToText(engine->own_epoch()));
  object.Count("highestTerm", engine->highest_term()).Big("generation", progress.generation);
  object.Bool("acknowledging", progress.acknowledging).Bool("noSpace", progress.no_space);
  object.Count("durability", static_cast<uint64_t>(engine->options().durability));
  object.Set("stop", progress.stop_status.ok() ? MakeNull(args.env)
                                               : MakeError(args.env, progress.stop_status));
  return object.Done();
}

napi_value Recovery(StoreHandle& store, const Args& args) {
  return MakeRecovery(args.env, store.engine()->recovery());
}

napi_value Counters(StoreHandle& store, const Args& args) {
  const engine::Counters counters = store.engine()->counters();
  ObjectBuilder object(args.env);
  object.Count("committedRecords", counters.committed_records);
  object.Count("committedOperations", counters.committed_operations);
  object.Count("appliedRecords", counters.applied_records);
  object.Count("appliedOperations", counters.applied_operations);
  object.Count("droppedRecords", counters.dropped_records).Count("gaps", counters.gaps);
  return object.Count("replayedRecords", counters.replayed_records).Done();
}

napi_value LogStats(StoreHandle& store, const Args& args) {
  return MakeLogStats(args.env, store.engine()->log_stats());
}

napi_value StoreStats(StoreHandle& store, const Args& args) {
  const table::StoreStats stats = store.engine()->store_stats();
  ObjectBuilder object(args.env);
  object.Count("keysEstimate", stats.keys_estimate).Count("memtableBytes", stats.memtable_bytes);
  object.Count("rangeTombstones", stats.range_tombstones).Count("openViews", stats.open_views);
  return object.Count("arenaAllocations", stats.arena_allocations).Done();
}

napi_value Meta(StoreHandle& store, const Args& args) {
  return MakeMeta(args.env, store.engine()->meta());
}

napi_value ShippingEnd(StoreHandle& store, const Args& args) {
  return MakePosition(args.env, store.engine()->shipping_end());
}

napi_value Progress(StoreHandle& store, const Args& args) {
  uint64_t* out = nullptr;
  if (!args.Words(0, kProgressWords, &out)) return nullptr;
  engine::Engine* const engine = store.engine();
  const engine::Progress progress = engine->progress();
  EncodePosition(progress.visible, out);
  EncodePosition(progress.written, out + 4);
  EncodePosition(progress.durable, out + 8);
  EncodePosition(engine->shipping_end(), out + 12);
  for (engine::Completion& completion : engine->TakeCompletions(store.client())) {
    store.waiting.push_back(std::move(completion));
  }
  out[16] = (progress.acknowledging ? kAcknowledging : 0) | (progress.no_space ? kNoSpace : 0) |
            (store.waiting.empty() ? 0 : kCompletions) | (progress.fenced ? kFenced : 0) |
            (engine->role() == engine::Role::kPrimary ? kPrimary : 0) |
            (engine->complete() ? kComplete : 0) |
            (progress.below_former_mark ? kBelowFormerMark : 0);
  out[17] = progress.generation;
  const Epoch own = engine->own_epoch();
  out[18] = uint64_t{own.run} << 32 | own.term;
  out[19] = progress.stops;
  return nullptr;
}

}  // namespace

void AddStateMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("close", Close));
  napi_property_descriptor token = {};
  token.utf8name = "token";
  token.getter = OnStore<Token>;
  methods->push_back(token);
  methods->push_back(Method("setPending", OnStore<SetPending>));
  methods->push_back(Method("identity", OnStore<Identity>));
  methods->push_back(Method("state", OnStore<State>));
  methods->push_back(Method("recovery", OnStore<Recovery>));
  methods->push_back(Method("counters", OnStore<Counters>));
  methods->push_back(Method("logStats", OnStore<LogStats>));
  methods->push_back(Method("storeStats", OnStore<StoreStats>));
  methods->push_back(Method("meta", OnStore<Meta>));
  methods->push_back(Method("shippingEnd", OnStore<ShippingEnd>));
  methods->push_back(Method("progress", OnStore<Progress>));
}

napi_value OpenStore(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  std::vector<std::function<void(engine::Options*)>> setters;
  napi_ref wake = nullptr;
  if (!ReadText(env, args[0], "the path", &path)) return nullptr;
  if (!ReadOptions(env, args[1], &setters)) return nullptr;
  if (napi_create_reference(env, args[2], 1, &wake) != napi_ok) {
    Refuse(env, "wake");
    return nullptr;
  }
  return Job::Start(env, "gaplessdb open",
                    std::make_unique<OpenJob>(std::move(path), std::move(setters), wake));
}

napi_value AttachStore(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  uint64_t token = 0;
  if (!ReadBig(env, args[0], "the token", &token)) return nullptr;
  Result<EngineRef> engine = EngineRef::Attach(token);
  if (!engine.ok()) return Throw(env, engine.status());
  return StoreHandle::Create(env, std::move(engine.value()), args[1]);
}

}  // namespace gapless::napi
