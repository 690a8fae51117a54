// The meta state block: advancing it by records, encoding, decoding. Any thread, no shared state.
//
// Decoding trusts nothing: the block's CRC is verified before any count is read, and every list is
// bounded by its limit and by the bytes that are there. Layout: docs/FORMAT.md "Meta state".
#include "log/meta_state.h"

#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"

namespace gapless::log {
namespace {

constexpr uint32_t kMetaVersion = 1;
constexpr size_t kMetaHeadBytes = 64;
constexpr size_t kMetaBytesMin = kMetaHeadBytes + 4 * 4 + 4;
constexpr size_t kPaddedMax = 32;

void AppendPosition(std::string* to, const Position& position) {
  char bytes[kPositionBytes];
  EncodePosition(position, bytes);
  to->append(bytes, sizeof bytes);
}

void AppendId(std::string* to, const Id128& id) {
  to->append(reinterpret_cast<const char*>(id.data()), id.size());
}

// Takes values from the front; once something is missing every later value is zero and ok() false.
class Cursor {
 public:
  explicit Cursor(Slice rest) : rest_(rest) {}
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }
  Slice Take(size_t bytes) {
    if (!ok_ || rest_.size() < bytes) {
      ok_ = false;
      return Slice();
    }
    const Slice taken = rest_.Sub(0, bytes);
    rest_.RemovePrefix(bytes);
    return taken;
  }
  uint16_t U16() { return Number<uint16_t>(); }
  uint32_t U32() { return Number<uint32_t>(); }
  uint64_t U64() { return Number<uint64_t>(); }
  Position TakePosition() {
    const Slice bytes = Take(kPositionBytes);
    return ok_ ? DecodePosition(bytes.data()) : Position{};
  }
  Id128 TakeId() {
    Id128 id{};
    const Slice bytes = Take(id.size());
    if (ok_) std::memcpy(id.data(), bytes.data(), id.size());
    return id;
  }
  // A count that passes its limit is damage of the writer, never a request for memory.
  uint32_t Count(size_t limit) {
    const uint32_t count = U32();
    if (count > limit) ok_ = false;
    return ok_ ? count : 0;
  }
  void Fail() { ok_ = false; }

 private:
  template <typename T>
  T Number() {
    const Slice bytes = Take(sizeof(T));
    return ok_ ? LoadLe<T>(bytes.data()) : T{};
  }

  Slice rest_;
  bool ok_ = true;
};

void DecodeEpochs(Cursor* from, MetaState* state) {
  const uint32_t count = from->Count(kEpochsMax);
  for (uint32_t i = 0; i < count && from->ok(); ++i) {
    EpochEntry entry;
    entry.epoch.term = from->U32();
    entry.epoch.run = from->U32();
    entry.before = from->TakePosition();
    entry.chain = from->U64();
    entry.node.bytes = from->TakeId();
    entry.time_ms = from->U64();
    const uint64_t cause = from->U64();
    if (cause > UINT8_MAX) from->Fail();  // its seven bytes behind are reserved
    entry.cause = static_cast<uint8_t>(cause);
    state->epochs.push_back(entry);
  }
}

void DecodeCursors(Cursor* from, MetaState* state) {
  const uint32_t count = from->Count(kCursorsMax);
  for (uint32_t i = 0; i < count && from->ok(); ++i) {
    CursorEntry entry;
    entry.position = from->TakePosition();
    entry.name = from->Take(from->U16()).ToString();
    state->cursors.push_back(std::move(entry));
  }
}

void DecodeSlotsAndPadded(Cursor* from, MetaState* state) {
  const uint32_t slots = from->Count(kSlotsMax);
  for (uint32_t i = 0; i < slots && from->ok(); ++i) {
    SlotEntry entry;
    entry.node.bytes = from->TakeId();
    entry.created_at = from->U64();
    state->slots.push_back(entry);
  }
  const uint32_t padded = from->Count(kPaddedMax);
  for (uint32_t i = 0; i < padded && from->ok(); ++i) {
    PaddedRange range;
    range.from = from->TakePosition();
    range.to = from->TakePosition();
    state->padded.push_back(range);
  }
}

void SetCursor(std::vector<CursorEntry>* cursors, CursorBody body) {
  const auto at = std::lower_bound(
      cursors->begin(), cursors->end(), body.name,
      [](const CursorEntry& entry, const std::string& name) { return entry.name < name; });
  if (at != cursors->end() && at->name == body.name) {
    at->position = body.position;
  } else {
    cursors->insert(at, CursorEntry{std::move(body.name), body.position});
  }
}

void ApplyConfig(std::vector<SlotEntry>* slots, const ConfigBody& body, const Position& before) {
  const auto at = std::find_if(slots->begin(), slots->end(),
                               [&](const SlotEntry& entry) { return entry.node == body.node; });
  if (body.kind == 2) {
    if (at != slots->end()) slots->erase(at);
  } else if (at == slots->end()) {
    slots->push_back(SlotEntry{body.node, before.offset});
  }
}

}  // namespace

