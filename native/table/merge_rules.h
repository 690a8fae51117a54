// What a merge keeps: the points that somebody may read at, and the range deletes of all inputs as
// one list. Pure; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "table/range_set.h"

namespace gapless::table {

// Every sequence from the floor on may be read at, now or later, and below it those of the views.
class ReadPoints {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;

  // As MergeRequest::protected_seqs; empty: everything may be read at.
  explicit ReadPoints(const std::vector<uint64_t>& protected_seqs);

  // Whether somebody may read at one of [seq, next): what was written at `seq`, and hidden by what
  // was written at `next` (kNever: by nothing), must stay if so.
  bool AnyIn(uint64_t seq, uint64_t next) const {
    if (next > floor_) return true;
    if (views_.empty()) return false;
    return AnyViewIn(seq, next);
  }
  uint64_t floor() const { return floor_; }
  uint64_t lowest() const { return views_.empty() ? floor_ : views_.front(); }

 private:
  bool AnyViewIn(uint64_t seq, uint64_t next) const;

  uint64_t floor_ = 0;
  std::vector<uint64_t> views_;  // rising, below the floor
};

using FragmentList = std::vector<RangeFragment>;

// All range deletes of `sets` (which may be null) in one list of fragments without overlap. Of the
// deletes that cover one fragment those stay that somebody may read at; versions are judged alike
// by these and by all.
FragmentList UniteRanges(const std::vector<const RangeSet*>& sets, const ReadPoints& points);

// `fragments` within [lower, upper) (null: without bound), and without deletes up to
// `drop_through`.
FragmentList ClipRanges(const FragmentList& fragments, const Slice* lower, const Slice* upper,
                        uint64_t drop_through);

}  // namespace gapless::table
