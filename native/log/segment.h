// Byte codecs of a segment: header, mark, sidecar index. Pure functions, any thread.
// Layouts: docs/FORMAT.md "Segment", "Mark", "Sidecar index".
#pragma once

#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"
#include "log/format.h"
#include "log/position.h"

namespace gapless::log {

// The segment that is allocated ahead of need; it gets its real name when its start is known.
inline constexpr char kNextSegmentFile[] = "next.tmp";
// One index entry per this many bytes of a segment file.
inline constexpr uint64_t kIndexIntervalBytes = 64 << 10;

struct SegmentHeader {
  ClusterId cluster;
  Position start;
  uint64_t clock = 0;  // timestamp of the record before the first
  bool padded = false;
};

enum class HeaderCheck : uint8_t { kOk, kShort, kMagic, kCrc, kFormat, kCluster };
const char* HeaderCheckText(HeaderCheck check);  // in the words of Damage::what

void EncodeSegmentHeader(const SegmentHeader& header, void* to);  // kSegmentHeaderBytes
// Checks magic, CRC, version, reserved bytes and cluster, in this order.
HeaderCheck DecodeSegmentHeader(const ClusterId& cluster, Slice bytes, SegmentHeader* header);

struct Mark {
  uint64_t offset = 0;   // log offset at which it stands
  uint64_t durable = 0;  // log offset up to which fdatasync was confirmed
};

// Where a mark belongs: it proves nothing anywhere else.
struct MarkPlace {
  Id128 secret{};
  uint64_t segment_start = 0;
  uint64_t file_position = 0;
};

void EncodeMark(const MarkPlace& place, const Mark& mark, void* to);  // kMarkBytes
// False unless the bytes are a mark that was written for exactly this place.
bool DecodeMark(const MarkPlace& place, const void* bytes, Mark* mark);

// A place inside a segment from which a walk can begin.
struct IndexEntry {
  Position before;             // position before the record
  uint64_t file_position = 0;  // of the record, or of a mark in front of it
  uint64_t timestamp = 0;      // of the record before
};

std::string EncodeSegmentIndex(uint64_t start, const std::vector<IndexEntry>& entries);
// False if anything is wrong with it: an index is a cache.
bool DecodeSegmentIndex(Slice bytes, uint64_t start, std::vector<IndexEntry>* entries);
// Reads `path`; no index if it is missing, unreadable or wrong.
std::vector<IndexEntry> LoadSegmentIndex(io::FileSystem* fs, const std::string& path,
                                         uint64_t start);
// The last entry at or below `offset`, or null.
const IndexEntry* FindIndexEntry(const std::vector<IndexEntry>& entries, uint64_t offset);

}  // namespace gapless::log
