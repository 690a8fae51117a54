// Making trees from trees: levels kept in order, and the order asserted.
#include "table/run_tree.h"

#include <algorithm>
#include <unordered_set>

#include "base/assert.h"

namespace gapless::table {
namespace {

bool IsNewer(const std::shared_ptr<const Run>& a, const std::shared_ptr<const Run>& b) {
  if (a->info().max_seq != b->info().max_seq) return a->info().max_seq > b->info().max_seq;
  return a->info().number > b->info().number;
}

bool IsBefore(const std::shared_ptr<const Run>& a, const std::shared_ptr<const Run>& b) {
  return a->info().extent.lower < b->info().extent.lower;
}

bool HasOverlap(const RunList& runs) {
  for (size_t i = 1; i < runs.size(); i++) {
    if (!EndsAtOrBefore(runs[i - 1]->info().extent, runs[i]->info().extent.lower)) return true;
  }
  return false;
}

}  // namespace

bool EndsAtOrBefore(const Extent& extent, Slice key) {
  return !extent.unbounded && Slice(extent.upper).Compare(key) <= 0;
}

bool Overlap(const Extent& a, const Extent& b) {
  return !EndsAtOrBefore(a, b.lower) && !EndsAtOrBefore(b, a.lower);
}

Extent Hull(const Extent& a, const Extent& b) {
  Extent hull;
  hull.lower = std::min(a.lower, b.lower);
  hull.unbounded = a.unbounded || b.unbounded;
  if (!hull.unbounded) hull.upper = std::max(a.upper, b.upper);
  return hull;
}

bool ShardRuns::empty() const {
  return std::all_of(std::begin(levels), std::end(levels),
                     [](const RunList& runs) { return runs.empty(); });
}

std::shared_ptr<const RunTree> RunTree::With(const RunList& removed, const RunList& added) const {
  auto after = std::make_shared<RunTree>(*this);
  std::unordered_set<uint64_t> numbers;
  for (const auto& run : removed) numbers.insert(run->info().number);
  size_t found = 0;
  for (ShardRuns& shard : after->shards_) {
    if (numbers.empty()) break;
    for (RunList& runs : shard.levels) {
      found += std::erase_if(
          runs, [&numbers](const auto& run) { return numbers.contains(run->info().number); });
    }
  }
  GAPLESS_ASSERT(found == removed.size());
  for (const auto& run : added) {
    GAPLESS_ASSERT(run->info().shard < shards() && run->info().level < kLevelsMax);
    after->shards_[run->info().shard].levels[run->info().level].push_back(run);
  }
  for (ShardRuns& shard : after->shards_) {
    std::sort(shard.levels[0].begin(), shard.levels[0].end(), IsNewer);
    for (uint32_t level = 1; level < kLevelsMax; level++) {
      RunList& runs = shard.levels[level];
      std::sort(runs.begin(), runs.end(), IsBefore);
      GAPLESS_ASSERT(!HasOverlap(runs));
    }
  }
  return after;
}

RunList RunTree::All() const {
  RunList all;
  for (const ShardRuns& shard : shards_) {
    for (const RunList& runs : shard.levels) all.insert(all.end(), runs.begin(), runs.end());
  }
  return all;
}

uint64_t RunTree::bytes() const {
  uint64_t bytes = 0;
  std::unordered_set<uint64_t> files;
  for (const ShardRuns& shard : shards_) {
    for (const RunList& runs : shard.levels) {
      for (const auto& run : runs) {
        bytes += run->info().bytes;
        for (const ValueUse& use : run->info().values) {
          if (files.insert(use.file).second) bytes += use.file_bytes;
        }
      }
    }
  }
  return bytes;
}

uint64_t RunTree::count() const {
  uint64_t count = 0;
  for (const ShardRuns& shard : shards_) {
    for (const RunList& runs : shard.levels) count += runs.size();
  }
  return count;
}

}  // namespace gapless::table