void MetaState::Advance(const RecordView& record, const Position& before, const Position& after) {
  position = after;
  clock = record.header.timestamp;
  if (record.header.kind == RecordKind::kEpoch) {
    EpochBody body;
    if (!DecodeEpochBody(record.body, &body)) return;
    if (epochs.size() >= kEpochsMax) epochs.erase(epochs.begin());
    epochs.push_back(EpochEntry{record.header.epoch, before, record.header.chain, body.node,
                                record.header.timestamp >> 16, body.cause});
  } else if (record.header.kind == RecordKind::kCursor) {
    CursorBody body;
    if (DecodeCursorBody(record.body, &body)) SetCursor(&cursors, std::move(body));
  } else if (record.header.kind == RecordKind::kConfig) {
    ConfigBody body;
    if (DecodeConfigBody(record.body, &body)) ApplyConfig(&slots, body, before);
  }
}

const EpochEntry* MetaState::Find(Epoch epoch) const {
  const auto at = std::lower_bound(
      epochs.begin(), epochs.end(), epoch,
      [](const EpochEntry& entry, const Epoch& wanted) { return entry.epoch < wanted; });
  return at != epochs.end() && at->epoch == epoch ? &*at : nullptr;
}

std::string EncodeMetaState(const MetaState& state) {
  std::string out;
  AppendLe<uint32_t>(&out, kMetaVersion);
  AppendLe<uint32_t>(&out, 0);  // length, below
  AppendLe<uint64_t>(&out, state.features);
  AppendLe<uint64_t>(&out, state.clock);
  AppendPosition(&out, state.position);
  AppendLe<uint64_t>(&out, 0);
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(state.epochs.size()));
  for (const EpochEntry& entry : state.epochs) {
    AppendLe<uint32_t>(&out, entry.epoch.term);
    AppendLe<uint32_t>(&out, entry.epoch.run);
    AppendPosition(&out, entry.before);
    AppendLe<uint64_t>(&out, entry.chain);
    AppendId(&out, entry.node.bytes);
    AppendLe<uint64_t>(&out, entry.time_ms);
    AppendLe<uint64_t>(&out, entry.cause);
  }
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(state.cursors.size()));
  for (const CursorEntry& entry : state.cursors) {
    AppendPosition(&out, entry.position);
    AppendLe<uint16_t>(&out, static_cast<uint16_t>(entry.name.size()));
    out += entry.name;
  }
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(state.slots.size()));
  for (const SlotEntry& entry : state.slots) {
    AppendId(&out, entry.node.bytes);
    AppendLe<uint64_t>(&out, entry.created_at);
  }
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(state.padded.size()));
  for (const PaddedRange& range : state.padded) {
    AppendPosition(&out, range.from);
    AppendPosition(&out, range.to);
  }
  StoreU32(out.data() + 4, static_cast<uint32_t>(out.size() + 4));
  AppendLe<uint32_t>(&out, Crc32c(out));
  return out;
}

Result<MetaState> DecodeMetaState(Slice bytes, const std::string& file, uint64_t base_offset) {
  if (bytes.size() < kMetaBytesMin) {
    return Status::Corrupt("meta state is short", file, base_offset);
  }
  const size_t length = LoadU32(bytes.data() + 4);
  if (length != bytes.size()) {
    return Status::Corrupt("meta state has another length than its head says", file,
                           base_offset + 4);
  }
  const size_t covered = length - 4;
  if (Crc32c(bytes.Sub(0, covered)) != LoadU32(bytes.data() + covered)) {
    return Status::Corrupt("meta state fails its checksum", file, base_offset);
  }
  const uint32_t version = LoadU32(bytes.data());
  Cursor from(bytes.Sub(8, covered - 8));
  MetaState state;
  state.features = from.U64();
  state.clock = from.U64();
  state.position = from.TakePosition();
  const uint64_t reserved = from.U64();
  if (version != kMetaVersion || state.features != 0 || reserved != 0) {
    return Status::Error(Code::kFormatUnsupported, "meta state of an unknown version")
        .WithFile(file, static_cast<int64_t>(base_offset))
        .With("found", static_cast<int64_t>(version))
        .With("supported", static_cast<int64_t>(kMetaVersion));
  }
  DecodeEpochs(&from, &state);
  DecodeCursors(&from, &state);
  DecodeSlotsAndPadded(&from, &state);
  if (!from.AtEnd()) {
    return Status::Corrupt("meta state lists do not fill it", file, base_offset);
  }
  return state;
}

}  // namespace gapless::log
