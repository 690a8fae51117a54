// Slots of running readers and the table of views. See the header for the memory orders.
#include "table/read_gate.h"

#include <sched.h>

#include <algorithm>

#include "base/assert.h"

namespace gapless::table {
namespace {

// Each thread starts its search at a slot of its own.
uint32_t SlotHint() {
  static std::atomic<uint32_t> threads{0};
  thread_local const uint32_t hint = threads.fetch_add(1, std::memory_order_relaxed);
  return hint;
}

}  // namespace

bool ReadGate::TryClaim(uint32_t index) {
  Slot& slot = slots_[index];
  if (slot.era.load(std::memory_order_relaxed) != 0) return false;
  // Raised before the claim, so that a scan that stops short comes before this reader.
  uint32_t used = slots_used_.load(std::memory_order_seq_cst);
  while (used <= index &&
         !slots_used_.compare_exchange_weak(used, index + 1, std::memory_order_seq_cst)) {
  }
  uint64_t free_era = 0;
  const uint64_t era = era_.load(std::memory_order_acquire);
  return slot.era.compare_exchange_strong(free_era, era, std::memory_order_seq_cst);
}

uint32_t ReadGate::Enter(uint64_t* visible_seq) {
  uint32_t index = SlotHint() % kSlots;
  for (uint32_t tries = 1; !TryClaim(index); tries++) {
    index = (index + 1) % kSlots;
    if (tries % kSlots == 0) sched_yield();
  }
  // Until this store a scan sees the slot's former sequence, which is lower: safe.
  slots_[index].seq.store(visible_.load(std::memory_order_relaxed), std::memory_order_seq_cst);
  *visible_seq = visible_.load(std::memory_order_seq_cst);
  (void)era_.load(std::memory_order_seq_cst);
  return index;
}

void ReadGate::Leave(uint32_t slot) {
  // Release: a writer that sees the slot free reuses memory behind all of this reader's loads.
  slots_[slot].era.store(0, std::memory_order_release);
}

void ReadGate::Publish(uint64_t seq) {
  GAPLESS_ASSERT(seq >= visible_.load(std::memory_order_relaxed));
  visible_.store(seq, std::memory_order_seq_cst);
}

ReadGate::Limits ReadGate::Scan() const {
  Limits limits;
  limits.floor = visible_.load(std::memory_order_seq_cst);
  limits.oldest_era = UINT64_MAX;
  const uint32_t used = slots_used_.load(std::memory_order_seq_cst);
  for (uint32_t i = 0; i < used; i++) {
    const uint64_t era = slots_[i].era.load(std::memory_order_seq_cst);
    if (era == 0) continue;
    limits.oldest_era = std::min(limits.oldest_era, era);
    limits.floor = std::min(limits.floor, slots_[i].seq.load(std::memory_order_seq_cst));
  }
  return limits;
}

uint64_t ReadGate::AddView(uint64_t seq) {
  const MutexLock lock(&mutex_);
  const uint64_t view = next_view_++;
  views_.emplace(view, seq);
  ViewsChanged();
  return view;
}

void ReadGate::ReleaseView(uint64_t view) {
  const MutexLock lock(&mutex_);
  GAPLESS_ASSERT(views_.erase(view) == 1);
  ViewsChanged();
}

void ReadGate::ViewsChanged() {
  uint64_t oldest = UINT64_MAX;
  for (const auto& [id, seq] : views_) oldest = std::min(oldest, seq);
  oldest_view_.store(oldest, std::memory_order_seq_cst);
  open_views_.store(views_.size(), std::memory_order_relaxed);
  views_version_.fetch_add(1, std::memory_order_seq_cst);
}

bool ReadGate::CopyViews(uint64_t* version, std::vector<uint64_t>* seqs) {
  if (views_version_.load(std::memory_order_seq_cst) == *version) return false;
  const MutexLock lock(&mutex_);
  *version = views_version_.load(std::memory_order_relaxed);
  seqs->clear();
#if !defined(GAPLESS_BUG_PRUNE_IGNORES_VIEWS)
  for (const auto& [id, seq] : views_) seqs->push_back(seq);
#endif
  std::sort(seqs->begin(), seqs->end());
  seqs->erase(std::unique(seqs->begin(), seqs->end()), seqs->end());
  return true;
}

}  // namespace gapless::table
