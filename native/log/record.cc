// Records: sealing, checking, and the bodies inside. Pure but for one counter; any thread.
//
// Order of the checks (docs/FORMAT.md "Record"): header CRC, limits, body CRC, padding, sequence,
// chain, timestamp. A length is used only behind the CRC that covers it.
#include "log/record.h"

#include <atomic>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/hash.h"

namespace gapless::log {
namespace {

// The one state of this file; nothing depends on it.
std::atomic<uint64_t> records_checked{0};

constexpr size_t kEpochBodyBytes = 64;
constexpr size_t kCursorBodyFixedBytes = kPositionBytes + 2;
constexpr size_t kConfigBodyBytes = 24;
constexpr size_t kDigestBodyBytes = 16;
constexpr size_t kBoundBytesMax = kKeyBytesMax + 1;

uint32_t HeaderCrc(const ClusterId& cluster, uint64_t offset, const uint8_t* header) {
  uint8_t place[24];
  std::memcpy(place, cluster.bytes.data(), 16);
  StoreU64(place + 16, offset);
  const uint32_t crc = Crc32c(0, place, sizeof place);
  return Crc32c(crc, header + kRecordBodyCrc, kRecordHeaderBytes - kRecordBodyCrc);
}

uint64_t ChainOf(uint64_t chain_before, const uint8_t* header) {
  uint8_t bytes[52];
  StoreU64(bytes, chain_before);
  std::memcpy(bytes + 8, header + kRecordBodyBytes, 40);
  std::memcpy(bytes + 48, header + kRecordBodyCrc, 4);
  return Murmur3_128(bytes, sizeof bytes, 0).low;
}

void DecodeHeader(const uint8_t* bytes, RecordHeader* header) {
  header->header_crc = LoadU32(bytes + kRecordHeaderCrc);
  header->body_crc = LoadU32(bytes + kRecordBodyCrc);
  header->body_bytes = LoadU32(bytes + kRecordBodyBytes);
  header->kind = static_cast<RecordKind>(bytes[kRecordKind]);
  header->flags = bytes[kRecordFlags];
  header->epoch.term = LoadU32(bytes + kRecordTerm);
  header->epoch.run = LoadU32(bytes + kRecordRun);
  header->first_seq = LoadU64(bytes + kRecordFirstSeq);
  header->operations = LoadU32(bytes + kRecordOperations);
  header->timestamp = LoadU64(bytes + kRecordTimestamp);
  header->chain = LoadU64(bytes + kRecordChain);
}

bool IsKnownHeader(const uint8_t* bytes, const RecordHeader& header) {
  if (header.kind < RecordKind::kBatch || header.kind > RecordKind::kConfig) return false;
  if (header.flags != 0 || LoadU16(bytes + kRecordReserved) != 0) return false;
  if (LoadU32(bytes + kRecordReserved2) != 0) return false;
  if (header.body_bytes > kBodyBytesMax) return false;
  if (header.kind != RecordKind::kBatch) return header.operations == 0;
  return header.operations >= 1 && header.operations <= kOperationsMax;
}

bool AllZero(const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

// Bodies of control records are few and small: a verified record holds one that can be decoded.
bool IsKnownControlBody(RecordKind kind, Slice body) {
  EpochBody epoch;
  CursorBody cursor;
  ConfigBody config;
  switch (kind) {
    case RecordKind::kBatch:
      return true;
    case RecordKind::kEpoch:
      return DecodeEpochBody(body, &epoch);
    case RecordKind::kNoop:
      return body.empty();
    case RecordKind::kCursor:
      return DecodeCursorBody(body, &cursor);
    case RecordKind::kDigest:
      return body.size() == kDigestBodyBytes;
    case RecordKind::kConfig:
      return DecodeConfigBody(body, &config);
  }
  return false;
}

RecordCheck CheckLinks(const Position& before, uint64_t timestamp_before, const uint8_t* bytes,
                       const RecordHeader& header) {
  if (header.first_seq != before.seq + 1) return RecordCheck::kSequence;
#ifndef GAPLESS_BUG_CHAIN_NOT_CHECKED
  if (header.chain != ChainOf(before.chain, bytes)) return RecordCheck::kChain;
#else
  (void)bytes;
#endif
  if (header.timestamp <= timestamp_before) return RecordCheck::kTimestamp;
  return RecordCheck::kOk;
}

}  // namespace

uint64_t RecordHeader::RecordBytes() const {
  return AlignUp8(kRecordHeaderBytes + uint64_t{body_bytes});
}

uint64_t RecordHeader::LastSeq() const { return first_seq + (operations > 1 ? operations : 1) - 1; }

Position RecordHeader::After(uint64_t record_offset) const {
  return Position{epoch, LastSeq(), record_offset + RecordBytes(), chain};
}

void SealHeader(const ClusterId& cluster, const Position& before, RecordHeader* header, void* to) {
  auto* bytes = static_cast<uint8_t*>(to);
  StoreU32(bytes + kRecordBodyCrc, header->body_crc);
  StoreU32(bytes + kRecordBodyBytes, header->body_bytes);
  bytes[kRecordKind] = static_cast<uint8_t>(header->kind);
  bytes[kRecordFlags] = header->flags;
  StoreU16(bytes + kRecordReserved, 0);
  StoreU32(bytes + kRecordTerm, header->epoch.term);
  StoreU32(bytes + kRecordRun, header->epoch.run);
  StoreU64(bytes + kRecordFirstSeq, header->first_seq);
  StoreU32(bytes + kRecordOperations, header->operations);
  StoreU32(bytes + kRecordReserved2, 0);
  StoreU64(bytes + kRecordTimestamp, header->timestamp);
  header->chain = ChainOf(before.chain, bytes);
  StoreU64(bytes + kRecordChain, header->chain);
  header->header_crc = HeaderCrc(cluster, before.offset, bytes);
  StoreU32(bytes + kRecordHeaderCrc, header->header_crc);
}

const char* RecordCheckText(RecordCheck check) {
  switch (check) {
    case RecordCheck::kOk:
      return "ok";
    case RecordCheck::kShort:
      return "short";
    case RecordCheck::kHeaderCrc:
      return "header_crc";
    case RecordCheck::kFormat:
      return "format";
    case RecordCheck::kBodyCrc:
    case RecordCheck::kPadding:
      return "body_crc";
    case RecordCheck::kChain:
      return "chain";
    case RecordCheck::kSequence:
    case RecordCheck::kTimestamp:
      return "order";
  }
  return "format";
}

RecordCheck CheckHeader(const ClusterId& cluster, uint64_t offset, const void* bytes,
                        RecordHeader* header) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  if (LoadU32(at + kRecordHeaderCrc) != HeaderCrc(cluster, offset, at)) {
    return RecordCheck::kHeaderCrc;
  }
  DecodeHeader(at, header);
  return IsKnownHeader(at, *header) ? RecordCheck::kOk : RecordCheck::kFormat;
}

uint64_t RecordsChecked() { return records_checked.load(std::memory_order_relaxed); }

RecordCheck CheckRecord(const ClusterId& cluster, const Position& before, uint64_t timestamp_before,
                        Slice bytes, RecordView* view) {
  if (bytes.size() < kRecordHeaderBytes) return RecordCheck::kShort;
  RecordHeader& header = view->header;
  const RecordCheck head = CheckHeader(cluster, before.offset, bytes.data(), &header);
  if (head == RecordCheck::kHeaderCrc) return head;
  if (header.body_bytes > kBodyBytesMax) return RecordCheck::kFormat;
  const uint64_t record_bytes = header.RecordBytes();
  if (bytes.size() < record_bytes) return RecordCheck::kShort;
  view->body = bytes.Sub(kRecordHeaderBytes, header.body_bytes);
  view->bytes = bytes.Sub(0, static_cast<size_t>(header.RecordBytes()));
  records_checked.fetch_add(1, std::memory_order_relaxed);
#ifndef GAPLESS_BUG_BODY_CRC_NOT_CHECKED
  if (Crc32c(view->body) != header.body_crc) return RecordCheck::kBodyCrc;
#endif
  // Only behind both checksums: a torn record is no unknown format.
  if (head == RecordCheck::kFormat) return head;
  if (!IsKnownControlBody(header.kind, view->body)) return RecordCheck::kFormat;
#ifndef GAPLESS_BUG_PADDING_NOT_CHECKED
  const size_t used = kRecordHeaderBytes + header.body_bytes;
  if (!AllZero(bytes.bytes() + used, record_bytes - used)) return RecordCheck::kPadding;
#endif
  return CheckLinks(before, timestamp_before, bytes.bytes(), header);
}

bool BatchReader::Next(Operation* operation) {
  if (malformed_ || rest_.empty()) return false;
  malformed_ = true;  // until the whole operation was read
  if (rest_.size() < kOpHeaderBytes) return false;
  const uint8_t* at = rest_.bytes();
  const uint8_t kind = at[0];
  const uint8_t flags = at[1];
  const size_t key_bytes = LoadU16(at + 2);
  const size_t value_bytes = LoadU32(at + 4);
  if (kind < 1 || kind > 3 || (flags & ~(kOpFlagExpiry | kOpFlagUnbounded)) != 0) return false;
  operation->kind = static_cast<OpKind>(kind);
  const bool has_expiry = (flags & kOpFlagExpiry) != 0;
  operation->unbounded = (flags & kOpFlagUnbounded) != 0;
  if (has_expiry && operation->kind != OpKind::kPut) return false;
  if (operation->unbounded && (operation->kind != OpKind::kDelRange || value_bytes != 0)) {
    return false;
  }
  if (operation->kind == OpKind::kDel && value_bytes != 0) return false;
  const size_t head_bytes = kOpHeaderBytes + (has_expiry ? 8 : 0);
  if (rest_.size() < head_bytes + key_bytes + value_bytes) return false;
  operation->expires_at_ms = has_expiry ? LoadU64(at + kOpHeaderBytes) : 0;
  operation->key = rest_.Sub(head_bytes, key_bytes);
  operation->value = rest_.Sub(head_bytes + key_bytes, value_bytes);
  rest_.RemovePrefix(head_bytes + key_bytes + value_bytes);
  malformed_ = false;
  return true;
}

namespace {

Status CheckOperationLimits(const Operation& operation) {
  if (operation.kind == OpKind::kDelRange) {
    if (operation.key.size() > kBoundBytesMax || operation.value.size() > kBoundBytesMax) {
      return Status::Error(Code::kKeyTooLarge, "a bound of a range is longer than 32 KiB and 1");
    }
    return Status::Ok();
  }
  if (operation.key.size() > kKeyBytesMax) {
    return Status::Error(Code::kKeyTooLarge, "a key is longer than 32 KiB");
  }
  if (operation.value.size() > kValueBytesMax) {
    return Status::Error(Code::kValueTooLarge, "a value is longer than 64 MiB");
  }
  return Status::Ok();
}

}  // namespace

Status CheckBatchBody(Slice body, uint32_t* operations) {
  *operations = 0;
  if (body.size() > kBodyBytesMax) {
    return Status::Error(Code::kBatchTooLarge, "an encoded batch is longer than 128 MiB");
  }
  BatchReader reader(body);
  Operation operation;
  uint32_t count = 0;
  while (reader.Next(&operation)) {
    if (++count > kOperationsMax) {
      return Status::Error(Code::kBatchTooLarge, "a batch has more than 1000000 operations");
    }
    RETURN_IF_ERROR(CheckOperationLimits(operation));
  }
  if (reader.malformed()) return Status::Error(Code::kUsage, "a batch body is malformed");
  if (count == 0) return Status::Error(Code::kUsage, "a batch body holds no operation");
  *operations = count;
  return Status::Ok();
}

std::string EncodeEpochBody(const EpochBody& body) {
  std::string bytes(kEpochBodyBytes, '\0');
  std::memcpy(bytes.data(), body.node.bytes.data(), 16);
  StoreU64(bytes.data() + 16, body.random);
  bytes[24] = static_cast<char>(body.cause);
  EncodePosition(body.before, bytes.data() + 32);
  return bytes;
}

bool DecodeEpochBody(Slice bytes, EpochBody* body) {
  if (bytes.size() != kEpochBodyBytes) return false;
  std::memcpy(body->node.bytes.data(), bytes.data(), 16);
  body->random = LoadU64(bytes.data() + 16);
  body->cause = bytes.bytes()[24];
  body->before = DecodePosition(bytes.data() + 32);
  return body->cause >= 1 && body->cause <= 3 && AllZero(bytes.bytes() + 25, 7);
}

std::string EncodeCursorBody(const CursorBody& body) {
  std::string bytes(kCursorBodyFixedBytes, '\0');
  EncodePosition(body.position, bytes.data());
  StoreU16(bytes.data() + kPositionBytes, static_cast<uint16_t>(body.name.size()));
  return bytes + body.name;
}

bool DecodeCursorBody(Slice bytes, CursorBody* body) {
  if (bytes.size() < kCursorBodyFixedBytes) return false;
  body->position = DecodePosition(bytes.data());
  const size_t name_bytes = LoadU16(bytes.data() + kPositionBytes);
  if (bytes.size() != kCursorBodyFixedBytes + name_bytes) return false;
  body->name = bytes.Sub(kCursorBodyFixedBytes, name_bytes).ToString();
  return true;
}

std::string EncodeConfigBody(const ConfigBody& body) {
  std::string bytes(kConfigBodyBytes, '\0');
  bytes[0] = static_cast<char>(body.kind);
  std::memcpy(bytes.data() + 8, body.node.bytes.data(), 16);
  return bytes;
}

bool DecodeConfigBody(Slice bytes, ConfigBody* body) {
  if (bytes.size() != kConfigBodyBytes) return false;
  body->kind = bytes.bytes()[0];
  std::memcpy(body->node.bytes.data(), bytes.data() + 8, 16);
  return (body->kind == 1 || body->kind == 2) && AllZero(bytes.bytes() + 1, 7);
}

}  // namespace gapless::log
