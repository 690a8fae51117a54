// NativeStore: a replica's stream. NativeGeneration: a new generation built beside the live one.
#include "napi/convert.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

constexpr napi_type_tag kGenerationTag = {0x67617067656e6572, 0x1};

napi_value AdoptCluster(StoreHandle& store, const Args& args) {
  ClusterId cluster;
  if (!ReadId(args.env, args[0], "the cluster id", &cluster.bytes)) return nullptr;
  const Status adopted = store.engine()->AdoptCluster(cluster);
  return adopted.ok() ? nullptr : Throw(args.env, adopted);
}

napi_value AppendReplicated(StoreHandle& store, const Args& args) {
  Slice records;
  if (!ReadBytes(args.env, args[0], "the records", &records)) return nullptr;
  Result<engine::Engine::Received> received = store.engine()->AppendReplicated(records);
  if (!received.ok()) return Throw(args.env, received.status());
  const engine::Engine::Received& facts = received.value();
  ObjectBuilder object(args.env);
  object.Big("ticket", facts.ticket).Set("after", MakePosition(args.env, facts.after));
  object.Count("records", facts.records).Count("operations", facts.operations);
  return object.Count("bytes", facts.bytes).Done();
}

// applyTicketShard(ticket, shard)
napi_value ApplyTicketShard(StoreHandle& store, const Args& args) {
  uint64_t ticket = 0;
  uint32_t shard = 0;
  if (!ReadBig(args.env, args[0], "the ticket", &ticket) || !args.Uint(1, &shard)) return nullptr;
  if (shard >= store.engine()->identity().shards) {
    Refuse(args.env, "the shard");
    return nullptr;
  }
  store.engine()->ApplyTicketShard(ticket, shard);
  return nullptr;
}

napi_value ApplyTicket(StoreHandle& store, const Args& args) {
  uint64_t ticket = 0;
  if (ReadBig(args.env, args[0], "the ticket", &ticket)) store.engine()->ApplyTicket(ticket);
  return nullptr;
}

napi_value PublishTicket(StoreHandle& store, const Args& args) {
  uint64_t ticket = 0;
  if (!ReadBig(args.env, args[0], "the ticket", &ticket)) return nullptr;
  const Status published = store.engine()->PublishTicket(ticket);
  return published.ok() ? nullptr : Throw(args.env, published);
}

napi_value FinishTickets(StoreHandle& store, const Args& args) {
  return StartStoreJob<Nothing>(
      store, args.env, "gaplessdb tickets",
      [](engine::Engine* engine, Nothing*) { return engine->FinishTickets(); }, AnswerNothing);
}

// rewind(common, lostMaxBytes)
napi_value Rewind(StoreHandle& store, const Args& args) {
  Position common;
  uint64_t lost_max = 0;
  if (!ReadPosition(args.env, args[0], "the common position", &common) ||
      !ReadBig(args.env, args[1], "lostMaxBytes", &lost_max)) {
    return nullptr;
  }
  return StartStoreJob<engine::Divergence>(
      store, args.env, "gaplessdb rewind",
      [common, lost_max](engine::Engine* engine, engine::Divergence* to) {
        Result<engine::Divergence> rewound = engine->Rewind(common, lost_max);
        if (rewound.ok()) *to = std::move(rewound.value());
        return rewound.status();
      },
      MakeDivergence);
}

// saveSuffix(common | null, lostMaxBytes)
napi_value SaveSuffix(StoreHandle& store, const Args& args) {
  std::optional<Position> common;
  uint64_t lost_max = 0;
  if (!IsNullish(args.env, args[0]) &&
      !ReadPosition(args.env, args[0], "the common position", &common.emplace())) {
    return nullptr;
  }
  if (!ReadBig(args.env, args[1], "lostMaxBytes", &lost_max)) return nullptr;
  return StartStoreJob<engine::Divergence>(
      store, args.env, "gaplessdb lost",
      [common, lost_max](engine::Engine* engine, engine::Divergence* to) {
        Result<engine::Divergence> saved = engine->SaveSuffix(common, lost_max);
        if (saved.ok()) *to = std::move(saved.value());
        return saved.status();
      },
      MakeDivergence);
}

napi_value KeptCheckpoints(StoreHandle& store, const Args& args) {
  const napi_value list = MakeArray(args.env);
  for (const Position& position : store.engine()->kept_checkpoints()) {
    Push(args.env, list, MakePosition(args.env, position));
  }
  return list;
}

