// Codec of STATE and its two-slot update. Threads: see the header.
#include "engine/state_file.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr size_t kVersionAt = 8;
constexpr size_t kRoleAt = 12;
constexpr size_t kCounterAt = 16;
constexpr size_t kOwnTermAt = 24;
constexpr size_t kOwnRunAt = 28;
constexpr size_t kHighestTermAt = 32;
constexpr size_t kFlagsAt = 36;
constexpr size_t kDurableMarkAt = 40;
constexpr size_t kFormerMarkAt = 48;
constexpr size_t kIntentAt = 56;
constexpr size_t kPaddedCountAt = 60;
constexpr size_t kIntentCommonAt = 64;
constexpr size_t kIntentEndAt = 96;
constexpr size_t kGenerationAt = 128;
constexpr size_t kReservedAt = 136;
constexpr size_t kPaddedAt = 160;
constexpr size_t kCrcAt = 4092;

bool AllZero(Slice bytes, size_t from, size_t to) {
  for (size_t i = from; i < to; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

bool IsKnownSlot(Slice bytes, uint32_t padded_count) {
  const uint32_t role = LoadU32(bytes.data() + kRoleAt);
  return LoadU32(bytes.data() + kVersionAt) == kStateVersion && (role == 1 || role == 2) &&
         (LoadU32(bytes.data() + kFlagsAt) & ~kStateFlagIncomplete) == 0 &&
         LoadU32(bytes.data() + kIntentAt) <= 2 && padded_count <= kStatePaddedMax &&
         AllZero(bytes, kReservedAt, kPaddedAt) &&
         AllZero(bytes, kPaddedAt + size_t{padded_count} * 2 * kPositionBytes, kCrcAt);
}

}  // namespace

std::string EncodeStateSlot(const NodeState& state) {
  GAPLESS_ASSERT(state.padded.size() <= kStatePaddedMax);
  std::string bytes(kStateSlotBytes, '\0');
  char* to = bytes.data();
  std::memcpy(to, kStateMagic, 8);
  StoreU32(to + kVersionAt, kStateVersion);
  StoreU32(to + kRoleAt, static_cast<uint32_t>(state.role));
  StoreU64(to + kCounterAt, state.counter);
  StoreU32(to + kOwnTermAt, state.own_epoch.term);
  StoreU32(to + kOwnRunAt, state.own_epoch.run);
  StoreU32(to + kHighestTermAt, state.highest_term);
  StoreU32(to + kFlagsAt, state.incomplete ? kStateFlagIncomplete : 0);
  StoreU64(to + kDurableMarkAt, state.durable_mark);
  StoreU64(to + kFormerMarkAt, state.former_mark);
  StoreU32(to + kIntentAt, static_cast<uint32_t>(state.intent));
  StoreU32(to + kPaddedCountAt, static_cast<uint32_t>(state.padded.size()));
  EncodePosition(state.intent_common, to + kIntentCommonAt);
  EncodePosition(state.intent_end, to + kIntentEndAt);
  StoreU64(to + kGenerationAt, state.generation);
  char* padded = to + kPaddedAt;
  for (const log::PaddedRange& range : state.padded) {
    EncodePosition(range.from, padded);
    EncodePosition(range.to, padded + kPositionBytes);
    padded += 2 * kPositionBytes;
  }
  StoreU32(to + kCrcAt, Crc32c(Slice(to, kCrcAt)));
  return bytes;
}

Result<NodeState> DecodeStateSlot(Slice bytes, const std::string& file, uint64_t base_offset) {
  if (bytes.size() != kStateSlotBytes) {
    return Status::Corrupt("a slot of the state is short", file, base_offset + bytes.size());
  }
  if (std::memcmp(bytes.data(), kStateMagic, 8) != 0) {
    return Status::Corrupt("a slot of the state has another magic", file, base_offset);
  }
  if (Crc32c(bytes.Sub(0, kCrcAt)) != LoadU32(bytes.data() + kCrcAt)) {
    return Status::Corrupt("the checksum of a slot of the state does not hold", file,
                           base_offset + kCrcAt);
  }
  const uint32_t padded_count = LoadU32(bytes.data() + kPaddedCountAt);
  if (padded_count > kStatePaddedMax || !IsKnownSlot(bytes, padded_count)) {
    return Status::Error(Code::kFormatUnsupported, "the state is of another version")
        .WithFile(file, static_cast<int64_t>(base_offset + kVersionAt));
  }
  NodeState state;
  state.role = static_cast<Role>(LoadU32(bytes.data() + kRoleAt));
  state.counter = LoadU64(bytes.data() + kCounterAt);
  state.own_epoch = Epoch{LoadU32(bytes.data() + kOwnTermAt), LoadU32(bytes.data() + kOwnRunAt)};
  state.highest_term = LoadU32(bytes.data() + kHighestTermAt);
  state.incomplete = (LoadU32(bytes.data() + kFlagsAt) & kStateFlagIncomplete) != 0;
  state.durable_mark = LoadU64(bytes.data() + kDurableMarkAt);
  state.former_mark = LoadU64(bytes.data() + kFormerMarkAt);
  state.intent = static_cast<Intent>(LoadU32(bytes.data() + kIntentAt));
  state.intent_common = DecodePosition(bytes.data() + kIntentCommonAt);
  state.intent_end = DecodePosition(bytes.data() + kIntentEndAt);
  state.generation = LoadU64(bytes.data() + kGenerationAt);
  for (uint32_t i = 0; i < padded_count; ++i) {
    const char* at = bytes.data() + kPaddedAt + size_t{i} * 2 * kPositionBytes;
    state.padded.push_back({DecodePosition(at), DecodePosition(at + kPositionBytes)});
  }
  return state;
}

Result<NodeState> DecodeState(Slice bytes, const std::string& file, uint32_t* write_first) {
  Result<NodeState> slots[2] = {Status::Corrupt("the state is short", file, bytes.size()),
                                Status::Corrupt("the state is short", file, bytes.size())};
  for (size_t i = 0; i < 2; ++i) {
    if (bytes.size() < (i + 1) * kStateSlotBytes) continue;
    const uint64_t base = i * kStateSlotBytes;
    slots[i] = DecodeStateSlot(bytes.Sub(base, kStateSlotBytes), file, base);
    // A whole slot that this version cannot read is no damage: never pass over it.
    if (slots[i].status().Is(Code::kFormatUnsupported)) return slots[i].status();
  }
  if (!slots[0].ok() && !slots[1].ok()) return slots[0].status();
  const bool second =
      slots[1].ok() && (!slots[0].ok() || slots[1].value().counter > slots[0].value().counter);
  *write_first = second || slots[1].ok() ? 0 : 1;
  if (!second && slots[1].ok() && slots[1].value().counter < slots[0].value().counter) {
    *write_first = 1;
  }
  return slots[second ? 1 : 0];
}

Status StateFile::Create(io::FileSystem* fs, const std::string& directory, const NodeState& state) {
  const std::string slot = EncodeStateSlot(state);
  return io::PublishFile(fs, directory, io::kStateFile, slot + slot);
}

Result<std::unique_ptr<StateFile>> StateFile::Open(io::FileSystem* fs, const std::string& directory,
                                                   bool read_only) {
  const std::string path = io::JoinPath(directory, io::kStateFile);
  const Result<bool> there = fs->Exists(path);
  if (!there.ok()) return there.status();
  if (!there.value()) return Status::Corrupt("the state is missing", path, 0);
  const Result<std::string> bytes = io::ReadWholeFile(fs, path, kStateFileBytes);
  if (!bytes.ok()) return bytes.status();
  std::unique_ptr<StateFile> file(new StateFile());
  Result<NodeState> state = DecodeState(bytes.value(), path, &file->write_first_);
  if (!state.ok()) return state.status();
  file->state_ = std::move(state.value());
  if (!read_only) {
    Result<std::unique_ptr<io::File>> opened = fs->Open(path, io::OpenMode::kReadWrite);
    if (!opened.ok()) return opened.status();
    file->file_ = std::move(opened.value());
  }
  return file;
}

Status StateFile::Update(NodeState next) {
  GAPLESS_ASSERT(file_ != nullptr);
  RETURN_IF_ERROR(broken_);
  next.counter = state_.counter + 1;
  const std::string slot = EncodeStateSlot(next);
  for (uint32_t turn = 0; turn < 2; ++turn) {
    const uint64_t at = uint64_t{turn == 0 ? write_first_ : 1 - write_first_} * kStateSlotBytes;
    Status status = file_->WriteAt(at, Slice(slot));
    if (status.ok()) status = file_->SyncData();
    if (!status.ok()) {
      broken_ = status.Wrap("write the state");
      return broken_;
    }
  }
  state_ = std::move(next);
  write_first_ = 0;
  return Status::Ok();
}

}  // namespace gapless::engine
