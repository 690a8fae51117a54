// NativeStore: the log for replication and feeds, holds, the ring, terms.
#include "napi/convert.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

// readLog(from, maxBytes)
napi_value ReadLog(StoreHandle& store, const Args& args) {
  uint64_t from = 0;
  uint64_t max_bytes = 0;
  if (!ReadBig(args.env, args[0], "the offset", &from) ||
      !ReadCount(args.env, args[1], "maxBytes", &max_bytes)) {
    return nullptr;
  }
  Result<log::LogChunk> chunk = store.engine()->ReadLog(from, max_bytes);
  return chunk.ok() ? MakeChunk(args.env, chunk.value()) : Throw(args.env, chunk.status());
}

napi_value ReadLogAsync(StoreHandle& store, const Args& args) {
  uint64_t from = 0;
  uint64_t max_bytes = 0;
  if (!ReadBig(args.env, args[0], "the offset", &from) ||
      !ReadCount(args.env, args[1], "maxBytes", &max_bytes)) {
    return nullptr;
  }
  return StartStoreJob<log::LogChunk>(
      store, args.env, "gaplessdb read log",
      [from, max_bytes](engine::Engine* engine, log::LogChunk* to) {
        Result<log::LogChunk> chunk = engine->ReadLog(from, max_bytes);
        if (chunk.ok()) *to = std::move(chunk.value());
        return chunk.status();
      },
      MakeChunk);
}

napi_value Answer(napi_env env, const Result<Position>& position) {
  return position.ok() ? MakePosition(env, position.value()) : Throw(env, position.status());
}

napi_value PositionAt(StoreHandle& store, const Args& args) {
  uint64_t offset = 0;
  if (!ReadBig(args.env, args[0], "the offset", &offset)) return nullptr;
  return Answer(args.env, store.engine()->PositionAt(offset));
}

napi_value PositionBeforeSeq(StoreHandle& store, const Args& args) {
  uint64_t seq = 0;
  if (!ReadBig(args.env, args[0], "the sequence", &seq)) return nullptr;
  return Answer(args.env, store.engine()->PositionBeforeSeq(seq));
}

// addHold(kind, name, offset, maxBytes)
napi_value AddHold(StoreHandle& store, const Args& args) {
  uint32_t kind = 0;
  std::string name;
  uint64_t offset = 0;
  uint64_t max_bytes = 0;
  if (!args.Uint(0, &kind) || !ReadText(args.env, args[1], "the name", &name) ||
      !ReadBig(args.env, args[2], "the offset", &offset) ||
      !ReadCount(args.env, args[3], "maxBytes", &max_bytes)) {
    return nullptr;
  }
  if (kind > static_cast<uint32_t>(log::HoldKind::kReader)) {
    Refuse(args.env, "the kind of a hold");
    return nullptr;
  }
  Result<log::HoldId> hold =
      store.engine()->AddHold(static_cast<log::HoldKind>(kind), name, offset, max_bytes);
  if (!hold.ok()) return Throw(args.env, hold.status());
  store.holds.insert(hold.value());
  return MakeBig(args.env, hold.value());
}

// moveHold(hold, offset)
napi_value MoveHold(StoreHandle& store, const Args& args) {
  uint64_t hold = 0;
  uint64_t offset = 0;
  if (!ReadBig(args.env, args[0], "the hold", &hold) ||
      !ReadBig(args.env, args[1], "the offset", &offset)) {
    return nullptr;
  }
  const Status moved = store.engine()->MoveHold(hold, offset);
  return moved.ok() ? nullptr : Throw(args.env, moved);
}

napi_value ReleaseHold(StoreHandle& store, const Args& args) {
  uint64_t hold = 0;
  if (!ReadBig(args.env, args[0], "the hold", &hold)) return nullptr;
  if (store.holds.erase(hold) > 0) store.engine()->ReleaseHold(hold);
  return nullptr;
}

napi_value HoldIsAlive(StoreHandle& store, const Args& args) {
  uint64_t hold = 0;
  if (!ReadBig(args.env, args[0], "the hold", &hold)) return nullptr;
  return MakeBool(args.env, store.holds.contains(hold) && store.engine()->HoldIsAlive(hold));
}

// setUndoFloor(position)
napi_value SetUndoFloor(StoreHandle& store, const Args& args) {
  Position floor;
  if (ReadPosition(args.env, args[0], "the undo floor", &floor))
    store.engine()->SetUndoFloor(floor);
  return nullptr;
}