using Builder = std::shared_ptr<engine::GenerationBuilder>;

// Jobs of a generation hold the builder and the engine; nothing else may use the builder meanwhile.
class Generation : public Child {
 public:
  Generation(std::shared_ptr<StoreHandle> store, Builder builder)
      : store_(std::move(store)), builder_(std::move(builder)) {
    store_->children.insert(this);
  }
  ~Generation() override {
    store_->children.erase(this);
    Detach();
  }
  void Detach() override { builder_ = nullptr; }

  StoreHandle& store() const { return *store_; }
  const Builder& builder() const { return builder_; }
  Builder TakeBuilder() { return std::move(builder_); }

 private:
  std::shared_ptr<StoreHandle> store_;
  Builder builder_;
};

// nullptr with an exception pending: ended, closed.
Generation* GenerationOf(const Args& args) {
  auto* const generation = static_cast<Generation*>(Unwrap(args.env, args.self, kGenerationTag));
  if (generation == nullptr) return nullptr;
  if (generation->builder() == nullptr) {
    Throw(args.env, Status::Error(Code::kClosed, "the generation was installed or dropped"));
    return nullptr;
  }
  return generation;
}

napi_value FeedFlow(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  uint32_t flow = 0;
  Slice bytes;
  if (generation == nullptr || !args.Uint(0, &flow) || !ReadBytes(env, args[1], "bytes", &bytes)) {
    return nullptr;
  }
  const Status fed = generation->builder()->FeedFlow(flow, bytes);
  return fed.ok() ? nullptr : Throw(env, fed);
}

napi_value FinishFlow(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  uint32_t flow = 0;
  snapshot::FlowSummary summary;
  if (generation == nullptr || !args.Uint(0, &flow) || !ReadSummary(env, args[1], &summary)) {
    return nullptr;
  }
  return StartStoreJob<Nothing>(
      generation->store(), env, "gaplessdb flow",
      [builder = generation->builder(), flow, summary](engine::Engine*, Nothing*) {
        return builder->FinishFlow(flow, summary);
      },
      AnswerNothing);
}

napi_value Finished(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  if (generation == nullptr) return nullptr;
  const napi_value list = MakeArray(env);
  for (const uint32_t flow : generation->builder()->finished()) {
    Push(env, list, MakeCount(env, flow));
  }
  return list;
}

napi_value AppendLog(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  Slice records;
  Position received;
  if (generation == nullptr || !ReadBytes(env, args[0], "the records", &records)) return nullptr;
  const Status appended = generation->builder()->AppendLog(records, &received);
  return appended.ok() ? MakePosition(env, received) : Throw(env, appended);
}

napi_value ReceivedPosition(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  return generation == nullptr ? nullptr : MakePosition(env, generation->builder()->received());
}

napi_value Install(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  if (generation == nullptr) return nullptr;
  return StartStoreJob<Nothing>(
      generation->store(), env, "gaplessdb install",
      [builder = generation->TakeBuilder()](engine::Engine*, Nothing*) {
        return builder->Install();
      },
      AnswerNothing);
}

// A second drop, or one behind install, has nothing to do.
napi_value Drop(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  auto* const generation = static_cast<Generation*>(Unwrap(env, args.self, kGenerationTag));
  if (generation == nullptr) return nullptr;
  auto holder = std::make_shared<Builder>(generation->TakeBuilder());
  const auto run = [holder](Nothing*) {
    holder->reset();
    return Status::Ok();
  };
  if (*holder == nullptr || generation->store().closed()) {
    return StartJob<Nothing>(env, "gaplessdb drop", run, AnswerNothing);
  }
  return StartStoreJob<Nothing>(
      generation->store(), env, "gaplessdb drop",
      [run](engine::Engine*, Nothing* nothing) { return run(nothing); }, AnswerNothing);
}

// remember(syncId)
napi_value Remember(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  Id128 sync;
  if (generation == nullptr || !ReadId(env, args[0], "the sync id", &sync)) return nullptr;
  const Status kept = generation->builder()->Remember(sync);
  return kept.ok() ? nullptr : Throw(env, kept);
}

napi_value Suspend(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Generation* const generation = GenerationOf(args);
  if (generation == nullptr) return nullptr;
  return StartStoreJob<Nothing>(
      generation->store(), env, "gaplessdb suspend",
      [builder = generation->TakeBuilder()](engine::Engine*, Nothing*) {
        return builder->Suspend();
      },
      AnswerNothing);
}

