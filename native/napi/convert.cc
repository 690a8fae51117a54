// Structures in both directions. See convert.h.
#include "napi/convert.h"

#include <functional>

#include "napi/env_data.h"

namespace gapless::napi {

namespace {

constexpr const char* kCauses[] = {"", "open", "promote", "repair"};
constexpr const char* kHoldKinds[] = {"slot", "snapshot", "checkpoint", "reader"};
constexpr uint32_t kListMax = 4096;  // no list of a meta state or token is longer

napi_value MakeEpochEntry(napi_env env, const EpochEntry& entry) {
  ObjectBuilder object(env);
  object.Text("epoch", ToText(entry.epoch)).Set("before", MakePosition(env, entry.before));
  object.Set("chain", MakeHex64(env, entry.chain)).Set("nodeId", MakeId(env, entry.node.bytes));
  object.Count("time", entry.time_ms);
  return object.Text("cause", kCauses[entry.cause <= 3 ? entry.cause : 0]).Done();
}

// One property of an object, read by one of the readers.
class Fields {
 public:
  Fields(napi_env env, napi_value object) : env_(env), object_(object) {}
  bool ok() const { return ok_; }
  template <typename T>
  Fields& Get(const char* name, bool (*read)(napi_env, napi_value, const char*, T*), T* to) {
    napi_value value = nullptr;
    ok_ = ok_ && ReadProperty(env_, object_, name, &value) && read(env_, value, name, to);
    return *this;
  }
  // Each element of the array `name`.
  Fields& Each(const char* name, const std::function<bool(napi_value)>& take) {
    napi_value array = nullptr;
    uint32_t count = 0;
    ok_ = ok_ && ReadProperty(env_, object_, name, &array);
    if (!ok_) return *this;
    if (napi_get_array_length(env_, array, &count) != napi_ok || count > kListMax) {
      ok_ = Refuse(env_, name);
    }
    for (uint32_t index = 0; ok_ && index < count; ++index) {
      napi_value value = nullptr;
      ok_ = napi_get_element(env_, array, index, &value) == napi_ok && take(value);
    }
    return *this;
  }

