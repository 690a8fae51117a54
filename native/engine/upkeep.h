// Background upkeep of one generation: sealed memtables are flushed into runs, runs are merged, and
// the manifest follows.
//
// Protocol. One flush is under way at a time, and one merge.
//   seal     with the engine's commit mutex held, when everything applied is visible: the memtables
//            and the O(1) snapshot of the history at that record end are taken together.
//   flush    the log is synced up to that position, in every durability mode (log first); each
//            shard's sealed memtable is merged into a run of level 0; the checkpoint is published;
//            the store takes the runs in the place of the memtables; the log's base moves.
//   merge    a plan of the picker: merged (or moved), published, taken by the store.
// A publication and its install are one step of install_mutex_, so that no tree lacks the runs of
// another one.
//
// Failures. What was written is discarded, the error is kept for the report, and the step is tried
// again, 250 ms later, then later and later up to 5 s. A run that is damaged is left out of merging
// until the store is opened again; a compaction that passed over one ends with its error. On a
// poisoned log nothing is flushed, merged or published any more. Back-pressure: pressure.h.
//
// Threads: one for flushes, one of lower priority for merges. Methods marked "commit mutex" are
// called with it held, which is taken before every lock here. The owner is called from both threads
// without a lock of this file.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/thread.h"
#include "engine/checkpoints.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/pressure.h"
#include "table/merge.h"
#include "table/merge_picker.h"

namespace gapless::engine {

class UpkeepOwner {
 public:
  virtual ~UpkeepOwner() = default;
  // A flush wrote some more, ended or failed: who waits for the memtables may look again.
  virtual void OnUpkeep(const Generation* from) = 0;
  // What checkpoints are kept for, of a history that ends at `head`; `head` itself: nothing.
  virtual Position UndoFloor(const Generation* of, const Position& head) const = 0;
};

class Upkeep {
 public:
  // `generation` has its log and its checkpoints, and outlives this.
  Upkeep(Generation* generation, const Options& options, const ClusterId& cluster,
         UpkeepOwner* owner);
  ~Upkeep();
  Upkeep(const Upkeep&) = delete;
  Upkeep& operator=(const Upkeep&) = delete;

  // Idempotent; a thread that cannot be started now may be started later.
  Status Start();
  // Merging ends where it stands; flushes go on, without waiting for anything but the disk.
  void BeginClose();
  // There is somebody to flush.
  bool flushes() const { return flushes_.load(); }
  // Ends everything where it stands and joins. Idempotent.
  void Stop();
  // Goes on behind Stop, for a caller that has to change its mind.
  void Resume();

  // --- commit mutex ---
  // Looks at the memtables, behind everything that was applied to them. True: they ought to be
  // sealed as soon as everything applied is visible, at `visible`.
  bool SealIsDue(uint64_t visible);
  // Requires: everything applied is visible, no writer of the tables runs, and nothing sealed
  // waits.
  void Seal(const History& history);
  // The next moment that allows a seal is one.
  void WantSeal() { seal_wanted_.store(true); }
  bool SealedWaits() const { return sealed_waits_.load(); }

  // --- any thread ---
  // The memtables may take another batch, as of the last look at them.
  bool HasRoom(uint64_t more_bytes = 0) const;
  // Not OK: what waits for room has no hope of it for now (kNoSpace, kIo).
  Status blocked() const;
  // Waits until the checkpoint stands at or behind `offset`; an attempt that fails ends the wait
  // with its error. kClosed, kPoisoned, kTimeout.
  Status AwaitCheckpoint(uint64_t offset, uint64_t timeout_ms);
  // Asks for a merge of what overlaps `extent` down to the bottom, once the checkpoint stands at
  // `through`; `bytes_before` is for its report. Returns its number.
  Result<uint64_t> StartCompact(const table::Extent& extent, uint64_t through,
                                uint64_t bytes_before);
  // Waits so long at most; empty: not done yet. kClosed, kUsage (unknown), or what ended it: each
  // number is answered once.
  Result<std::optional<CompactReport>> AwaitCompact(uint64_t compaction, uint64_t timeout_us);
  void CancelCompact(uint64_t compaction);
  void OnPoisoned();
  Position checkpoint() const;
  void FillReport(StoreReport* report) const;
  // What can be said of the runs of any generation, one that nothing is written to included.
  static void FillRuns(const Generation& generation, StoreReport* report);
  // Runs in level 0 of the shard that has most, where merging may make them fewer.
  uint64_t Level0Runs() const;

 private:
  struct FlushJob {
    History::Snapshot at;
    std::shared_ptr<const table::SealedTables> tables;  // null: the memtables were empty
  };
  struct CompactRequest {
    uint64_t id = 0;
    table::Extent extent;
    uint64_t through = 0;         // the checkpoint must be here first
    uint64_t failed_flushes = 0;  // when it was asked for
    bool begun = false;
    uint64_t done_through = 0;  // newest run when it began
    CompactReport report;
    bool done = false;
    Status status;
  };
  struct NextMerge {
    table::MergePlan plan;
    uint64_t requested = 0;  // by this compaction; 0: by the picker
  };

