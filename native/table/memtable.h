// One memtable of one shard: the nodes, both indexes, the range deletes, and the upkeep that the
// writer does on its way (pruning versions that nobody needs, writing range deletes into the keys,
// reclaiming memory).
//
// One writer at a time until it is sealed, then none: it is immutable from there on. Readers
// without locks, under a guard of the store's ReadGate. Upkeep is bounded for each write: a
// superseded version waits in `prune_` until the floor has passed it, and in `pinned_` when views
// alone hold something of its key, until a view ends.
//
// A memtable is at the bottom when no table of its shard lies below it: deletions vanish once they
// have nothing to hide, and range deletes are written into the keys and forgotten. Elsewhere both
// are kept for good, since they hide what lies below: every deletion, every range delete.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "table/arena.h"
#include "table/chunk_queue.h"
#include "table/hash_index.h"
#include "table/node.h"
#include "table/ordered_index.h"
#include "table/range_set.h"
#include "table/read_gate.h"
#include "table/retire_list.h"
#include "table/store.h"

namespace gapless::table {

class Memtable {
 public:
  Memtable(ReadGate* gate, bool bottom);
  ~Memtable();
  Memtable(const Memtable&) = delete;
  Memtable& operator=(const Memtable&) = delete;

  // --- the writer ---
  void Put(uint64_t hash, Slice key, Slice value, uint64_t expires_at_ms, uint64_t seq);
  void Prefetch(uint64_t hash) const { hash_.Prefetch(hash); }
  void Del(uint64_t hash, Slice key, uint64_t seq);
  // Takes effect with FinishBatch; until then the slices live.
  void DelRange(Slice lower, Slice upper, bool unbounded, uint64_t seq);
  // Behind the last mutation of a batch.
  void FinishBatch() {
    if (!batch_ranges_.empty()) LayBatch();
  }
  // Does up to `steps` of the upkeep that is due; returns whether more of it could be done now.
  bool Purge(uint32_t steps);

  // For runs that are loaded below it. Requires: nothing was written yet.
  void LeaveBottom();
  // Neither keys nor range deletes. Requires: no writer runs.
  bool empty() const { return nodes_ == 0 && ranges() == nullptr; }
  bool bottom() const { return bottom_; }

  // --- any thread under a guard; without, once it is sealed ---
  // The live entry, judged by this memtable alone.
  bool Get(uint64_t hash, Slice key, const ReadPoint& at, Entry* entry) const;
  // The newest version at or below `seq`, or null; deletions included, range deletes not applied.
  const Version* Find(uint64_t hash, Slice key, uint64_t seq, const Node** node) const;
  const OrderedIndex& ordered() const { return ordered_; }
  // Load it before any version: a delete leaves the list only once its keys carry it themselves.
  const RangeSet* ranges() const { return ranges_.load(std::memory_order_acquire); }
  // The live entry of `node` at the read point.
  static bool ReadNode(const Node* node, const RangeSet* ranges, const ReadPoint& at, Entry* entry);

  // --- any thread ---
  uint64_t keys() const { return keys_.load(std::memory_order_relaxed); }
  uint64_t bytes() const {
    return arena_.used_bytes() + range_bytes_.load(std::memory_order_relaxed);
  }
  uint64_t allocations() const { return arena_.allocations(); }
  uint64_t range_tombstones() const { return range_count_.load(std::memory_order_relaxed); }
  // What the kept range deletes cost the next one, which copies their list: 0 at the bottom.
  uint64_t range_cost() const;

 private:
  struct Waiting {
    Node* node;
    uint64_t ready_seq;  // nothing to prune before the floor is here
  };
  // One walk over the keys under all range deletes that were due when it began.
  struct Sweep {
    const RangeSet* ranges = nullptr;  // null: no walk under way
    uint64_t up_to_seq = 0;
    std::string next_key;
  };

  Node* NewNode(uint64_t hash, Slice key);
  Version* NewVersion(Slice value, uint32_t flags, uint64_t expires_at_ms, uint64_t seq);
  void RetireVersion(Version* version) { retired_.Retire(version, version->bytes()); }
  void InsertNode(uint64_t hash, Slice key, Slice value, uint32_t flags, uint64_t expires_at_ms,
                  uint64_t seq);
  void PushVersion(Node* node, Version* version);
  void PushDeletion(Node* node, uint64_t seq);
  void Enqueue(Node* node, uint64_t ready_seq);
  void LayBatch();
  bool PushSmallRange(Slice lower, Slice upper, bool unbounded, uint64_t seq);

  void Upkeep(size_t value_bytes);
  bool Refresh();
  bool PruneOne();
  void PruneQueued(Node* node, uint32_t queue);
  void PruneNode(Node* node);
  void PruneBehind(Version* kept);
  bool DropDeletedTail(Node* node);
  void RemoveNode(Node* node);
  bool ViewWithin(uint64_t from, uint64_t before) const;

  bool SweepDue() const;
  void SweepStep(uint32_t nodes);
  void SweepNode(Node* node);
  void InsertDeletion(Node* node, Version* newer, Version* older, uint64_t seq);
  void EndSweep();
  void SetRanges(const RangeSet* ranges);
  void AddKeys(uint64_t count);

  ReadGate* const gate_;
  bool bottom_;
  Arena arena_;
  RetireList retired_;
  HashIndex hash_;
  OrderedIndex ordered_;
  std::atomic<const RangeSet*> ranges_{nullptr};  // release by the writer

  // Writer only from here.
  uint64_t writes_ = 0;
  uint64_t nodes_ = 0;
  uint64_t fresh_bytes_ = 0;  // of values, since the last Refresh
  uint64_t floor_ = 0;        // as of the last Refresh; stays true
  uint64_t views_version_ = 0;
  std::vector<uint64_t> views_;  // sorted sequences
  ChunkQueue<Waiting> prune_;
  ChunkQueue<Node*> pinned_;
  size_t pinned_due_ = 0;  // how many of pinned_ to look at since a view ended
  Sweep sweep_;
  std::vector<Node*> batch_;               // scratch of SweepStep and PushSmallRange
  std::vector<RangeDelete> batch_ranges_;  // of the batch that is being written

  // Written by the writer, read by anyone.
  std::atomic<uint64_t> keys_{0};
  std::atomic<uint64_t> range_count_{0};
  std::atomic<uint64_t> range_weight_{0};
  std::atomic<uint64_t> range_bytes_{0};
};

}  // namespace gapless::table
