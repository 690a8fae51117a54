// The recovery scan: from the bytes of a log directory to a verdict. DESIGN section 4, "Recovery
// decision table". The decision itself (Decide) is a pure function; ScanLog feeds it.
//
//   h = first offset at which no valid record stands, D = highest durable mark found anywhere.
//   h <  D: corrupt: file and offset of the damage; nothing is changed.
//   h >= D: tail: cut at h, whatever stands behind it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"
#include "log/meta_state.h"
#include "log/position.h"
#include "log/record.h"
#include "log/segment.h"

namespace gapless::log {

struct ScanOptions {
  io::FileSystem* fs = nullptr;
  std::string directory;  // gen-NNNNNN/log
  ClusterId cluster;
  Id128 secret{};
  Position from;                // newest checkpoint: the scan begins at this record end
  uint64_t from_timestamp = 0;  // clock ceiling there
  uint64_t durable_mark = 0;    // lower bound of D from STATE and manifest
  // The whole retained log is verified from its first segment on (verify, --deep), not only the
  // part
  // behind `from`.
  bool whole = false;
  // Stop here as if no valid record stood behind it: a cut that an operator or a rewind decided.
  // If it is no record end, the scan stops at the last one below it.
  uint64_t until = UINT64_MAX;
  // A jump over a padded segment's beginning is accepted only where one of these says so.
  std::vector<PaddedRange> padded;
};

enum class ScanVerdict : uint8_t {
  kClean,    // ends at h with nothing behind it
  kTail,     // something unsynced stands behind h: cut
  kCorrupt,  // h below D
};

// The rule of the table. `anything_behind`: something but zeros stands behind h.
ScanVerdict Decide(uint64_t h, uint64_t durable, bool anything_behind);

// One place of damage, in the words of INTERFACES section 15 (`verify`).
struct Damage {
  std::string kind;         // log, run, manifest, state, identity, current, snapshot, index
  std::string file;         // as the scan saw it: a path
  uint64_t offset = 0;      // byte in the file
  uint64_t log_offset = 0;  // only for the log
  // header_crc, body_crc, chain, missing, short, footer, magic, format, ...
  std::string what;
  uint64_t seq = 0;  // only for the log: the sequence expected there
};

struct SegmentInfo {
  std::string path;
  Position start;
  uint64_t clock = 0;  // timestamp before its first record
  uint64_t file_bytes = 0;
  bool padded = false;
};

struct TailCut {
  Position from;  // == end of the scan
  std::string file;
  uint64_t file_offset = 0;
  // non-zero bytes behind it, from the cut to the last non-zero byte, all segments
  uint64_t bytes = 0;
  uint64_t valid_records = 0;  // records behind it that verify by themselves (header and body CRC)
};

struct ScanResult {
  ScanVerdict verdict = ScanVerdict::kClean;
  Position end;  // h
  uint64_t end_timestamp = 0;
  uint64_t durable_mark = 0;     // D
  uint64_t end_file_offset = 0;  // byte in the last segment behind the last valid record or mark
  // Byte in the last segment up to which D covers the records, and what stands before it; marks in
  // front of it may be unsynced.
  uint64_t proven_file_offset = 0;
  Position proven;
  uint64_t proven_timestamp = 0;
  std::vector<SegmentInfo> segments;  // in order; those that survive the cut, the last one holds h
  TailCut cut;                        // if verdict is kTail
  std::vector<Damage> damage;         // if kCorrupt, the first one first
  uint64_t records = 0;
  std::vector<IndexEntry> index;  // of the last segment, as far as it was walked
  Status ToStatus() const;        // kCorrupt with file, offset and the repair command, or OK
};

// Called for each valid record behind `from`, in order, with the position before and after it.
// A failure ends the scan with that status.
using RecordSink =
    std::function<Status(const RecordView& record, const Position& before, const Position& after)>;

// Reads and judges; changes nothing on disk. I/O errors are errors, not damage.
Result<ScanResult> ScanLog(const ScanOptions& options, const RecordSink& sink);

// Cuts at the end of `scan` (kTail, or kCorrupt after the operator or a resync decided so): removes
// later segments (highest first, each synced), erases what stands behind h by cutting the file off,
// syncs. Every crash on the way leaves the old log, a prefix of it down to the segment of h, or the
// cut one; repeating it is safe.
Status CutLog(const ScanOptions& options, const ScanResult& scan);

}  // namespace gapless::log
