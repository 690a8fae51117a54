// What the writer of a memtable does beside writing, a bounded amount at each write: pruning
// versions, removing keys, writing range deletes into the keys that they hide, reclaiming memory.
#include <algorithm>

#include "base/assert.h"
#include "table/memtable.h"

namespace gapless::table {
namespace {

constexpr uint64_t kRefreshEvery = 64;       // writes
constexpr uint64_t kRefreshBytes = 1 << 20;  // or so many bytes of values, if they come first
constexpr uint64_t kSweepEvery = 16;         // writes
constexpr uint32_t kSweepNodes = 64;         // for each of these
constexpr uint32_t kPrunesPerWrite = 2;      // a write adds one at most, but for deletes of ranges
constexpr size_t kPrefetchDistance = 4;

}  // namespace

void Memtable::Upkeep(size_t value_bytes) {
  fresh_bytes_ += value_bytes;
  if (++writes_ % kRefreshEvery == 0 || fresh_bytes_ >= kRefreshBytes) {
    (void)Refresh();
    fresh_bytes_ = 0;
  }
  for (uint32_t i = 0; i < kPrunesPerWrite && PruneOne(); i++) {
  }
  if (writes_ % kSweepEvery == 0 && SweepDue()) SweepStep(kSweepNodes);
}

// Returns whether more memory could be given back at once.
bool Memtable::Refresh() {
  retired_.Seal();  // before the scan, which must come behind the tag
  const ReadGate::Limits limits = gate_->Scan();
  floor_ = std::max(floor_, limits.floor);
  if (gate_->CopyViews(&views_version_, &views_)) pinned_due_ = pinned_.size();
  return retired_.Reclaim(limits.oldest_era);
}

bool Memtable::Purge(uint32_t steps) {
  (void)Refresh();
  for (uint32_t i = 0; i < steps && PruneOne(); i++) {
  }
  if (SweepDue()) SweepStep(steps);
  const bool more_memory = Refresh();
  return more_memory || SweepDue() || pinned_due_ > 0 ||
         (!prune_.empty() && prune_.front().ready_seq <= floor_);
}

// Looks at one key that may have something to prune; returns false when none is due.
bool Memtable::PruneOne() {
  if (!prune_.empty() && prune_.front().ready_seq <= floor_) {
    const Waiting waiting = prune_.Pop();
    const Waiting* const ahead = prune_.Peek(kPrefetchDistance);
    if (ahead != nullptr) __builtin_prefetch(ahead->node, 1);
    PruneQueued(waiting.node, Node::kInPrune);
    return true;
  }
  if (pinned_due_ == 0) return false;
  pinned_due_--;
  PruneQueued(pinned_.Pop(), Node::kInPinned);
  return true;
}

// `queue` is the one that the node was taken from.
void Memtable::PruneQueued(Node* node, uint32_t queue) {
  node->queued &= ~queue;
  if ((node->queued & Node::kRemoved) == 0) {
    PruneNode(node);
  } else if (node->queued == Node::kRemoved) {
    retired_.Retire(node, node->bytes());
  }
}

// Drops the versions that nobody needs and queues the node again if more may go later.
void Memtable::PruneNode(Node* node) {
  Version* newest = node->head.load(std::memory_order_relaxed);
  Version* kept = newest;
  while (kept != nullptr && kept->seq > floor_) kept = kept->next.load(std::memory_order_relaxed);
  if (kept != nullptr) PruneBehind(kept);
  if (!DropDeletedTail(node)) return;
  newest = node->head.load(std::memory_order_relaxed);
  if (newest->next.load(std::memory_order_relaxed) == nullptr) return;
  if (newest->seq > floor_) {
    Enqueue(node, newest->seq);
  } else if ((node->queued & Node::kInPinned) == 0) {
    node->queued |= Node::kInPinned;
    pinned_.Push(node);
  }
}

// `kept` is the newest version at or below the floor: of the older ones only those stay that are
// the newest at or below a view. Unlinked versions keep their own links for the readers on them.
void Memtable::PruneBehind(Version* kept) {
  Version* last = kept;
  const Version* newer = kept;
  Version* version = kept->next.load(std::memory_order_relaxed);
  while (version != nullptr) {
    Version* const older = version->next.load(std::memory_order_relaxed);
    const bool needed = ViewWithin(version->seq, newer->seq);
    if (needed) {
      if (last->next.load(std::memory_order_relaxed) != version) {
        last->next.store(version, std::memory_order_release);
      }
      last = version;
    } else {
      RetireVersion(version);
    }
    newer = version;
    version = older;
  }
  if (last->next.load(std::memory_order_relaxed) != nullptr) {
    last->next.store(nullptr, std::memory_order_release);
  }
}

// A deletion with nothing behind it says no more than its absence, at the bottom. Returns false if
// the node went.
bool Memtable::DropDeletedTail(Node* node) {
  if (!bottom_) return true;
  for (;;) {
    Version* newer = nullptr;
    Version* last = node->head.load(std::memory_order_relaxed);
    while (Version* const older = last->next.load(std::memory_order_relaxed)) {
      newer = last;
      last = older;
    }
    if (!last->deleted()) return true;
    if (newer == nullptr) {
      RemoveNode(node);
      RetireVersion(last);
      return false;
    }
    newer->next.store(nullptr, std::memory_order_release);
    RetireVersion(last);
  }
}

void Memtable::RemoveNode(Node* node) {
  hash_.Erase(node);
  ordered_.Remove(node);
  nodes_--;
  if (node->queued == 0) {
    retired_.Retire(node, node->bytes());
  } else {
    node->queued |= Node::kRemoved;  // the queues still know it
  }
}

// Whether a view lies in [from, before).
bool Memtable::ViewWithin(uint64_t from, uint64_t before) const {
  if (views_.empty()) return false;
  const auto found = std::lower_bound(views_.begin(), views_.end(), from);
  return found != views_.end() && *found < before;
}

bool Memtable::SweepDue() const {
  if (!bottom_) return false;
  if (sweep_.ranges != nullptr) return true;
  const RangeSet* const ranges = ranges_.load(std::memory_order_relaxed);
  return ranges != nullptr && ranges->oldest_seq() <= floor_;
}

// Visits up to `nodes` keys under the range deletes that are due and lets them carry the deletes.
void Memtable::SweepStep(uint32_t nodes) {
  if (sweep_.ranges == nullptr) {
    sweep_.ranges = ranges_.load(std::memory_order_relaxed);
    sweep_.ranges->Ref();
    sweep_.up_to_seq = floor_;
    sweep_.next_key.clear();
  }
  batch_.clear();
  const RangeFragment* fragment = sweep_.ranges->FirstBehind(sweep_.next_key);
  OrderedIndex::Cursor cursor(&ordered_);
  if (fragment != nullptr) cursor.Seek(std::max(fragment->lower, sweep_.next_key));
  while (fragment != nullptr && cursor.Valid() && batch_.size() < nodes) {
    const Slice key = cursor.node()->key();
    if (fragment->EndsAtOrBefore(key)) {
      fragment = sweep_.ranges->FirstBehind(key);
      if (fragment != nullptr && key.Compare(fragment->lower) < 0) cursor.Seek(fragment->lower);
      continue;
    }
    batch_.push_back(const_cast<Node*>(cursor.node()));
    cursor.Next();
  }
  const bool done = fragment == nullptr || !cursor.Valid();
  if (!done) sweep_.next_key.assign(cursor.node()->key().data(), cursor.node()->key().size());
  for (Node* const node : batch_) SweepNode(node);
  if (done) EndSweep();
}

// Puts a deletion before each version that a range delete hides, unless one is there already. Only
// nodes that existed at the delete have versions before it: the walk needs no second round.
void Memtable::SweepNode(Node* node) {
  const RangeFragment* const fragment = sweep_.ranges->Covering(node->key());
  if (fragment == nullptr) return;
  Version* newer = nullptr;
  Version* version = node->head.load(std::memory_order_relaxed);
  while (version != nullptr) {
    const uint64_t hidden_at = fragment->OldestAbove(version->seq);
    const bool due = hidden_at != 0 && hidden_at <= sweep_.up_to_seq && !version->deleted();
    if (due && (newer == nullptr || hidden_at < newer->seq)) {
      InsertDeletion(node, newer, version, hidden_at);
    }
    newer = version;
    version = version->next.load(std::memory_order_relaxed);
  }
  PruneNode(node);
}

void Memtable::InsertDeletion(Node* node, Version* newer, Version* older, uint64_t seq) {
  Version* const deletion = NewVersion(Slice(), Version::kDeleted, 0, seq);
  deletion->next.store(older, std::memory_order_relaxed);
  if (newer != nullptr) {
    newer->next.store(deletion, std::memory_order_release);
  } else {
    node->head.store(deletion, std::memory_order_release);
    AddKeys(uint64_t{0} - 1);
  }
}

void Memtable::EndSweep() {
  const RangeSet* const now = ranges_.load(std::memory_order_relaxed);
  SetRanges(RangeSet::WithoutUpTo(now, sweep_.up_to_seq));
  sweep_.ranges->Unref();
  sweep_.ranges = nullptr;
}

}  // namespace gapless::table
