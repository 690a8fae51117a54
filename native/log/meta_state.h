// What belongs to a position besides the entries: epoch list, clock ceiling, cursors, slots.
// Stands in manifests and snapshots and travels in a full sync. Layout: docs/FORMAT.md "Meta
// state".
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "log/position.h"
#include "log/record.h"

namespace gapless::log {

struct CursorEntry {
  std::string name;
  Position position;
  bool operator==(const CursorEntry&) const = default;
};
struct SlotEntry {
  NodeId node;
  uint64_t created_at = 0;  // offset
  bool operator==(const SlotEntry&) const = default;
};
struct PaddedRange {
  Position from;
  Position to;
  bool operator==(const PaddedRange&) const = default;
};

struct MetaState {
  uint64_t features = 0;
  uint64_t clock = 0;  // timestamp of the record before `position`
  Position position;
  // ascending; at most kEpochsMax, older ones folded into the first
  std::vector<EpochEntry> epochs;
  std::vector<CursorEntry> cursors;  // by name
  std::vector<SlotEntry> slots;
  std::vector<PaddedRange> padded;
  bool operator==(const MetaState&) const = default;

  // Advances by one verified record, whatever its kind: position, clock, epochs, cursors, slots.
  void Advance(const RecordView& record, const Position& before, const Position& after);
  // The epoch entry that holds the record end `position` (its epoch), or null.
  const EpochEntry* Find(Epoch epoch) const;
};

inline constexpr size_t kEpochsMax = 4096;
inline constexpr size_t kCursorsMax = 1024;
inline constexpr size_t kSlotsMax = 64;

std::string EncodeMetaState(const MetaState& state);
// kCorrupt (crc, short), kFormatUnsupported. `file` and `base_offset` only name the place in
// errors.
Result<MetaState> DecodeMetaState(Slice bytes, const std::string& file, uint64_t base_offset);

}  // namespace gapless::log
