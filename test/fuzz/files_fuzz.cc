// The small files (identity, state, current, manifest, token, sidecar index) and the meta state
// block: whatever decodes encodes to the same bytes, so no content has two forms and no byte is
// ignored.
#include <cstring>

#include "base/coding.h"
#include "base/crc32c.h"
#include "engine/current.h"
#include "engine/identity.h"
#include "engine/manifest.h"
#include "engine/state_file.h"
#include "fuzz.h"
#include "log/meta_state.h"
#include "log/segment.h"
#include "snapshot/snapshot.h"

namespace gapless::fuzz {
namespace {

enum Kind : uint8_t { kIdentity, kState, kCurrent, kManifest, kToken, kMeta, kIndex, kKinds };
constexpr uint8_t kRepair = 8;  // mode bit; the kind stands in the lowest three

void SealEnd(std::string* bytes) {
  if (bytes->size() < 4) return;
  const size_t covered = bytes->size() - 4;
  StoreU32(bytes->data() + covered, Crc32c(Slice(bytes->data(), covered)));
}

// Repairs the checksum and, where there is one, the length.
void Repair(Kind kind, std::string* bytes) {
  const auto length = static_cast<uint32_t>(bytes->size());
  if (kind == kMeta && length >= 8) StoreU32(bytes->data() + 4, length);
  if ((kind == kManifest || kind == kToken) && length >= 16) StoreU32(bytes->data() + 12, length);
  if (kind == kState) bytes->resize(engine::kStateSlotBytes);
  if (kind == kIdentity) bytes->resize(engine::kIdentityBytes);
  if (kind == kCurrent) return;
  if (kind != kIndex) return SealEnd(bytes);
  if (length < log::kIndexHeaderBytes) return;
  const uint32_t head = Crc32c(0, bytes->data(), 24);
  StoreU32(bytes->data() + 24,
           Crc32c(head, bytes->data() + log::kIndexHeaderBytes, length - log::kIndexHeaderBytes));
}

template <typename T, typename Encode>
void CheckSame(const Result<T>& decoded, Slice bytes, Encode encode) {
  if (!decoded.ok()) {
    FUZZ_CHECK(decoded.status().Is(Code::kCorrupt) ||
               decoded.status().Is(Code::kFormatUnsupported));
    FUZZ_CHECK(decoded.status().file() == "file");
    return;
  }
  FUZZ_CHECK(Slice(encode(decoded.value())) == bytes);
}

void DecodeIndex(Slice bytes) {
  constexpr uint64_t kStart = 4096;
  std::vector<log::IndexEntry> entries;
  if (!log::DecodeSegmentIndex(bytes, kStart, &entries)) return;
  FUZZ_CHECK(Slice(log::EncodeSegmentIndex(kStart, entries)) == bytes);
  for (const uint64_t offset : {uint64_t{0}, kStart, kStart + 100, UINT64_MAX}) {
    const log::IndexEntry* const found = log::FindIndexEntry(entries, offset);
    FUZZ_CHECK(found == nullptr || found->before.offset <= offset);
  }
}

void DecodeBothSlots(Slice bytes) {
  uint32_t write_first = 0;
  (void)engine::DecodeState(bytes, "file", &write_first);
  FUZZ_CHECK(write_first < 2);
}

void Run(Slice input) {
  const uint8_t mode = TakeMode(&input);
  const auto kind = static_cast<Kind>(mode % 8);
  std::string repaired;
  if ((mode & kRepair) != 0) {
    repaired = input.ToString();
    Repair(kind, &repaired);
    input = repaired;
  }
  switch (kind) {
    case kIdentity:
      return CheckSame(engine::DecodeIdentity(input, "file"), input, engine::EncodeIdentity);
    case kState:
      DecodeBothSlots(input);
      return CheckSame(engine::DecodeStateSlot(input, "file", 0), input, engine::EncodeStateSlot);
    case kCurrent:
      return CheckSame(engine::DecodeCurrent(input, "file"), input, engine::EncodeCurrent);
    case kManifest:
      return CheckSame(engine::DecodeManifest(input, "file"), input, engine::EncodeManifest);
    case kToken:
      return CheckSame(snapshot::DecodeToken(input, "file"), input, snapshot::EncodeToken);
    case kMeta:
      return CheckSame(log::DecodeMetaState(input, "file", 0), input, log::EncodeMetaState);
    case kIndex:
    case kKinds:
      return DecodeIndex(input);
  }
}

log::MetaState SampleMeta() {
  log::MetaState meta;
  meta.clock = 99 << 16;
  meta.position = {{2, 1}, 40, 4096, 0x1234};
  meta.epochs.push_back({{1, 0}, {}, 5, {}, 1700000000000, 1});
  meta.epochs.push_back({{2, 1}, {{1, 0}, 9, 512, 6}, 7, {}, 1700000000001, 2});
  meta.cursors.push_back({"indexer", {{1, 0}, 9, 512, 6}});
  meta.slots.push_back({{}, 512});
  meta.padded.push_back({{{1, 0}, 9, 512, 6}, {{2, 1}, 12, 640, 8}});
  return meta;
}

std::string Of(Kind kind, const std::string& bytes) {
  return std::string(1, static_cast<char>(kind | kRepair)) + bytes;
}

std::vector<std::string> Seeds() {
  engine::NodeState state;
  state.own_epoch = {2, 1};
  state.highest_term = 3;
  state.durable_mark = 4096;
  state.padded.push_back({{{1, 0}, 9, 512, 6}, {{2, 1}, 12, 640, 8}});
  engine::IdentityFile identity;
  identity.shards = 4;
  engine::Manifest manifest;
  manifest.generation = 2;
  manifest.number = 3;
  manifest.kept = 2;
  manifest.next_run = 9;
  manifest.runs = {{7, 0, 0, 400, 17, 2, 1, 300, 1, 30, {"a", "b", false}, {}},
                   {8, 1, 6, 500, 18, 0, 0, 400, 2, 40, {"", "", true}, {{6, 9064, 9000}}}};
  manifest.meta = SampleMeta();
  snapshot::Token token;
  token.created_ms = 5;
  token.flows = {{0, 3, 30, 400, 17}, {1, 4, 40, 500, 18}};
  token.meta = SampleMeta();
  std::vector<log::IndexEntry> index;
  index.push_back({{{1, 0}, 9, 4096, 6}, 128, 5});
  index.push_back({{{1, 0}, 30, 9096, 6}, 5800, 6});
  return {Of(kIdentity, engine::EncodeIdentity(identity)),
          Of(kState, engine::EncodeStateSlot(state)),
          Of(kCurrent, engine::EncodeCurrent(7)),
          Of(kManifest, engine::EncodeManifest(manifest)),
          Of(kToken, snapshot::EncodeToken(token)),
          Of(kMeta, log::EncodeMetaState(SampleMeta())),
          Of(kIndex, log::EncodeSegmentIndex(4096, index))};
}

const Registration kTarget({"files", Run, Seeds});

}  // namespace
}  // namespace gapless::fuzz
