// The segments that can be read, the holds on them, and what may be removed.
//
// The flusher adds segments, says how far the last one is written, and removes; any thread reads,
// holds and releases. One mutex: a hold is registered and judged in one step with removal, so that
// it either keeps its bytes or is told that they are gone.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/segment.h"

namespace gapless::log {

// One segment. Its file is opened at the first read and stays usable when the name is gone.
class Segment {
 public:
  Segment(std::string path_in, const Position& start_in, uint64_t clock_in)
      : path(std::move(path_in)), start(start_in), clock(clock_in) {}

  const std::string path;
  const Position start;
  const uint64_t clock;

  mutable Mutex mutex;
  std::shared_ptr<io::File> file GUARDED_BY(mutex);
  bool index_known GUARDED_BY(mutex) = false;
  std::vector<IndexEntry> index GUARDED_BY(mutex);
};

// What a reader needs of a segment, as of one moment.
struct SegmentView {
  std::shared_ptr<Segment> segment;
  uint64_t end = 0;         // log offset up to which it may be read
  uint64_t file_limit = 0;  // and the byte in the file
  Position written;         // of the whole log, then
};

class SegmentSet {
 public:
  explicit SegmentSet(uint64_t retain_bytes) : retain_bytes_(retain_bytes) {}

  // --- flusher, or before it runs ---
  void Add(std::shared_ptr<Segment> segment, uint64_t file_limit);
  // The last segment may be read up to `file_limit`, where `written` stands.
  void SetWritten(const Position& written, uint64_t file_limit);
  // Takes what nobody needs any more out of the set, oldest first; the floor rises at once.
  std::vector<std::shared_ptr<Segment>> TakeRemovable();

  // --- any thread ---
  // The segment that holds the record at `offset` (its end, if it is the end of the log).
  // kEvicted, kPositionUnavailable.
  Result<SegmentView> Find(uint64_t offset) const;
  Result<SegmentView> FindSeq(uint64_t seq) const;
  Position written() const;
  uint64_t floor() const;

  Result<HoldId> AddHold(HoldKind kind, const std::string& name, uint64_t offset,
                         uint64_t max_bytes);
  // *removable: something may be removed now.
  Status MoveHold(HoldId id, uint64_t offset, bool* removable);
  void ReleaseHold(HoldId id);
  bool HoldIsAlive(HoldId id) const;
  void SetBase(uint64_t offset);
  void FillStats(LogStats* stats) const;

 private:
  struct Entry {
    std::shared_ptr<Segment> segment;
    uint64_t file_limit = 0;
  };

  SegmentView ViewOf(size_t index) const REQUIRES(mutex_);
  uint64_t KeepFrom() const REQUIRES(mutex_);
  size_t RemovableCount() const REQUIRES(mutex_);
  void DropOversized() REQUIRES(mutex_);

  const uint64_t retain_bytes_;
  mutable Mutex mutex_;
  std::deque<Entry> segments_ GUARDED_BY(mutex_);
  Position written_ GUARDED_BY(mutex_);
  std::vector<HoldInfo> holds_ GUARDED_BY(mutex_);
  HoldId next_hold_ GUARDED_BY(mutex_) = 1;
  uint64_t base_ GUARDED_BY(mutex_) = 0;  // nothing goes before the engine named a checkpoint
};

}  // namespace gapless::log
