// Finding stretches of keys under one range delete, or under none.
#include "table/merged_cover.h"

#include <algorithm>

#include "base/assert.h"

namespace gapless::table {

ShardCover::ShardCover(const ShardTables& tables, uint64_t at_seq) : at_seq_(at_seq) {
  uint32_t rank = 0;
  const auto add = [&](const RangeSet* ranges, const LevelIndex* level) {
    if (ranges != nullptr || level != nullptr) parts_.push_back({ranges, level, rank, Stretch()});
    rank++;
  };
  for (const Memtable* const memtable : tables.memtables) add(memtable->ranges(), nullptr);
  for (const auto& run : tables.level0) add(run->ranges(), nullptr);
  for (const LevelIndex& level : tables.levels) add(nullptr, level.has_ranges() ? &level : nullptr);
}

uint64_t ShardCover::At(Slice key) {
  uint64_t newest = 0;
  for (Part& part : parts_) {
    if (!part.now.Holds(key)) {
      part.now = part.level == nullptr ? InRanges(*part.ranges, key) : InLevel(*part.level, key);
      part.now.rank = part.rank;
    }
    newest = std::max(newest, part.now.seq);
  }
  return newest;
}

const ShardCover::Stretch& ShardCover::Newest() const {
  const auto found = std::find_if(parts_.begin(), parts_.end(),
                                  [](const Part& part) { return part.now.seq != 0; });
  GAPLESS_ASSERT(found != parts_.end());
  return found->now;
}

ShardCover::Stretch ShardCover::InRanges(const RangeSet& ranges, Slice key) const {
  const auto& fragments = ranges.fragments();
  const size_t at = ranges.IndexBehind(key);
  Stretch stretch;
  if (at < fragments.size() && Slice(fragments[at]->lower).Compare(key) <= 0) {
    stretch.lower = fragments[at]->lower;
    stretch.upper = fragments[at]->upper;
    stretch.to_end = fragments[at]->unbounded;
    stretch.seq = fragments[at]->NewestAt(at_seq_);
    return stretch;
  }
  stretch.from_start = at == 0;
  if (at > 0) stretch.lower = fragments[at - 1]->upper;
  stretch.to_end = at == fragments.size();
  if (at < fragments.size()) stretch.upper = fragments[at]->lower;
  return stretch;
}

ShardCover::Stretch ShardCover::InLevel(const LevelIndex& level, Slice key) const {
  const size_t at = level.FirstBehind(key);
  Stretch stretch;
  if (at == level.size() || key.Compare(level.extent(at).lower) < 0) {
    stretch.from_start = at == 0;
    if (at > 0) stretch.lower = level.extent(at - 1).upper;
    stretch.to_end = at == level.size();
    if (at < level.size()) stretch.upper = level.extent(at).lower;
    return stretch;
  }
  const Extent& extent = level.extent(at);
  const RangeSet* const ranges = level.run(at)->ranges();
  if (ranges == nullptr) {
    stretch.from_start = stretch.to_end = true;
  } else {
    stretch = InRanges(*ranges, key);
  }
  // The answer of a run holds within its extent only.
  const Slice lower(extent.lower);
  if (stretch.from_start || stretch.lower.Compare(lower) < 0) stretch.lower = lower;
  stretch.from_start = false;
  if (!extent.unbounded) {
    const Slice upper(extent.upper);
    if (stretch.to_end || upper.Compare(stretch.upper) < 0) stretch.upper = upper;
    stretch.to_end = false;
  }
  return stretch;
}

}  // namespace gapless::table
