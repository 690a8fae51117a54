// Read points, and range deletes of several tables laid over each other.
#include "table/merge_rules.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace gapless::table {
namespace {

// Whether `fragment` begins at or behind the end of `other`.
bool IsBehind(const RangeFragment& fragment, const RangeFragment& other) {
  return other.EndsAtOrBefore(fragment.lower);
}

// Whether `a` ends before `b` does.
bool EndsBefore(const RangeFragment& a, const RangeFragment& b) {
  if (a.unbounded) return false;
  return b.unbounded || a.upper < b.upper;
}

// Appends what `fragment` covers before `end`, and moves its start there.
void TakeUntil(const std::string& end, RangeFragment* fragment, FragmentList* to) {
  to->push_back({fragment->lower, end, false, fragment->seqs});
  fragment->lower = end;
}

std::vector<uint64_t> BothSeqs(const RangeFragment& a, const RangeFragment& b) {
  std::vector<uint64_t> seqs;
  std::set_union(a.seqs.begin(), a.seqs.end(), b.seqs.begin(), b.seqs.end(),
                 std::back_inserter(seqs), std::greater<uint64_t>());
  return seqs;
}

FragmentList Lay(FragmentList a, FragmentList b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  FragmentList both;
  both.reserve(a.size() + b.size());
  size_t i = 0;
  size_t k = 0;
  while (i < a.size() && k < b.size()) {
    RangeFragment* const first = a[i].lower <= b[k].lower ? &a[i] : &b[k];
    RangeFragment* const second = first == &a[i] ? &b[k] : &a[i];
    if (IsBehind(*second, *first)) {
      both.push_back(std::move(*first));
      (first == &a[i] ? i : k)++;
      continue;
    }
    if (first->lower < second->lower) TakeUntil(second->lower, first, &both);
    // Both begin here: up to the nearer end both cover.
    const bool first_ends = EndsBefore(*first, *second);
    const bool second_ends = EndsBefore(*second, *first);
    const RangeFragment& nearer = second_ends ? *second : *first;
    RangeFragment shared{first->lower, nearer.upper, nearer.unbounded, BothSeqs(*first, *second)};
    if (first_ends) second->lower = shared.upper;
    if (second_ends) first->lower = shared.upper;
    both.push_back(std::move(shared));
    const bool a_ends = first == &a[i] ? !second_ends : !first_ends;
    const bool b_ends = first == &a[i] ? !first_ends : !second_ends;
    i += a_ends ? 1 : 0;
    k += b_ends ? 1 : 0;
  }
  for (; i < a.size(); i++) both.push_back(std::move(a[i]));
  for (; k < b.size(); k++) both.push_back(std::move(b[k]));
  return both;
}

FragmentList LayAll(const std::vector<const RangeSet*>& sets, size_t from, size_t to) {
  if (to - from > 1) {
    const size_t middle = from + (to - from) / 2;
    return Lay(LayAll(sets, from, middle), LayAll(sets, middle, to));
  }
  FragmentList fragments;
  if (from == to || sets[from] == nullptr) return fragments;
  for (const auto& fragment : sets[from]->fragments()) fragments.push_back(*fragment);
  return fragments;
}

// Without the deletes that a newer one hides at every read point.
void Prune(const ReadPoints& points, std::vector<uint64_t>* seqs) {
  uint64_t next = ReadPoints::kNever;
  std::erase_if(*seqs, [&](uint64_t seq) {
    const uint64_t newer = std::exchange(next, seq);
    return !points.AnyIn(seq, newer);
  });
}

// Appends, or lengthens the last one if it covers the same up to here.
void Append(RangeFragment fragment, FragmentList* to) {
  if (fragment.seqs.empty()) return;
  if (!to->empty()) {
    RangeFragment& last = to->back();
    if (!last.unbounded && last.upper == fragment.lower && last.seqs == fragment.seqs) {
      last.upper = std::move(fragment.upper);
      last.unbounded = fragment.unbounded;
      return;
    }
  }
  to->push_back(std::move(fragment));
}

}  // namespace

ReadPoints::ReadPoints(const std::vector<uint64_t>& protected_seqs) {
  if (protected_seqs.empty()) return;
  floor_ = protected_seqs[0];
  for (size_t i = 1; i < protected_seqs.size(); i++) {
    if (protected_seqs[i] < floor_) views_.push_back(protected_seqs[i]);
  }
  std::sort(views_.begin(), views_.end());
}

bool ReadPoints::AnyViewIn(uint64_t seq, uint64_t next) const {
  const auto found = std::lower_bound(views_.begin(), views_.end(), seq);
  return found != views_.end() && *found < next;
}

FragmentList UniteRanges(const std::vector<const RangeSet*>& sets, const ReadPoints& points) {
  FragmentList united;
  for (RangeFragment& fragment : LayAll(sets, 0, sets.size())) {
    Prune(points, &fragment.seqs);
    Append(std::move(fragment), &united);
  }
  return united;
}

FragmentList ClipRanges(const FragmentList& fragments, const Slice* lower, const Slice* upper,
                        uint64_t drop_through) {
  FragmentList clipped;
  auto at = fragments.begin();
  if (lower != nullptr) {
    at = std::partition_point(at, fragments.end(), [lower](const RangeFragment& fragment) {
      return fragment.EndsAtOrBefore(*lower);
    });
  }
  for (; at != fragments.end(); ++at) {
    if (upper != nullptr && Slice(at->lower).Compare(*upper) >= 0) break;
    RangeFragment piece = *at;
    while (!piece.seqs.empty() && piece.seqs.back() <= drop_through) piece.seqs.pop_back();
    if (lower != nullptr && Slice(piece.lower).Compare(*lower) < 0) piece.lower = lower->ToString();
    if (upper != nullptr && !piece.EndsAtOrBefore(*upper)) {
      piece.upper = upper->ToString();
      piece.unbounded = false;
    }
    Append(std::move(piece), &clipped);
  }
  return clipped;
}

}  // namespace gapless::table