  // upkeep.cc
  Status EndedLocked() const REQUIRES(mutex_);
  void SetLimitLocked() REQUIRES(mutex_);
  Result<table::RunList> OpenRuns(const std::vector<table::RunInfo>& infos) const;

  // upkeep_flush.cc
  void FlushLoop();
  bool TakeFlush(FlushJob* job);
  Status WaitForMerging();
  Status Flush(const FlushJob& job);
  Status SyncLog(uint64_t offset);
  Status WriteShards(const FlushJob& job, std::vector<table::RunInfo>* written);
  Status PaceFlush(uint64_t bytes);
  Status InstallFlush(const FlushJob& job, const std::vector<table::RunInfo>& written);
  void EndFlush(const FlushJob& job, const Status& status);
  void BlockLocked(const Status& why, uint32_t failures) REQUIRES(mutex_);

  // upkeep_merge.cc
  void MergeLoop();
  bool NextPlan(NextMerge* next);
  bool LookForPlan(NextMerge* next, bool* idle);
  std::optional<table::MergePlan> NextRequestedLocked(const table::RunTree& tree,
                                                      const table::PickerOptions& picker,
                                                      const std::vector<uint64_t>& busy)
      REQUIRES(mutex_);
  void EndRequestLocked(const Status& status) REQUIRES(mutex_);
  Status DamageLocked(const table::RunTree& tree, const table::Extent& extent) const
      REQUIRES(mutex_);
  void DropOldCheckpoint();
  table::PickerOptions PickerNow() const;
  table::MergeRequest NewRequest(uint64_t seq, uint64_t clock) const;
  Status RunPlan(const table::MergePlan& plan);
  Status Move(const table::MergePlan& plan);
  Status MergePlanned(const table::MergePlan& plan);
  Status InstallMerge(const table::RunList& removed, const table::RunList& added);
  Status PaceMerge(uint64_t bytes);
  void EndMerge(const NextMerge& next, const Status& status);
  void ExcludeLocked(const table::MergePlan& plan, const Status& status) REQUIRES(mutex_);

  Generation* const generation_;
  io::Clock* const clock_;
  UpkeepOwner* const owner_;
  const uint64_t memtable_bytes_;
  const table::RunOptions run_options_;
  const table::PickerOptions picker_;

  // Written with the commit mutex held but for checkpoint_ and flushed_.
  std::atomic<bool> sealed_waits_{false};
  std::atomic<bool> seal_wanted_{false};
  std::atomic<bool> flushes_{false};
  std::atomic<uint64_t> active_{0};  // bytes of the memtables that take writes
  std::atomic<uint64_t> visible_{0};
  std::atomic<uint64_t> sealed_offset_;
  std::atomic<uint64_t> flushed_at_us_{0};  // when the last flush ended
  std::atomic<uint64_t> limit_;             // of the memtables that take writes

  Mutex install_mutex_;  // taken before mutex_; held while a publication waits for the disk

  mutable Mutex mutex_;
  CondVar flush_cond_;
  CondVar merge_cond_;
  CondVar done_cond_;  // an attempt ended
  bool stop_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  Status dead_ GUARDED_BY(mutex_);  // the log is poisoned
  std::optional<FlushJob> job_ GUARDED_BY(mutex_);
  uint64_t sealed_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t flushed_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t failed_flushes_ GUARDED_BY(mutex_) = 0;  // attempts
  uint32_t flush_failures_ GUARDED_BY(mutex_) = 0;  // in a row
  uint32_t merge_failures_ GUARDED_BY(mutex_) = 0;  // in a row
  Status flush_error_ GUARDED_BY(mutex_);
  Status merge_error_ GUARDED_BY(mutex_);
  Status blocked_ GUARDED_BY(mutex_);
  Position checkpoint_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<CompactRequest>> requests_ GUARDED_BY(mutex_);  // not done
  std::map<uint64_t, std::shared_ptr<CompactRequest>> compactions_
      GUARDED_BY(mutex_);  // unanswered
  uint64_t last_compaction_ GUARDED_BY(mutex_);
  std::map<uint64_t, Status> excluded_ GUARDED_BY(mutex_);  // damaged runs
  bool merge_woken_ GUARDED_BY(mutex_) = false;
  bool merging_ended_ GUARDED_BY(mutex_) = false;
  UpkeepReport report_ GUARDED_BY(mutex_);

  TokenBucket bucket_;     // merge thread
  Backoff merge_backoff_;  // merge thread
  Backoff flush_backoff_;  // flush thread
  Mutex threads_mutex_;    // held while threads are started and joined
  Thread flusher_ GUARDED_BY(threads_mutex_);
  Thread merger_ GUARDED_BY(threads_mutex_);
};

}  // namespace gapless::engine