napi_value WrapGeneration(napi_env env, std::shared_ptr<StoreHandle> store, Builder builder) {
  auto generation = std::make_unique<Generation>(std::move(store), std::move(builder));
  const napi_value instance =
      NewInstance(env, DataOf(env)->generation_class, kGenerationTag, generation.get(),
                  [](napi_env, void* object, void*) { delete static_cast<Generation*>(object); });
  if (instance != nullptr) static_cast<void>(generation.release());
  return instance;
}

struct Recalled {
  bool found = false;
  engine::RecalledSync sync;
  Builder builder;
};

// recallGeneration(): null if there is nothing to go on with
napi_value RecallGeneration(StoreHandle& store, const Args& args) {
  const auto run = [](engine::Engine* engine, Recalled* recalled) -> Status {
    Result<std::unique_ptr<engine::GenerationBuilder>> made = engine->NewGeneration();
    if (!made.ok()) return made.status();
    const Result<bool> found = made.value()->Recall(&recalled->sync);
    if (!found.ok()) return found.status();
    recalled->found = found.value();
    if (recalled->found) recalled->builder = Builder(std::move(made.value()));
    return Status::Ok();
  };
  const auto answer = [handle = store.shared_from_this()](napi_env env, const Recalled& recalled) {
    if (!recalled.found) return MakeNull(env);
    const napi_value flows = MakeArray(env);
    for (const uint64_t bytes : recalled.sync.flow_bytes) Push(env, flows, MakeCount(env, bytes));
    ObjectBuilder object(env);
    object.Set("syncId", MakeId(env, recalled.sync.sync));
    object.Set("token", MakeToken(env, recalled.sync.token)).Set("flowBytes", flows);
    return object.Set("generation", WrapGeneration(env, handle, recalled.builder)).Done();
  };
  return StartStoreJob<Recalled>(store, args.env, "gaplessdb recall", run, answer);
}

// beginGeneration(token, bytes)
napi_value BeginGeneration(StoreHandle& store, const Args& args) {
  Slice bytes;
  uint64_t total = 0;
  if (!ReadBytes(args.env, args[0], "the token", &bytes) ||
      !ReadCount(args.env, args[1], "bytes", &total)) {
    return nullptr;
  }
  Result<snapshot::Token> token = snapshot::DecodeToken(bytes, "announced token");
  if (!token.ok()) return Throw(args.env, token.status());
  Result<std::unique_ptr<engine::GenerationBuilder>> made = store.engine()->NewGeneration();
  if (!made.ok()) return Throw(args.env, made.status());
  const Status begun = made.value()->Begin(token.value(), total);
  if (!begun.ok()) return Throw(args.env, begun);
  return WrapGeneration(args.env, store.shared_from_this(), Builder(std::move(made.value())));
}

}  // namespace

void AddReplicaMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("adoptCluster", OnStore<AdoptCluster>));
  methods->push_back(Method("appendReplicated", OnStore<AppendReplicated>));
  methods->push_back(Method("applyTicketShard", OnStore<ApplyTicketShard>));
  methods->push_back(Method("applyTicket", OnStore<ApplyTicket>));
  methods->push_back(Method("publishTicket", OnStore<PublishTicket>));
  methods->push_back(Method("finishTickets", OnStore<FinishTickets>));
  methods->push_back(Method("rewind", OnStore<Rewind>));
  methods->push_back(Method("saveSuffix", OnStore<SaveSuffix>));
  methods->push_back(Method("keptCheckpoints", OnStore<KeptCheckpoints>));
  methods->push_back(Method("beginGeneration", OnStore<BeginGeneration>));
  methods->push_back(Method("recallGeneration", OnStore<RecallGeneration>));
}

void DefineGenerationClass(napi_env env) {
  const napi_property_descriptor methods[] = {Method("feedFlow", FeedFlow),
                                              Method("finishFlow", FinishFlow),
                                              Method("finished", Finished),
                                              Method("appendLog", AppendLog),
                                              Method("received", ReceivedPosition),
                                              Method("install", Install),
                                              Method("remember", Remember),
                                              Method("suspend", Suspend),
                                              Method("drop", Drop)};
  DefineClass(env, "NativeGeneration", std::size(methods), methods, &DataOf(env)->generation_class);
}

}  // namespace gapless::napi
