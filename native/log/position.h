// Names of points in a history: epoch, position, ids. Plain values; layouts in docs/FORMAT.md.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "base/slice.h"
#include "base/status.h"

namespace gapless {

using Id128 = std::array<uint8_t, 16>;
struct ClusterId {
  Id128 bytes{};
  bool IsNone() const { return bytes == Id128{}; }
  bool operator==(const ClusterId&) const = default;
};
struct NodeId {
  Id128 bytes{};
  bool operator==(const NodeId&) const = default;
};

// Number of a history, compared term first; written "3.1".
struct Epoch {
  uint32_t term = 0;
  uint32_t run = 0;
  auto operator<=>(const Epoch&) const = default;
};

// A point between two records: what the record before it says. Default: the empty position.
struct Position {
  Epoch epoch;
  uint64_t seq = 0;
  uint64_t offset = 0;
  uint64_t chain = 0;
  bool operator==(const Position&) const = default;
  bool IsEmpty() const { return offset == 0; }
};

inline constexpr size_t kPositionBytes = 32;
void EncodePosition(const Position& position, void* to);
Position DecodePosition(const void* from);

std::string ToText(const Epoch& epoch);        // "3.1"
std::string ToText(const Position& position);  // "3.1:42:4096:9f3c0a5e11d27b60"

// One entry of the epoch list.
struct EpochEntry {
  Epoch epoch;
  Position before;     // position at which the epoch begins (end of the history before it)
  uint64_t chain = 0;  // chain of its EPOCH record
  NodeId node;         // who began it
  uint64_t time_ms = 0;
  uint8_t cause = 0;  // 1 open, 2 promote, 3 repair
  bool operator==(const EpochEntry&) const = default;
};

}  // namespace gapless
