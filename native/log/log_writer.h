// The appending half of the log: two swap buffers, the plan of segments, and the flusher thread.
//
// The sequencer calls Admit and Append; it alone decides where a segment ends, because only then
// can it refuse a record before it has a sequence. It plans with upper bounds (a mark may come
// before every record); the flusher replaces them by facts after each group. The flusher thread
// does
// all I/O, without the mutex.
//
// durable_ <= written_ <= appended_. After poisoned_ is set nothing of the three moves any more.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/thread.h"
#include "log/log.h"
#include "log/segment_set.h"
#include "log/segment_writer.h"

namespace gapless::log {

// Records that wait for the flusher, in one piece of memory that is kept from group to group.
class GroupBuffer {
 public:
  // A record before which a new segment begins.
  struct Break {
    size_t at = 0;
    Position start;
    uint64_t clock = 0;
  };
  // A record that goes into the sparse index.
  struct Point {
    size_t at = 0;
    Position before;
    uint64_t timestamp = 0;
  };

  GroupBuffer() = default;
  ~GroupBuffer();
  GroupBuffer(const GroupBuffer&) = delete;
  GroupBuffer& operator=(const GroupBuffer&) = delete;

  // Room for `bytes` more at the end; the caller fills all of it.
  char* Extend(size_t bytes);
  void Clear();

  const char* data() const { return data_; }
  size_t size() const { return size_; }

  std::vector<Break> breaks;
  std::vector<Point> points;
  uint64_t allowance = 0;    // upper bound in the file of what stands behind the last break
  uint64_t deadline_us = 0;  // when it must be written at the latest
  bool urgent = false;       // holds kSync or kOs
  bool needs_sync = false;   // holds kSync

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

class LogWriter {
 public:
  // `writer` is open at the end of the log.
  LogWriter(const LogOptions& options, SegmentSet* segments, LogListener* listener,
            std::unique_ptr<SegmentWriter> writer, const Position& end, uint64_t timestamp);
  // Ends the thread without writing what is pending, unless Close was called.
  ~LogWriter();

  Status Start();
  Admission Admit(uint64_t record_bytes);
  void Append(const void* header, Slice body, const Position& after, Durability want);
  void Kick();
  LogProgress progress() const;
  Status SyncTo(uint64_t offset, uint64_t timeout_ms);
  // Wakes the flusher to remove what nobody needs.
  void Retain();
  // Ends the thread after everything is durable; then marks and trims.
  Status Close(const std::function<Status(const Position& end)>& publish_mark);

 private:
  enum class Step : uint8_t { kGroup, kSync, kAllocate, kRetain, kEnd, kWait };

  // Sequencer.
  bool FitsPlanned(uint64_t record_bytes) const REQUIRES(mutex_);
  bool PlannedIsEmpty() const REQUIRES(mutex_);
  Admission AskForRoom(uint64_t record_bytes) REQUIRES(mutex_);
  void BreakSegment(uint64_t record_bytes) REQUIRES(mutex_);
  void WakeFlusher() REQUIRES(mutex_);

  // Flusher.
  void Run();
  Step NextStep(uint64_t now, uint64_t* wait_us) const REQUIRES(mutex_);
  bool GroupIsDue(uint64_t now, uint64_t* wake) const REQUIRES(mutex_);
  bool SyncIsDue(uint64_t now, uint64_t* wake) const REQUIRES(mutex_);
  bool AllocateIsDue(uint64_t now, uint64_t* wake) const REQUIRES(mutex_);
  Status FlushGroup();
  Status WritePart(size_t from, size_t to, const Position& end);
  void IndexPart(Segment* segment, size_t from, size_t to, uint64_t file_position);
  Status SyncWritten();
  Status RaiseDurable(const Position& position);
  Status Rotate(const GroupBuffer::Break& at);
  void WriteSidecar(const Segment& segment);
  void FinishGroup();
  Status AllocateStep();
  Status PrepareAtLeast(uint64_t wanted, uint64_t standard);
  void Refuse(uint64_t bytes, const Status& why);
  void EndNoSpace();
  Status RetainStep();
  void Poison(const Status& why);
  void ReportProgress();
  void ReportRoom();
  LogProgress ProgressLocked() const REQUIRES(mutex_);

  const LogOptions& options_;
  SegmentSet* const segments_;
  LogListener* const listener_;

  // Flusher thread only (and Open, Close).
  std::unique_ptr<SegmentWriter> writer_;
  std::shared_ptr<Segment> current_;             // the segment that is written
  GroupBuffer* flight_;                          // the group that is being written
  std::deque<std::shared_ptr<Segment>> doomed_;  // out of the set, files not removed yet

  mutable Mutex mutex_;
  CondVar work_;  // the flusher waits
  CondVar done_;  // SyncTo waits
  GroupBuffer buffers_[2];
  GroupBuffer* active_ GUARDED_BY(mutex_);
  Position appended_ GUARDED_BY(mutex_);
  uint64_t timestamp_ GUARDED_BY(mutex_);  // of the last record appended
  Position written_ GUARDED_BY(mutex_);
  Position durable_ GUARDED_BY(mutex_);

  // The plan: where the next record goes.
  uint64_t planned_fill_ GUARDED_BY(mutex_) = 0;
  uint64_t planned_capacity_ GUARDED_BY(mutex_) = 0;
  uint64_t planned_start_ GUARDED_BY(mutex_) = 0;
  uint64_t next_capacity_ GUARDED_BY(mutex_) = 0;  // of the prepared segment; 0: none
  bool next_claimed_ GUARDED_BY(mutex_) = false;   // a break waits for the flusher
  uint64_t unindexed_ GUARDED_BY(mutex_) = 0;      // record bytes behind the last index point

  // Requests to the flusher.
  bool pressed_ GUARDED_BY(mutex_) = false;  // flush whatever there is
  uint64_t sync_wanted_ GUARDED_BY(mutex_) = 0;
  uint64_t next_wanted_ GUARDED_BY(mutex_) = 0;
  uint64_t grow_wanted_ GUARDED_BY(mutex_) = 0;
  bool retain_wanted_ GUARDED_BY(mutex_) = false;
  bool room_wanted_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  bool abandoned_ GUARDED_BY(mutex_) = false;
  bool flusher_waits_ GUARDED_BY(mutex_) = false;
  uint32_t sync_waiters_ GUARDED_BY(mutex_) = 0;

  // Times on the clock, in microseconds.
  uint64_t sync_deadline_ GUARDED_BY(mutex_) = 0;  // of unsynced records or marks; 0: none
  uint64_t retry_at_ GUARDED_BY(mutex_) = 0;

  bool no_space_ GUARDED_BY(mutex_) = false;
  uint64_t refused_bytes_ GUARDED_BY(mutex_) = 0;  // could not be allocated
  uint32_t refusals_ GUARDED_BY(mutex_) = 0;
  bool poisoned_ GUARDED_BY(mutex_) = false;
  Status poison_ GUARDED_BY(mutex_);
  uint64_t fdatasyncs_ GUARDED_BY(mutex_) = 0;
  uint64_t writes_ GUARDED_BY(mutex_) = 0;
  Thread thread_;
};

}  // namespace gapless::log
