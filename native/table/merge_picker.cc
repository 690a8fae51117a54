// Level targets, candidates by score, and the plan that takes along what a merge needs.
#include "table/merge_picker.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "base/assert.h"

namespace gapless::table {
namespace {

constexpr uint32_t kDeepest = kLevelsMax - 1;
constexpr uint64_t kRatio = 10;
// Level 0 waits, up to twice its number of runs, until it is this part of the base.
constexpr uint64_t kLevel0Share = 3;
// A run with more deletions than this part of its cells is merged down.
constexpr uint64_t kDeletionShare = 4;
// A level is cut into at least so many runs: what is merged at once stays small beside the level,
// and of the deepest one, little that does not overlap is rewritten at its edges.
constexpr uint64_t kRunsOfLevel = 8;
constexpr uint64_t kRunsOfDeepest = 64;
constexpr uint64_t kSmallestRunShare = 4;  // of base_bytes
// A run smaller than this part of the run size is not moved but merged, to make larger ones.
constexpr uint64_t kMoveShare = 4;
// Scores. A level above the base must go; deletions come behind sizes.
constexpr double kAboveBaseScore = 1.5;
constexpr double kDeletionsScore = 1.001;
// Level 0 may refer to this part of a shard's bytes without being merged for that.
constexpr uint64_t kLevel0ValuesShare = 8;
// A value file is worn when less than a half of it is referred to; or less than three quarters, as
// long as that holds for all of the shard's together. So much of them is rewritten at once, or one.
constexpr double kWornShare = 0.5;
constexpr double kWornShareOfAll = 0.75;
constexpr uint64_t kWornBytesAtOnce = uint64_t{64} << 20;

using Busy = std::unordered_set<uint64_t>;

struct Candidate {
  double score = 0;
  uint32_t shard = 0;
  uint32_t level = 0;
  bool for_deletions = false;
  bool for_values = false;
};

uint64_t BytesOf(const RunList& runs) {
  uint64_t bytes = 0;
  for (const auto& run : runs) bytes += run->info().bytes;
  return bytes;
}

uint64_t ReferredBytes(const RunList& runs) {
  uint64_t bytes = 0;
  for (const auto& run : runs) bytes += run->info().referred_bytes();
  return bytes;
}

// The value files of one shard.
struct ValueSpace {
  uint64_t file_bytes = 0;
  uint64_t referred_bytes = 0;
  std::vector<ValueUse> worn;  // those to be rewritten, the worst first; bytes: of all runs
};

double ShareOf(uint64_t referred, uint64_t file_bytes) {
  return static_cast<double>(referred) / static_cast<double>(std::max<uint64_t>(file_bytes, 1));
}

ValueSpace ValueSpaceOf(const ShardRuns& runs) {
  constexpr uint64_t kHeader = kValuesHeaderBytes;
  std::map<uint64_t, ValueUse> files;  // without their headers
  for (const RunList& level : runs.levels) {
    for (const auto& run : level) {
      for (const ValueUse& use : run->info().values) {
        const auto at =
            files.try_emplace(use.file, ValueUse{use.file, use.file_bytes - kHeader, 0}).first;
        at->second.bytes += use.bytes;
      }
    }
  }
  ValueSpace space;
  for (const auto& [number, file] : files) {
    space.file_bytes += file.file_bytes;
    space.referred_bytes += file.bytes;
  }
  const bool all_worn = ShareOf(space.referred_bytes, space.file_bytes) < kWornShareOfAll;
  for (const auto& [number, file] : files) {
    const double share = ShareOf(file.bytes, file.file_bytes);
    if (share < (all_worn ? kWornShareOfAll : kWornShare)) space.worn.push_back(file);
  }
  std::stable_sort(space.worn.begin(), space.worn.end(), [](const ValueUse& a, const ValueUse& b) {
    return ShareOf(a.bytes, a.file_bytes) < ShareOf(b.bytes, b.file_bytes);
  });
  return space;
}

// As many as one merge rewrites, from one of the worst on.
std::vector<uint64_t> WornAtOnce(const ValueSpace& space, size_t from) {
  std::vector<uint64_t> numbers;
  uint64_t bytes = 0;
  for (size_t i = from; i < space.worn.size(); i++) {
    bytes += space.worn[i].bytes;
    if (i > from && bytes > kWornBytesAtOnce) break;
    numbers.push_back(space.worn[i].file);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// Levels of one shard: how much each may hold.
struct Shape {
  uint32_t base = kDeepest;  // where level 0 goes while no level above it holds runs
  uint64_t target[kLevelsMax] = {};
};

Shape ShapeOf(const ShardRuns& runs, const PickerOptions& options) {
  Shape shape;
  uint64_t target = BytesOf(runs.levels[kDeepest]);
  shape.target[kDeepest] = target;
  uint32_t level = kDeepest;
  while (level > 1 && target / kRatio >= options.base_bytes) {
    target /= kRatio;
    shape.target[--level] = target;
  }
  shape.base = level;
  return shape;
}

// Where runs of `level` go: the next level that is used, or that still holds runs.
uint32_t NextLevel(const ShardRuns& runs, const Shape& shape, uint32_t level) {
  uint32_t next = level + 1;
  while (next < shape.base && runs.levels[next].empty()) next++;
  return next;
}

Extent HullOf(const RunList& runs) {
  Extent hull = runs[0]->info().extent;
  for (const auto& run : runs) hull = Hull(hull, run->info().extent);
  return hull;
}

// The first run of a level deeper than 0 that ends behind the extent's start.
RunList::const_iterator FirstBehind(const RunList& runs, const Extent& extent) {
  return std::partition_point(runs.begin(), runs.end(), [&extent](const auto& run) {
    return EndsAtOrBefore(run->info().extent, extent.lower);
  });
}

void AddOverlapping(const RunList& runs, const Extent& extent, RunList* to) {
  for (auto at = FirstBehind(runs, extent); at != runs.end(); ++at) {
    if (!Overlap((*at)->info().extent, extent)) return;
    to->push_back(*at);
  }
}

bool AnyOverlaps(const RunList& runs, const Extent& extent) {
  const auto first = FirstBehind(runs, extent);
  return first != runs.end() && Overlap((*first)->info().extent, extent);
}

bool OverlapEachOther(const RunList& runs) {
  for (size_t i = 0; i < runs.size(); i++) {
    for (size_t k = i + 1; k < runs.size(); k++) {
      if (Overlap(runs[i]->info().extent, runs[k]->info().extent)) return true;
    }
  }
  return false;
}

bool HasDeletions(const RunInfo& info) { return info.deletions > 0 || info.range_deletes > 0; }

uint64_t WantedRunBytes(const Shape& shape, const PickerOptions& options, uint32_t level) {
  const uint64_t runs = level == kDeepest ? kRunsOfDeepest : kRunsOfLevel;
  const uint64_t least = options.base_bytes / kSmallestRunShare;
  return std::min(options.run_bytes, std::max(least, shape.target[level] / runs));
}

// The size of outputs, so that they come out even.
uint64_t RunBytes(uint64_t total, uint64_t wanted) {
  if (wanted == 0) return 0;
  const uint64_t parts = std::max<uint64_t>(1, (total + wanted - 1) / wanted);
  return total / parts + total / parts / 16 + 1;
}

bool MayMove(const MergePlan& plan, size_t from_runs, uint64_t wanted) {
  if (plan.inputs.size() != from_runs || plan.from_level == plan.to_level) return false;
  for (const auto& run : plan.inputs) {
    if (run->info().bytes < wanted / kMoveShare) return false;
    if (plan.bottom && HasDeletions(run->info())) return false;
  }
  return plan.from_level > 0 || !OverlapEachOther(plan.inputs);
}

// `inputs`, of from_level, with all that they need of the levels down to to_level. None when a run
// of these is busy.
std::optional<MergePlan> PlanFor(const ShardRuns& runs, const Shape& shape,
                                 const PickerOptions& options, const Busy& busy, RunList inputs,
                                 MergePlan plan) {
  const size_t from_runs = inputs.size();
  Extent hull = HullOf(inputs);
  for (uint32_t level = plan.from_level + 1; level <= plan.to_level; level++) {
    const size_t before = inputs.size();
    AddOverlapping(runs.levels[level], hull, &inputs);
    if (inputs.size() > before) hull = Hull(hull, HullOf(inputs));
  }
  for (const auto& run : inputs) {
    if (busy.contains(run->info().number)) return std::nullopt;
  }
  plan.bottom = true;
  for (uint32_t level = plan.to_level + 1; level < kLevelsMax; level++) {
    if (AnyOverlaps(runs.levels[level], hull)) plan.bottom = false;
  }
  const uint64_t wanted = WantedRunBytes(shape, options, plan.to_level);
  plan.run_bytes = RunBytes(BytesOf(inputs), wanted);
  plan.inputs = std::move(inputs);
  plan.move = MayMove(plan, from_runs, wanted);
  return plan;
}

// --- candidates ---

// How many runs of level 0 are too many.
uint64_t Level0Trigger(const ShardRuns& runs, const Shape& shape, const PickerOptions& options) {
  const RunList& level0 = runs.levels[0];
  const uint64_t base_bytes = BytesOf(runs.levels[NextLevel(runs, shape, 0)]);
  const bool base_is_large = BytesOf(level0) < base_bytes / kLevel0Share;
  return base_is_large ? uint64_t{options.level0_runs} * 2 : options.level0_runs;
}

bool WantsDown(const RunInfo& info) {
  return info.range_deletes > 0 || info.deletions * kDeletionShare > info.cells;
}

// A run of the deepest level whose deletions would all go.
bool WantsCleaning(const RunInfo& info, const PickerOptions& options) {
  return HasDeletions(info) && WantsDown(info) && info.max_seq <= options.oldest_seq;
}

bool AnyFree(const RunList& runs, const Busy& busy, bool (*wanted)(const RunInfo&)) {
  return std::any_of(runs.begin(), runs.end(), [&](const auto& run) {
    return wanted(run->info()) && !busy.contains(run->info().number);
  });
}

void AddValueCandidates(const ShardRuns& runs, uint32_t shard, std::vector<Candidate>* to) {
  const ValueSpace space = ValueSpaceOf(runs);
  if (space.file_bytes == 0) return;
  uint64_t bytes = space.referred_bytes;
  for (const RunList& level : runs.levels) bytes += BytesOf(level);
  const uint64_t level0 = ReferredBytes(runs.levels[0]);
  if (level0 > bytes / kLevel0ValuesShare) {
    to->push_back({1 + ShareOf(level0, bytes), shard, 0, false, false});
  }
  if (space.worn.empty()) return;
  // The more garbage, the sooner: before level 0 if there is twice as much as there should be.
  const double excess = ShareOf(space.file_bytes, space.referred_bytes) - 1;
  to->push_back({1 + 2 * excess, shard, 0, false, true});
}

void AddCandidates(const ShardRuns& runs, const Shape& shape, const PickerOptions& options,
                   const Busy& busy, uint32_t shard, std::vector<Candidate>* to) {
  const uint64_t trigger = Level0Trigger(runs, shape, options);
  AddValueCandidates(runs, shard, to);
  const auto level0 = static_cast<double>(runs.levels[0].size());
  if (runs.levels[0].size() >= trigger) {
    to->push_back({1 + level0 / static_cast<double>(trigger), shard, 0, false, false});
  }
  for (uint32_t level = 0; level <= kDeepest; level++) {
    const RunList& list = runs.levels[level];
    if (list.empty()) continue;
    if (level > 0 && level < kDeepest) {
      uint64_t bytes = 0;  // without what is being merged: as if it were gone
      for (const auto& run : list) {
        if (!busy.contains(run->info().number)) bytes += run->info().bytes;
      }
      const bool above_base = level < shape.base;
      const double score =
          above_base ? kAboveBaseScore
                     : static_cast<double>(bytes) / static_cast<double>(shape.target[level]);
      if (bytes > 0 && score > 1) to->push_back({score, shard, level, false, false});
    }
    if (level == 0 && !options.settle) continue;
    if (AnyFree(list, busy, WantsDown)) {
      to->push_back({kDeletionsScore, shard, level, true, false});
    }
  }
}

// The free runs of a level, those first that rewrite the least below for their size.
RunList ByOverlap(const RunList& runs, const RunList& below, const Busy& busy) {
  struct Ranked {
    double cost;
    std::shared_ptr<const Run> run;
  };
  std::vector<Ranked> ranked;
  for (const auto& run : runs) {
    if (busy.contains(run->info().number)) continue;
    RunList overlapping;
    AddOverlapping(below, run->info().extent, &overlapping);
    const auto own = static_cast<double>(std::max<uint64_t>(run->info().bytes, 1));
    ranked.push_back({static_cast<double>(BytesOf(overlapping)) / own, run});
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.cost < b.cost; });
  RunList sorted;
  for (Ranked& item : ranked) sorted.push_back(std::move(item.run));
  return sorted;
}

const char* ReasonOf(const RunList& runs) {
  const bool ranges = std::any_of(runs.begin(), runs.end(),
                                  [](const auto& run) { return run->info().range_deletes > 0; });
  return ranges ? "range" : "deletions";
}

// The runs that a deletion candidate takes one of.
RunList Unwanted(const RunList& sorted, bool deepest, const PickerOptions& options) {
  RunList runs;
  for (const auto& run : sorted) {
    const RunInfo& info = run->info();
    if (deepest ? WantsCleaning(info, options) : WantsDown(info)) runs.push_back(run);
  }
  return runs;
}

// A run that refers to one of the worst value files, merged with itself; those of level 0 go down.
std::optional<MergePlan> PlanForValues(const ShardRuns& runs, const Shape& shape,
                                       const PickerOptions& options, const Busy& busy,
                                       MergePlan plan) {
  plan.reason = "values";
  const ValueSpace space = ValueSpaceOf(runs);
  for (size_t i = 0; i < space.worn.size(); i++) {
    plan.worn_values = WornAtOnce(space, i);
    for (uint32_t level = 0; level < kLevelsMax; level++) {
      plan.from_level = level;
      plan.to_level = level == 0 ? NextLevel(runs, shape, 0) : level;
      for (const auto& run : runs.levels[level]) {
        if (FindUse(run->info().values, space.worn[i].file) == nullptr) continue;
        std::optional<MergePlan> found =
            PlanFor(runs, shape, options, busy, level == 0 ? runs.levels[0] : RunList{run}, plan);
        if (found.has_value()) return found;
        if (level == 0) break;
      }
    }
  }
  return std::nullopt;
}

std::optional<MergePlan> PlanOf(const RunTree& tree, const PickerOptions& options, const Busy& busy,
                                const Candidate& candidate) {
  const ShardRuns& runs = tree.shard(candidate.shard);
  const Shape shape = ShapeOf(runs, options);
  const RunList& level = runs.levels[candidate.level];
  MergePlan plan;
  plan.shard = candidate.shard;
  plan.from_level = candidate.level;
  plan.score = candidate.score;
  if (candidate.for_values) return PlanForValues(runs, shape, options, busy, plan);
  const bool deepest = candidate.level == kDeepest;
  plan.to_level = deepest ? kDeepest : NextLevel(runs, shape, candidate.level);
  if (candidate.level == 0) {
    plan.reason = candidate.for_deletions ? ReasonOf(level) : "level0";
    return PlanFor(runs, shape, options, busy, level, plan);
  }
  RunList sorted = ByOverlap(level, deepest ? RunList() : runs.levels[plan.to_level], busy);
  if (candidate.for_deletions) sorted = Unwanted(sorted, deepest, options);
  for (const auto& run : sorted) {
    plan.reason = candidate.for_deletions ? ReasonOf({run}) : "size";
    std::optional<MergePlan> found = PlanFor(runs, shape, options, busy, {run}, plan);
    if (found.has_value()) return found;
  }
  return std::nullopt;
}

// The merge rewrites what it meets of worn value files.
MergePlan WithWorn(const RunTree& tree, MergePlan plan) {
  if (plan.worn_values.empty()) {
    plan.worn_values = WornAtOnce(ValueSpaceOf(tree.shard(plan.shard)), 0);
  }
  for (const auto& run : plan.inputs) {
    for (const uint64_t number : plan.worn_values) {
      if (FindUse(run->info().values, number) != nullptr) plan.move = false;
    }
  }
  return plan;
}

// --- compact(range) ---

// The newest run of level 0 that the request is for, and all that are older.
RunList Level0Of(const RunList& level0, const Extent& range, uint64_t done_through) {
  RunList runs;
  for (const auto& run : level0) {
    const RunInfo& info = run->info();
    if (!runs.empty() || (info.number <= done_through && Overlap(info.extent, range))) {
      runs.push_back(run);
    }
  }
  return runs;
}

std::optional<MergePlan> CompactShard(const ShardRuns& runs, const PickerOptions& options,
                                      const Extent& range, uint64_t done_through, const Busy& busy,
                                      MergePlan plan) {
  const Shape shape = ShapeOf(runs, options);
  plan.to_level = kDeepest;
  const RunList level0 = Level0Of(runs.levels[0], range, done_through);
  if (!level0.empty()) return PlanFor(runs, shape, options, busy, level0, plan);
  for (uint32_t level = kDeepest; level > 0; level--) {
    plan.from_level = level;
    for (const auto& run : runs.levels[level]) {
      const RunInfo& info = run->info();
      if (info.number > done_through || !Overlap(info.extent, range)) continue;
      if (level == kDeepest && !HasDeletions(info)) continue;
      std::optional<MergePlan> found = PlanFor(runs, shape, options, busy, {run}, plan);
      if (found.has_value()) return found;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<MergePlan> PickMerge(const RunTree& tree, const PickerOptions& options,
                                   const std::vector<uint64_t>& busy) {
  const Busy busy_set(busy.begin(), busy.end());
  std::vector<Candidate> candidates;
  for (uint32_t shard = 0; shard < tree.shards(); shard++) {
    const ShardRuns& runs = tree.shard(shard);
    AddCandidates(runs, ShapeOf(runs, options), options, busy_set, shard, &candidates);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  for (const Candidate& candidate : candidates) {
    std::optional<MergePlan> plan = PlanOf(tree, options, busy_set, candidate);
    if (plan.has_value()) return WithWorn(tree, std::move(*plan));
  }
  return std::nullopt;
}

std::optional<MergePlan> PickCompaction(const RunTree& tree, const PickerOptions& options,
                                        const Extent& range, uint64_t done_through,
                                        const std::vector<uint64_t>& busy) {
  const Busy busy_set(busy.begin(), busy.end());
  for (uint32_t shard = 0; shard < tree.shards(); shard++) {
    MergePlan plan;
    plan.shard = shard;
    plan.score = 1;
    plan.reason = "request";
    std::optional<MergePlan> found =
        CompactShard(tree.shard(shard), options, range, done_through, busy_set, plan);
    if (!found.has_value()) continue;
    found->move = false;  // what is rewritten loses what it still held for ended views
    return WithWorn(tree, std::move(*found));
  }
  return std::nullopt;
}

uint64_t MergeDebt(const RunTree& tree, const PickerOptions& options) {
  uint64_t debt = 0;
  for (uint32_t s = 0; s < tree.shards(); s++) {
    const ShardRuns& runs = tree.shard(s);
    const Shape shape = ShapeOf(runs, options);
    uint64_t incoming = 0;  // bytes that come down into the level
    uint32_t level = NextLevel(runs, shape, 0);
    if (runs.levels[0].size() >= Level0Trigger(runs, shape, options)) {
      incoming = BytesOf(runs.levels[0]);
      debt += incoming + BytesOf(runs.levels[level]);
    }
    while (level < kDeepest) {
      const uint64_t bytes = BytesOf(runs.levels[level]) + incoming;
      const uint32_t next = NextLevel(runs, shape, level);
      const uint64_t excess = bytes - std::min(bytes, shape.target[level]);
      const uint64_t below = BytesOf(runs.levels[next]);
      if (excess > 0) {
        const double share = static_cast<double>(excess) / static_cast<double>(bytes);
        debt += excess + static_cast<uint64_t>(share * static_cast<double>(below));
      }
      incoming = excess;
      level = next;
    }
  }
  return debt;
}

}  // namespace gapless::table
