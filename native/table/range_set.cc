// Building and searching lists of range deletes.
#include "table/range_set.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <queue>
#include <utility>

namespace gapless::table {
namespace {

std::atomic<uint64_t> fragments_laid{0};

struct OlderFirst {
  bool operator()(const RangeDelete* a, const RangeDelete* b) const { return a->seq < b->seq; }
};

// The deletes without overlap, in order: at each key the newest of those that cover it.
std::vector<RangeDelete> NewestOf(std::vector<RangeDelete> deletes) {
  if (deletes.size() == 1) return deletes;
  std::sort(deletes.begin(), deletes.end(), [](const RangeDelete& a, const RangeDelete& b) {
    return a.lower.Compare(b.lower) < 0;
  });
  std::vector<RangeDelete> newest;
  std::priority_queue<const RangeDelete*, std::vector<const RangeDelete*>, OlderFirst> open;
  Slice at;
  for (size_t next = 0; next < deletes.size() || !open.empty();) {
    while (!open.empty() && open.top()->EndsAtOrBefore(at)) open.pop();
    if (open.empty()) {
      if (next == deletes.size()) break;
      at = deletes[next].lower;
    }
    while (next < deletes.size() && deletes[next].lower == at) open.push(&deletes[next++]);
    RangeDelete piece = *open.top();
    piece.lower = at;
    const bool cut = next < deletes.size() && !piece.EndsAtOrBefore(deletes[next].lower);
    if (cut) {
      piece.upper = deletes[next].lower;
      piece.unbounded = false;
    }
    const bool goes_on = !newest.empty() && newest.back().seq == piece.seq;
    if (goes_on) {
      newest.back().upper = piece.upper;
      newest.back().unbounded = piece.unbounded;
    } else {
      newest.push_back(piece);
    }
    if (piece.unbounded) break;
    at = piece.upper;
  }
  return newest;
}

}  // namespace

uint64_t RangeFragment::NewestAt(uint64_t seq) const {
  const auto found = std::lower_bound(seqs.begin(), seqs.end(), seq, std::greater<uint64_t>());
  return found == seqs.end() ? 0 : *found;
}

uint64_t RangeFragment::OldestAbove(uint64_t seq) const {
  const auto behind = std::lower_bound(seqs.begin(), seqs.end(), seq, std::greater<uint64_t>());
  return behind == seqs.begin() ? 0 : *(behind - 1);
}

bool ReadLimits::AnyIn(uint64_t seq, uint64_t next) const {
  if (next > floor) return true;
  if (views == nullptr) return false;
  const auto found = std::lower_bound(views->begin(), views->end(), seq);
  return found != views->end() && *found < next;
}

uint64_t RangeSet::FragmentsLaid() { return fragments_laid.load(std::memory_order_relaxed); }

void RangeSet::Add(std::shared_ptr<const RangeFragment> fragment) {
  oldest_seq_ = std::min(oldest_seq_, fragment->seqs.back());
  weight_ += fragment->seqs.size();
  bytes_ += sizeof(RangeFragment) + sizeof(fragment) + fragment->lower.size() +
            fragment->upper.size() + fragment->seqs.size() * sizeof(uint64_t);
  fragments_.push_back(std::move(fragment));
}

// Adds what `from` covers from `lower` to the end of `end`; with `limits` under that delete too.
void RangeSet::AddPiece(const RangeFragment& from, Slice lower, const RangeDelete& end,
                        const ReadLimits* limits) {
  if (end.EndsAtOrBefore(lower)) return;
  auto piece = std::make_shared<RangeFragment>();
  piece->lower = lower.ToString();
  if (!end.unbounded) piece->upper = end.upper.ToString();
  piece->unbounded = end.unbounded;
  if (limits == nullptr) {
    piece->seqs = from.seqs;
  } else {
    uint64_t newer = end.seq;
    piece->seqs.push_back(newer);
    for (const uint64_t seq : from.seqs) {
      if (limits->AnyIn(seq, newer)) piece->seqs.push_back(seq);
      newer = seq;
    }
  }
  Add(std::move(piece));
}

// Adds `old` with those of `deletes`, from *next on, that begin before its end; *from is where the
// next one begins, or what is left of it. Requires: *from lies before the end of `old`, and nothing
// of *next lies before `old`.
void RangeSet::AddUnder(const RangeFragment& old, const std::vector<RangeDelete>& deletes,
                        size_t* next, Slice* from, const ReadLimits& limits) {
  const RangeFragment none;
  const RangeDelete whole{old.lower, old.upper, old.unbounded, 0};
  Slice at = old.lower;  // everything of `old` before it is added
  while (*next < deletes.size() && !old.EndsAtOrBefore(*from)) {
    RangeDelete by = deletes[*next];
    if (from->Compare(at) < 0) {
      by.upper = at;
      by.unbounded = false;
      AddPiece(none, *from, by, &limits);
      *from = at;
      continue;
    }
    AddPiece(old, at, {at, *from, false, 0}, nullptr);
    at = *from;
    const bool old_ends_first = !old.unbounded && !by.EndsAtOrBefore(old.upper);
    if (old_ends_first) {
      by.upper = old.upper;
      by.unbounded = false;
      AddPiece(old, at, by, &limits);
      *from = old.upper;
      return;
    }
    AddPiece(old, at, by, &limits);
    at = by.upper;
    if (++*next < deletes.size()) *from = deletes[*next].lower;
    if (by.unbounded) return;
  }
  AddPiece(old, at, whole, nullptr);
}

const RangeSet* RangeSet::With(const RangeSet* before, std::vector<RangeDelete> deletes,
                               const ReadLimits& limits) {
  deletes = NewestOf(std::move(deletes));
  auto* const after = new RangeSet;
  const RangeFragment none;
  size_t next = 0;
  Slice from = deletes[0].lower;  // everything of the deletes before it is added
  const auto add_free = [&] {
    after->AddPiece(none, from, deletes[next], &limits);
    if (++next < deletes.size()) from = deletes[next].lower;
  };
  if (before != nullptr) {
    after->fragments_.reserve(before->fragments_.size() + 2 * deletes.size() + 1);
    for (const auto& old : before->fragments_) {
      while (next < deletes.size() && deletes[next].EndsAtOrBefore(old->lower)) add_free();
      if (next == deletes.size() || old->EndsAtOrBefore(from)) {
        after->Add(old);
      } else {
        after->AddUnder(*old, deletes, &next, &from, limits);
      }
    }
  }
  while (next < deletes.size()) add_free();
  fragments_laid.fetch_add(after->fragments_.size(), std::memory_order_relaxed);
  return after;
}

const RangeSet* RangeSet::WithoutUpTo(const RangeSet* before, uint64_t seq) {
  auto* const after = new RangeSet;
  for (const auto& old : before->fragments_) {
    if (old->seqs.back() > seq) {
      after->Add(old);
    } else if (old->seqs.front() > seq) {
      auto rest = std::make_shared<RangeFragment>(*old);
      while (rest->seqs.back() <= seq) rest->seqs.pop_back();
      after->Add(std::move(rest));
    }
  }
  if (!after->fragments_.empty()) return after;
  after->Unref();
  return nullptr;
}

const RangeSet* RangeSet::Of(std::vector<RangeFragment> fragments) {
  if (fragments.empty()) return nullptr;
  auto* const set = new RangeSet;
  set->fragments_.reserve(fragments.size());
  for (RangeFragment& fragment : fragments) {
    set->Add(std::make_shared<const RangeFragment>(std::move(fragment)));
  }
  return set;
}

size_t RangeSet::IndexBehind(Slice key) const {
  const auto found =
      std::partition_point(fragments_.begin(), fragments_.end(),
                           [key](const auto& fragment) { return fragment->EndsAtOrBefore(key); });
  return static_cast<size_t>(found - fragments_.begin());
}

const RangeFragment* RangeSet::FirstBehind(Slice key) const {
  const size_t at = IndexBehind(key);
  return at == fragments_.size() ? nullptr : fragments_[at].get();
}

const RangeFragment* RangeSet::Covering(Slice key) const {
  const RangeFragment* const fragment = FirstBehind(key);
  if (fragment == nullptr || Slice(fragment->lower).Compare(key) > 0) return nullptr;
  return fragment;
}

uint64_t RangeSet::CoverAt(Slice key, uint64_t seq) const {
  const RangeFragment* const fragment = Covering(key);
  return fragment == nullptr ? 0 : fragment->NewestAt(seq);
}

}  // namespace gapless::table
