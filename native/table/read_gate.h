// Who reads at which sequence: the visible sequence, the slots of running readers, and the views.
//
// Readers claim a slot for as long as they touch memory. Writers ask for two limits: the floor,
// below which only views pin versions, and the oldest era, behind which unlinked memory is free.
//
// Order of a reader: (1) claim the slot with the era, (2) store the visible sequence into it, (3)
// load visible again and read at that second value, load the era again. Order of a writer: (1) load
// visible, advance the era behind its unlinking stores, (2) load the slots, (3) load the views. All
// of these are seq_cst. A writer that misses a slot therefore comes before step 3 of its reader:
// the reader reads at or above the writer's visible and sees everything that was unlinked. A view
// is made before the guard or view that protected its sequence ends, hence slots before views.
// A floor stays true for ever, so a writer may keep an old one.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "base/mutex.h"

namespace gapless::table {

class ReadGate {
 public:
  static constexpr uint32_t kSlots = 512;

  ReadGate() = default;
  ReadGate(const ReadGate&) = delete;
  ReadGate& operator=(const ReadGate&) = delete;

  // --- any thread ---
  // Claims a slot; waits for one when kSlots guards are held at once.
  uint32_t Enter(uint64_t* visible_seq);
  void Leave(uint32_t slot);

  uint64_t visible_seq() const { return visible_.load(std::memory_order_acquire); }
  // One thread at a time; rises only.
  void Publish(uint64_t seq);

  uint64_t AddView(uint64_t seq) EXCLUDES(mutex_);
  void ReleaseView(uint64_t view) EXCLUDES(mutex_);
  uint64_t oldest_view_seq() const { return oldest_view_.load(std::memory_order_seq_cst); }
  uint64_t open_views() const { return open_views_.load(std::memory_order_relaxed); }

  // --- writers ---
  // Returns the tag for everything that the caller unlinked before the call.
  uint64_t AdvanceEra() { return era_.fetch_add(1, std::memory_order_seq_cst); }

  struct Limits {
    uint64_t floor = 0;       // nobody but views reads below it, now or later
    uint64_t oldest_era = 0;  // memory with a smaller tag is free
  };
  Limits Scan() const;

  // Copies the sorted distinct sequences of the views if they changed since `version`. Call after
  // Scan. Returns whether it copied.
  bool CopyViews(uint64_t* version, std::vector<uint64_t>* seqs) EXCLUDES(mutex_);

 private:
  // Alone on its cache line, since each belongs to another thread. era 0: free.
  struct alignas(64) Slot {
    std::atomic<uint64_t> era{0};
    std::atomic<uint64_t> seq{0};
  };

  bool TryClaim(uint32_t index);

  // Together: a reader loads both.
  alignas(64) std::atomic<uint64_t> visible_{0};
  std::atomic<uint64_t> era_{1};
  std::atomic<uint32_t> slots_used_{0};  // slots at or above it were never claimed

  alignas(64) std::atomic<uint64_t> oldest_view_{UINT64_MAX};
  std::atomic<uint64_t> open_views_{0};
  std::atomic<uint64_t> views_version_{0};  // changes with every change of the views
  Mutex mutex_;
  std::map<uint64_t, uint64_t> views_ GUARDED_BY(mutex_);  // id -> sequence
  uint64_t next_view_ GUARDED_BY(mutex_) = 1;

  void ViewsChanged() REQUIRES(mutex_);

  Slot slots_[kSlots];
};

}  // namespace gapless::table
