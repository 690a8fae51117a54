// Pure functions over bytes for JavaScript. See codec.h.
#include "napi/codec.h"

#include "base/crc32c.h"
#include "napi/convert.h"
#include "napi/env_data.h"
#include "napi/job.h"
#include "napi/store_handle.h"
#include "ring/ring.h"

namespace gapless::napi {

namespace {

// crc32c(bytes, seed?)
napi_value Crc(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Slice bytes;
  uint32_t seed = 0;
  if (!ReadBytes(env, args[0], "bytes", &bytes)) return nullptr;
  if (!IsNullish(env, args[1]) && !ReadU32(env, args[1], "the seed", &seed)) return nullptr;
  return MakeCount(env, Crc32c(seed, bytes.data(), bytes.size()));
}

// checkRecords(bytes, before, timestampBefore, clusterId)
napi_value CheckRecords(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Slice bytes;
  Position after;
  uint64_t timestamp = 0;
  ClusterId cluster;
  if (!ReadBytes(env, args[0], "bytes", &bytes) ||
      !ReadPosition(env, args[1], "the position", &after) ||
      !ReadBig(env, args[2], "the timestamp", &timestamp) ||
      !ReadId(env, args[3], "the cluster id", &cluster.bytes)) {
    return nullptr;
  }
  const size_t size = bytes.size();
  uint64_t records = 0;
  log::RecordCheck check = log::RecordCheck::kOk;
  while (!bytes.empty() && check == log::RecordCheck::kOk) {
    log::RecordView view;
    check = log::CheckRecord(cluster, after, timestamp, bytes, &view);
    if (check != log::RecordCheck::kOk) break;
    bytes.RemovePrefix(view.header.RecordBytes());
    after = view.header.After(after.offset);
    timestamp = view.header.timestamp;
    ++records;
  }
  ObjectBuilder object(env);
  object.Count("bytes", size - bytes.size()).Count("records", records);
  object.Set("after", MakePosition(env, after)).Big("timestamp", timestamp);
  if (check == log::RecordCheck::kOk) return object.Null("stopped").Done();
  return object.Text("stopped", log::RecordCheckText(check)).Done();
}

napi_value RecordsChecked(napi_env env, napi_callback_info /*info*/) {
  return MakeCount(env, log::RecordsChecked());
}

napi_value EncodeTokenOf(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  snapshot::Token token;
  if (!ReadToken(env, args[0], &token)) return nullptr;
  return MakeBytes(env, snapshot::EncodeToken(token));
}

napi_value DecodeTokenOf(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Slice bytes;
  std::string name;
  if (!ReadBytes(env, args[0], "bytes", &bytes) || !ReadText(env, args[1], "the name", &name)) {
    return nullptr;
  }
  Result<snapshot::Token> token = snapshot::DecodeToken(bytes, name);
  return token.ok() ? MakeToken(env, token.value()) : Throw(env, token.status());
}

napi_value EncodeMeta(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  log::MetaState meta;
  if (!ReadMeta(env, args[0], &meta)) return nullptr;
  return MakeBytes(env, log::EncodeMetaState(meta));
}

napi_value DecodeMeta(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Slice bytes;
  std::string name;
  if (!ReadBytes(env, args[0], "bytes", &bytes) || !ReadText(env, args[1], "the name", &name)) {
    return nullptr;
  }
  Result<log::MetaState> meta = log::DecodeMetaState(bytes, name, 0);
  return meta.ok() ? MakeMeta(env, meta.value()) : Throw(env, meta.status());
}

// publishToken(directory, token)
napi_value Publish(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string directory;
  snapshot::Token token;
  if (!ReadText(env, args[0], "the directory", &directory) || !ReadToken(env, args[1], &token)) {
    return nullptr;
  }
  return StartJob<Nothing>(
      env, "gaplessdb publish",
      [directory, token](Nothing*) {
        return snapshot::PublishToken(io::PosixFileSystem(), directory, token);
      },
      AnswerNothing);
}

struct Constant {
  const char* name;
  uint64_t value;
};

constexpr Constant kConstants[] = {
    {"formatVersion", log::kFormatVersion},
    {"positionBytes", kPositionBytes},
    {"recordHeaderBytes", log::kRecordHeaderBytes},
    {"recordHeaderCrc", log::kRecordHeaderCrc},
    {"recordBodyCrc", log::kRecordBodyCrc},
    {"recordBodyBytes", log::kRecordBodyBytes},
    {"recordKind", log::kRecordKind},
    {"recordFlags", log::kRecordFlags},
    {"recordTerm", log::kRecordTerm},
    {"recordRun", log::kRecordRun},
    {"recordFirstSeq", log::kRecordFirstSeq},
    {"recordOperations", log::kRecordOperations},
    {"recordTimestamp", log::kRecordTimestamp},
    {"recordChain", log::kRecordChain},
    {"kindBatch", static_cast<uint64_t>(log::RecordKind::kBatch)},
    {"kindEpoch", static_cast<uint64_t>(log::RecordKind::kEpoch)},
    {"kindNoop", static_cast<uint64_t>(log::RecordKind::kNoop)},
    {"kindCursor", static_cast<uint64_t>(log::RecordKind::kCursor)},
    {"kindDigest", static_cast<uint64_t>(log::RecordKind::kDigest)},
    {"kindConfig", static_cast<uint64_t>(log::RecordKind::kConfig)},
    {"opPut", static_cast<uint64_t>(log::OpKind::kPut)},
    {"opDel", static_cast<uint64_t>(log::OpKind::kDel)},
    {"opDelRange", static_cast<uint64_t>(log::OpKind::kDelRange)},
    {"opIncrement", engine::kOpIncrement},
    {"opFlagExpiry", log::kOpFlagExpiry},
    {"opFlagUnbounded", log::kOpFlagUnbounded},
    {"opHeaderBytes", log::kOpHeaderBytes},
    {"keyBytesMax", log::kKeyBytesMax},
    {"valueBytesMax", log::kValueBytesMax},
    {"bodyBytesMax", log::kBodyBytesMax},
    {"operationsMax", log::kOperationsMax},
    {"durabilitySync", static_cast<uint64_t>(log::Durability::kSync)},
    {"durabilityOs", static_cast<uint64_t>(log::Durability::kOs)},
    {"durabilityMemory", static_cast<uint64_t>(log::Durability::kMemory)},
    {"holdSlot", static_cast<uint64_t>(log::HoldKind::kSlot)},
    {"holdSnapshot", static_cast<uint64_t>(log::HoldKind::kSnapshot)},
    {"holdCheckpoint", static_cast<uint64_t>(log::HoldKind::kCheckpoint)},
    {"holdReader", static_cast<uint64_t>(log::HoldKind::kReader)},
    {"ringLineBytes", ring::kLineBytes},
    {"ringMagicAt", ring::kMagicAt},
    {"ringCapacityAt", ring::kCapacityAt},
    {"ringGenerationAt", ring::kGenerationAt},
    {"ringNextAt", ring::kNextAt},
    {"ringOldestAt", ring::kOldestAt},
    {"ringShippingAt", ring::kShippingAt},
    {"ringDurableAt", ring::kDurableAt},
    {"ringAppliedAt", ring::kAppliedAt},
    {"ringEpochAt", ring::kEpochAt},
    {"ringNotifyAt", ring::kNotifyAt},
    {"ringDataAt", ring::kDataAt},
};

napi_value MakeConstants(napi_env env) {
  ObjectBuilder object(env);
  for (const Constant& constant : kConstants) object.Count(constant.name, constant.value);
  return object.Done();
}

napi_value MakeCodes(napi_env env) {
  const napi_value list = MakeArray(env);
#define GAPLESS_CODE_TEXT(name, text) \
  if (Code::name != Code::kOk) Push(env, list, MakeText(env, text));
  GAPLESS_CODES(GAPLESS_CODE_TEXT)
#undef GAPLESS_CODE_TEXT
  return list;
}

}  // namespace

void AddCodecExports(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      Method("crc32c", Crc),
      Method("checkRecords", CheckRecords),
      Method("recordsChecked", RecordsChecked),
      Method("encodeToken", EncodeTokenOf),
      Method("decodeToken", DecodeTokenOf),
      Method("encodeMetaState", EncodeMeta),
      Method("decodeMetaState", DecodeMeta),
      Method("publishToken", Publish),
  };
  napi_define_properties(env, exports, std::size(functions), functions);
  napi_set_named_property(env, exports, "constants", MakeConstants(env));
  napi_set_named_property(env, exports, "codes", MakeCodes(env));
}

}  // namespace gapless::napi