// offerRing(memory): a Uint8Array over shared memory, which only this function takes.
napi_value OfferRing(StoreHandle& store, const Args& args) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  napi_value memory = nullptr;
  bool is_plain = true;
  if (napi_get_typedarray_info(args.env, args[0], &type, &length, &data, &memory, nullptr) !=
          napi_ok ||
      type != napi_uint8_array || napi_is_arraybuffer(args.env, memory, &is_plain) != napi_ok ||
      is_plain) {
    Refuse(args.env, "the ring's memory");
    return nullptr;
  }
  if (store.ring != nullptr) return MakeBool(args.env, true);
  napi_ref kept = nullptr;
  if (napi_create_reference(args.env, args[0], 1, &kept) != napi_ok) return nullptr;
  engine::Engine* const engine = store.engine();
  RingSink* const ring = store.ref().ring();
  Result<bool> taken =
      ring->Register(data, length, engine->progress(), engine->shipping_end().offset);
  if (!taken.ok() || !taken.value()) {
    napi_delete_reference(args.env, kept);
    return taken.ok() ? MakeBool(args.env, false) : Throw(args.env, taken.status());
  }
  store.ring = kept;
  engine->SetSink(ring);
  return MakeBool(args.env, true);
}

napi_value DropRing(StoreHandle& store, const Args& /*args*/) {
  store.DropRing();
  return nullptr;
}

napi_value SeeTerm(StoreHandle& store, const Args& args) {
  uint32_t term = 0;
  if (!ReadU32(args.env, args[0], "the term", &term)) return nullptr;
  return StartStoreJob<Nothing>(
      store, args.env, "gaplessdb term",
      [term](engine::Engine* engine, Nothing*) { return engine->SeeTerm(term); }, AnswerNothing);
}

napi_value Promote(StoreHandle& store, const Args& args) {
  uint32_t term = 0;
  if (!ReadU32(args.env, args[0], "the term", &term)) return nullptr;
  return StartStoreJob<Position>(
      store, args.env, "gaplessdb promote",
      [term](engine::Engine* engine, Position* to) {
        Result<Position> position = engine->Promote(term);
        if (position.ok()) *to = position.value();
        return position.status();
      },
      MakePosition);
}

napi_value Demote(StoreHandle& store, const Args& args) {
  return StartStoreJob<Nothing>(
      store, args.env, "gaplessdb demote",
      [](engine::Engine* engine, Nothing*) { return engine->Demote(); }, AnswerNothing);
}

// setLease(deadline): a bigint of the lease's clock; 2^64 - 1: none.
napi_value SetLease(StoreHandle& store, const Args& args) {
  uint64_t deadline_ms = 0;
  if (!ReadBig(args.env, args[0], "the deadline", &deadline_ms)) return nullptr;
  store.engine()->SetLease(deadline_ms);
  return nullptr;
}

napi_value LeaseClockMs(StoreHandle& store, const Args& args) {
  return MakeBig(args.env, store.engine()->LeaseClockMs());
}

}  // namespace

void AddLogMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("readLog", OnStore<ReadLog>));
  methods->push_back(Method("readLogAsync", OnStore<ReadLogAsync>));
  methods->push_back(Method("positionAt", OnStore<PositionAt>));
  methods->push_back(Method("positionBeforeSeq", OnStore<PositionBeforeSeq>));
  methods->push_back(Method("addHold", OnStore<AddHold>));
  methods->push_back(Method("moveHold", OnStore<MoveHold>));
  methods->push_back(Method("releaseHold", OnStore<ReleaseHold>));
  methods->push_back(Method("holdIsAlive", OnStore<HoldIsAlive>));
  methods->push_back(Method("setUndoFloor", OnStore<SetUndoFloor>));
  methods->push_back(Method("offerRing", OnStore<OfferRing>));
  methods->push_back(Method("dropRing", OnStore<DropRing>));
  methods->push_back(Method("seeTerm", OnStore<SeeTerm>));
  methods->push_back(Method("promote", OnStore<Promote>));
  methods->push_back(Method("demote", OnStore<Demote>));
  methods->push_back(Method("setLease", OnStore<SetLease>));
  methods->push_back(Method("leaseClockMs", OnStore<LeaseClockMs>));
}

}  // namespace gapless::napi
