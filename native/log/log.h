// The write-ahead log of one generation: appending, group commit, reading, retention.
//
// Threads. Append/Admit are called by the sequencer only, one call at a time, in commit order (the
// engine's commit mutex is held). One flusher thread, owned here, writes and fdatasyncs groups, one
// in flight at a time, rotates segments and prepares the next one. Everything else may be called
// from any thread. The listener is called on the flusher thread, without a lock of the log held.
//
// Invariants: durable <= written <= appended, all three record ends. After the first failed write
// or
// sync of log bytes the log is poisoned for ever: nothing is written or acknowledged any more (P4).
// Nothing at or behind a hold, the base or `logRetainBytes` is removed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "log/position.h"
#include "log/record.h"
#include "log/recovery.h"

namespace gapless::log {

enum class Durability : uint8_t { kSync = 0, kOs = 1, kMemory = 2 };

struct LogOptions {
  io::FileSystem* fs = nullptr;
  io::Clock* clock = nullptr;
  std::string directory;  // gen-NNNNNN/log
  ClusterId cluster;
  Id128 secret{};  // of the marks
  uint64_t segment_bytes = 64 << 20;
  uint64_t retain_bytes = 256 << 20;  // log kept beyond every need
  uint64_t pending_bytes = 64 << 20;
  uint32_t flush_interval_ms = 50;   // kMemory: longest time unwritten
  uint32_t sync_interval_ms = 1000;  // kOs, kMemory: longest time unsynced
  bool read_only = false;            // no flusher, no change on disk
};

// What Admit says about the next record.
enum class Admission : uint8_t {
  kGo,
  kWait,     // pendingBytes reached, or the next segment is being prepared: OnRoom will be called
  kNoSpace,  // the next segment cannot be allocated; retried in the background
  kPoisoned,
  kClosed,
};

struct LogProgress {
  Position appended;
  Position written;
  Position durable;
  bool poisoned = false;
  bool no_space = false;
  uint64_t pending_bytes = 0;  // appended and not yet written
  uint64_t fdatasyncs = 0;     // counters since open
  uint64_t writes = 0;
};

// Called on the flusher thread; must be quick and must not call back into the log but for the
// read-only methods.
class LogListener {
 public:
  virtual ~LogListener() = default;
  virtual void OnProgress(const LogProgress& progress) = 0;  // written, durable or poisoned changed
  virtual void OnRoom() = 0;                                 // Admit may now say kGo
  virtual void OnNoSpace(const Status& why) = 0;             // once when it begins
  virtual void OnSpaceBack() = 0;                            // once when it ends
  virtual void OnPoisoned(const Status& why) = 0;            // once
};

enum class HoldKind : uint8_t { kSlot, kSnapshot, kCheckpoint, kReader };
using HoldId = uint64_t;  // 0: none
struct HoldInfo {
  HoldId id = 0;
  HoldKind kind = HoldKind::kReader;
  std::string name;
  uint64_t offset = 0;
  uint64_t max_bytes = 0;  // 0: no cap
};

struct LogStats {
  uint64_t floor = 0;  // lowest offset that can be read
  uint64_t end = 0;
  uint64_t durable = 0;
  uint64_t segments = 0;
  uint64_t file_bytes = 0;
  uint64_t fdatasyncs = 0;  // counters since open, of record bytes
  uint64_t writes = 0;
  std::vector<HoldInfo> holds;
};

// Raw records [from, from + bytes.size()), whole records only.
struct LogChunk {
  std::string bytes;
  Position before;  // position at the chunk's first record
  Position after;
};

class Log {
 public:
  virtual ~Log() = default;

  // Makes an empty log directory content: the first segment, beginning at `start`, synced, with the
  // directory. The directory exists and is empty; or, for a padded segment, holds a log that was
  // cut
  // at the padded range's beginning and is not open.
  static Status Create(const LogOptions& options, const Position& start, uint64_t clock,
                       bool padded = false);
  // Opens behind a recovery scan whose verdict was clean or tail. A tail is erased on disk and
  // synced
  // before this returns (not with read_only). Starts the flusher.
  static Result<std::unique_ptr<Log>> Open(const LogOptions& options, const ScanResult& scan,
                                           LogListener* listener);

  // --- appending: sequencer only ---
  // May the record of `record_bytes` be appended now? kGo reserves room until the Append behind it.
  virtual Admission Admit(uint64_t record_bytes) = 0;
  // Copies header (56 bytes, sealed) and body, adds padding. `want` says how soon it must be
  // written
  // and synced. Requires: Admit said kGo for exactly these bytes.
  virtual void Append(const void* header, Slice body, const Position& after, Durability want) = 0;
  // Wakes the flusher for what was appended with kSync or kOs; called once behind the appends of a
  // critical section, outside the mutex if possible.
  virtual void Kick() = 0;

  // --- progress ---
  virtual LogProgress progress() const = 0;
  // Asks for fdatasync up to `offset` and waits for it, in every mode. kPoisoned, kClosed,
  // kTimeout.
  virtual Status SyncTo(uint64_t offset, uint64_t timeout_ms) = 0;

  // --- reading: any thread ---
  // Whole records from `from` (a record start) to at most `until`, at least one if one is there, up
  // to `max_bytes` unless one record is larger. Verifies header CRC, body CRC and chain of each.
  // kEvicted below the floor, kCorrupt with file and offset, kPositionUnavailable if `from` is no
  // record start. from == until gives an empty chunk. Reads what was written; never pending bytes.
  virtual Result<LogChunk> Read(uint64_t from, uint64_t until, uint64_t max_bytes) = 0;
  // The position whose record end is exactly `offset` (or the log's start). kEvicted,
  // kNotARecordEnd.
  virtual Result<Position> PositionAt(uint64_t offset) = 0;
  // The position before the record that holds `seq`. kEvicted, kPositionUnavailable (beyond the
  // end).
  virtual Result<Position> PositionBeforeSeq(uint64_t seq) = 0;

  // --- retention ---
  // Registers first and judges afterwards, in one step with deletion: kEvicted if already gone.
  virtual Result<HoldId> AddHold(HoldKind kind, const std::string& name, uint64_t offset,
                                 uint64_t max_bytes) = 0;
  // Forward only. Returns kEvicted if the hold was dropped because it pinned more than max_bytes.
  virtual Status MoveHold(HoldId id, uint64_t offset) = 0;
  virtual void ReleaseHold(HoldId id) = 0;
  virtual bool HoldIsAlive(HoldId id) const = 0;
  // Nothing at or above the base is released (the newest checkpoint needs it to the end).
  virtual void SetBase(uint64_t offset) = 0;
  virtual LogStats stats() const = 0;

  // Writes and syncs everything, makes the mark durable, trims preallocated space so that the file
  // ends with its last record, stops the flusher. `*end` is what STATE's durableMark must say
  // (called by the engine BEFORE trimming through `publish_mark`, which must make it durable).
  // After a poisoning it only stops the thread and returns kPoisoned.
  virtual Status Close(const std::function<Status(const Position& end)>& publish_mark) = 0;
};

}  // namespace gapless::log