 private:
  napi_env env_;
  napi_value object_;
  bool ok_ = true;
};

bool ReadEpochEntry(napi_env env, napi_value value, EpochEntry* entry) {
  std::string cause;
  Fields fields(env, value);
  fields.Get("epoch", ReadEpoch, &entry->epoch).Get("before", ReadPosition, &entry->before);
  fields.Get("chain", ReadHex64, &entry->chain).Get("nodeId", ReadId, &entry->node.bytes);
  fields.Get("time", ReadCount, &entry->time_ms).Get("cause", ReadText, &cause);
  for (uint8_t index = 1; index <= 3; ++index) {
    if (cause == kCauses[index]) entry->cause = index;
  }
  return fields.ok();
}

}  // namespace

napi_value MakeMeta(napi_env env, const log::MetaState& meta) {
  const napi_value epochs = MakeArray(env);
  for (const EpochEntry& entry : meta.epochs) Push(env, epochs, MakeEpochEntry(env, entry));
  const napi_value cursors = MakeArray(env);
  for (const log::CursorEntry& cursor : meta.cursors) {
    ObjectBuilder object(env);
    object.Text("name", cursor.name).Set("position", MakePosition(env, cursor.position));
    Push(env, cursors, object.Done());
  }
  const napi_value slots = MakeArray(env);
  for (const log::SlotEntry& slot : meta.slots) {
    ObjectBuilder object(env);
    object.Set("nodeId", MakeId(env, slot.node.bytes)).Big("createdAt", slot.created_at);
    Push(env, slots, object.Done());
  }
  const napi_value padded = MakeArray(env);
  for (const log::PaddedRange& range : meta.padded) {
    ObjectBuilder object(env);
    object.Set("from", MakePosition(env, range.from)).Set("to", MakePosition(env, range.to));
    Push(env, padded, object.Done());
  }
  ObjectBuilder object(env);
  object.Big("features", meta.features).Big("clock", meta.clock);
  object.Set("position", MakePosition(env, meta.position)).Set("epochs", epochs);
  return object.Set("cursors", cursors).Set("slots", slots).Set("padded", padded).Done();
}

bool ReadMeta(napi_env env, napi_value value, log::MetaState* meta) {
  Fields fields(env, value);
  fields.Get("features", ReadBig, &meta->features).Get("clock", ReadBig, &meta->clock);
  fields.Get("position", ReadPosition, &meta->position);
  fields.Each("epochs", [&](napi_value item) {
    return ReadEpochEntry(env, item, &meta->epochs.emplace_back());
  });
  fields.Each("cursors", [&](napi_value item) {
    log::CursorEntry& cursor = meta->cursors.emplace_back();
    Fields parts(env, item);
    parts.Get("name", ReadText, &cursor.name).Get("position", ReadPosition, &cursor.position);
    return parts.ok();
  });
  fields.Each("slots", [&](napi_value item) {
    log::SlotEntry& slot = meta->slots.emplace_back();
    Fields parts(env, item);
    parts.Get("nodeId", ReadId, &slot.node.bytes).Get("createdAt", ReadBig, &slot.created_at);
    return parts.ok();
  });
  fields.Each("padded", [&](napi_value item) {
    log::PaddedRange& range = meta->padded.emplace_back();
    Fields parts(env, item);
    parts.Get("from", ReadPosition, &range.from).Get("to", ReadPosition, &range.to);
    return parts.ok();
  });
  return fields.ok();
}

napi_value MakeSummary(napi_env env, const snapshot::FlowSummary& summary) {
  ObjectBuilder object(env);
  object.Count("flow", summary.flow).Count("entries", summary.entries);
  object.Count("bytes", summary.bytes).Count("fileBytes", summary.file_bytes);
  return object.Count("crc", summary.crc).Done();
}

bool ReadSummary(napi_env env, napi_value value, snapshot::FlowSummary* summary) {
  Fields fields(env, value);
  fields.Get("flow", ReadU32, &summary->flow).Get("entries", ReadCount, &summary->entries);
  fields.Get("bytes", ReadCount, &summary->bytes);
  fields.Get("fileBytes", ReadCount, &summary->file_bytes).Get("crc", ReadU32, &summary->crc);
  return fields.ok();
}

napi_value MakeToken(napi_env env, const snapshot::Token& token) {
  const napi_value flows = MakeArray(env);
  for (const snapshot::FlowSummary& flow : token.flows) Push(env, flows, MakeSummary(env, flow));
  ObjectBuilder object(env);
  object.Set("clusterId", MakeId(env, token.cluster.bytes)).Count("createdMs", token.created_ms);
  const bool is_lz4 = token.compression == snapshot::Compression::kLz4;
  object.Text("compression", is_lz4 ? "lz4" : "none").Set("flows", flows);
  return object.Set("meta", MakeMeta(env, token.meta)).Done();
}

bool ReadCompression(napi_env env, napi_value value, snapshot::Compression* compression) {
  std::string name;
  if (!ReadText(env, value, "compression", &name)) return false;
  if (name != "none" && name != "lz4") return Refuse(env, "compression");
  *compression = name == "lz4" ? snapshot::Compression::kLz4 : snapshot::Compression::kNone;
  return true;
}

bool ReadToken(napi_env env, napi_value value, snapshot::Token* token) {
  napi_value part = nullptr;
  Fields fields(env, value);
  fields.Get("clusterId", ReadId, &token->cluster.bytes);
  fields.Get("createdMs", ReadCount, &token->created_ms);
  fields.Each("flows", [&](napi_value item) {
    return ReadSummary(env, item, &token->flows.emplace_back());
  });
  return fields.ok() && ReadProperty(env, value, "compression", &part) &&
         ReadCompression(env, part, &token->compression) &&
         ReadProperty(env, value, "meta", &part) && ReadMeta(env, part, &token->meta);
}

napi_value MakeDivergence(napi_env env, const engine::Divergence& divergence) {
  const napi_value keys = MakeArray(env);
  for (const std::string& key : divergence.keys) Push(env, keys, MakeBytes(env, key));
  ObjectBuilder object(env);
  object.Set("common", MakePosition(env, divergence.common));
  object.Set("to", MakePosition(env, divergence.to));
  object.Count("records", divergence.records).Count("operations", divergence.operations);
  object.Count("bytes", divergence.bytes).Text("file", divergence.file);
  return object.Set("keys", keys).Done();
}

napi_value MakeRecovery(napi_env env, const engine::RecoveryReport& report) {
  ObjectBuilder object(env);
  object.Text("outcome", report.outcome).Text("reason", report.reason);
  object.Set("gap", MakeSignedBig(env, report.gap)).Count("ms", report.ms);
  object.Count("replayedRecords", report.replayed_records);
  if (report.rewound.has_value()) {
    object.Set("rewound", MakeDivergence(env, *report.rewound));
  } else {
    object.Null("rewound");
  }
  if (!report.cut.has_value()) return object.Null("cut").Done();
  ObjectBuilder cut(env);
  cut.Set("from", MakePosition(env, report.cut->from)).Text("file", report.cut->file);
  cut.Count("fileOffset", report.cut->file_offset).Count("bytes", report.cut->bytes);
  cut.Count("validRecords", report.cut->valid_records);
  return object.Set("cut", cut.Done()).Done();
}

napi_value MakeDamageList(napi_env env, const std::vector<log::Damage>& damage) {
  const napi_value list = MakeArray(env);
  for (const log::Damage& place : damage) {
    ObjectBuilder object(env);
    object.Text("kind", place.kind).Text("file", place.file).Count("offset", place.offset);
    object.Big("logOffset", place.log_offset).Text("what", place.what).Big("seq", place.seq);
    Push(env, list, object.Done());
  }
  return list;
}

napi_value MakeLogStats(napi_env env, const log::LogStats& stats) {
  const napi_value holds = MakeArray(env);
  for (const log::HoldInfo& hold : stats.holds) {
    ObjectBuilder object(env);
    object.Text("kind", kHoldKinds[static_cast<size_t>(hold.kind)]).Text("name", hold.name);
    object.Big("offset", hold.offset).Count("maxBytes", hold.max_bytes);
    Push(env, holds, object.Done());
  }
  ObjectBuilder object(env);
  object.Big("floor", stats.floor).Big("end", stats.end).Big("durable", stats.durable);
  object.Count("segments", stats.segments).Count("bytes", stats.file_bytes);
  object.Count("fdatasyncs", stats.fdatasyncs).Count("writes", stats.writes);
  return object.Set("holds", holds).Done();
}

napi_value MakeChunk(napi_env env, const log::LogChunk& chunk) {
  ObjectBuilder object(env);
  object.Set("bytes", MakeBytes(env, chunk.bytes)).Set("before", MakePosition(env, chunk.before));
  return object.Set("after", MakePosition(env, chunk.after)).Done();
}

}  // namespace gapless::napi
