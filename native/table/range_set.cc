// Building and searching lists of range deletes.
#include "table/range_set.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace gapless::table {

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

void RangeSet::Add(std::shared_ptr<const RangeFragment> fragment) {
  oldest_seq_ = std::min(oldest_seq_, fragment->seqs.back());
  weight_ += fragment->seqs.size();
  fragments_.push_back(std::move(fragment));
}

// Adds [lower, upper) with the sequences of `from` and that of `by`, which may be null.
void RangeSet::AddPiece(const RangeFragment& from, Slice lower, Slice upper, bool unbounded,
                        const Delete* by) {
  if (!unbounded && lower.Compare(upper) >= 0) return;
  auto piece = std::make_shared<RangeFragment>();
  piece->lower = lower.ToString();
  if (!unbounded) piece->upper = upper.ToString();
  piece->unbounded = unbounded;
  if (by == nullptr) {
    piece->seqs = from.seqs;
  } else {
    uint64_t newer = by->seq;
    piece->seqs.push_back(newer);
    for (const uint64_t seq : from.seqs) {
      if (by->limits.AnyIn(seq, newer)) piece->seqs.push_back(seq);
      newer = seq;
    }
  }
  Add(std::move(piece));
}

// `old` overlaps the new range, of which everything before *lower is added already. Adds the gap
// before `old` and the pieces of `old`, and moves *lower to the end of what was added.
void RangeSet::AddOverlap(const RangeFragment& old, Slice* lower, const Delete& by) {
  const RangeFragment none;
  const Slice old_lower(old.lower);
  const Slice old_upper(old.upper);
  if (lower->Compare(old_lower) < 0) {
    AddPiece(none, *lower, old_lower, false, &by);
    *lower = old_lower;
  } else {
    AddPiece(old, old_lower, *lower, false, nullptr);
  }
  const bool old_ends_last = old.unbounded || (!by.unbounded && old_upper.Compare(by.upper) > 0);
  if (!old_ends_last) {
    AddPiece(old, *lower, old_upper, false, &by);
    *lower = old_upper;
    return;
  }
  AddPiece(old, *lower, by.upper, by.unbounded, &by);
  if (!by.unbounded) AddPiece(old, by.upper, old_upper, old.unbounded, nullptr);
  *lower = by.upper;
}

const RangeSet* RangeSet::With(const RangeSet* before, Slice lower, Slice upper, bool unbounded,
                               uint64_t seq, const ReadLimits& limits) {
  const Delete by{upper, unbounded, seq, limits};
  auto* const after = new RangeSet;
  const RangeFragment none;
  Slice from = lower;
  bool done = false;  // everything up to `upper` is added
  if (before != nullptr) {
    after->fragments_.reserve(before->fragments_.size() + 3);
    for (const auto& old : before->fragments_) {
      if (old->EndsAtOrBefore(from)) {
        after->Add(old);
        continue;
      }
      const bool starts_behind = !unbounded && Slice(old->lower).Compare(upper) >= 0;
      if (done || starts_behind) {
        if (!done) after->AddPiece(none, from, upper, unbounded, &by);
        done = true;
        after->Add(old);
        continue;
      }
      const bool last = old->unbounded || (!unbounded && Slice(old->upper).Compare(upper) >= 0);
      after->AddOverlap(*old, &from, by);
      done = last;
    }
  }
  if (!done) after->AddPiece(none, from, upper, unbounded, &by);
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
