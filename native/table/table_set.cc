// Building sets and reading single keys from them. See the header for threads.
#include "table/table_set.h"

#include <algorithm>
#include <utility>

#include "table/memtable_cells.h"

namespace gapless::table {
namespace {

size_t CommonLength(Slice a, Slice b) {
  const size_t limit = std::min(a.size(), b.size());
  size_t length = 0;
  while (length < limit && a[length] == b[length]) length++;
  return length;
}

// One read of one key on its way down through the tables of a shard.
class KeyRead {
 public:
  KeyRead(uint64_t hash, Slice key, const ReadPoint& at) : hash_(hash), key_(key), at_(at) {}

  // Each: whether the read has ended, be it with an error.
  bool Pass(const Memtable& memtable);
  bool Pass(const Run& run);

  Result<bool> Finish(Entry* entry) const {
    if (!status_.ok()) return status_;
    if (!live_) return false;
    entry->key = cell_.key;
    entry->value = cell_.value;
    entry->stored = cell_.stored;
    entry->seq = cell_.seq;
    entry->expires_at_ms = cell_.expires_at_ms;
    return true;
  }

 private:
  bool Cover(const RangeSet* ranges) {
#if defined(GAPLESS_BUG_COVER_NOT_CARRIED_DOWN)
    cover_ = 0;
    if (ranges != nullptr) cover_ = ranges->CoverAt(key_, at_.seq);
    return false;
#else
    if (ranges != nullptr) cover_ = std::max(cover_, ranges->CoverAt(key_, at_.seq));
    return cover_ != 0;
#endif
  }
  bool Decide() {
    const bool expired = cell_.expires_at_ms != 0 && cell_.expires_at_ms <= at_.as_of_ms;
    live_ = !cell_.deleted && !expired && cell_.seq >= cover_;
    return true;
  }

  const uint64_t hash_;
  const Slice key_;
  const ReadPoint at_;
  Cell cell_;
  uint64_t cover_ = 0;  // the newest range delete over the key so far
  bool live_ = false;
  Status status_;
};

// What lies below a table is older, key by key: a range delete ends the read as a version does.
bool KeyRead::Pass(const Memtable& memtable) {
  const RangeSet* const ranges = memtable.ranges();  // before any version
  const Node* node = nullptr;
  const Version* const version = memtable.Find(hash_, key_, at_.seq, &node);
  const bool covered = Cover(ranges);
  if (version == nullptr) return covered;
  cell_ = CellOf(*node, *version);
  return Decide();
}

bool KeyRead::Pass(const Run& run) {
  const Result<Lookup> found = run.Get(hash_, key_, at_.seq, &cell_);
  if (!found.ok()) {
    status_ = found.status();
    return true;
  }
  const bool covered = Cover(run.ranges());
  return found.value() == Lookup::kFound ? Decide() : covered;
}

}  // namespace

LevelIndex::LevelIndex(const RunList& runs) {
  const Slice first = runs.front()->info().extent.lower;
  const Slice last = runs.back()->info().extent.lower;
  common_ = first.Sub(0, CommonLength(first, last)).ToString();
  for (const auto& run : runs) {
    runs_.push_back(run.get());
    prefixes_.push_back(KeyPrefix(run->info().extent.lower, common_.size()));
    has_ranges_ = has_ranges_ || run->ranges() != nullptr;
  }
}

// How many runs begin at or before `key`: they are the first ones.
size_t LevelIndex::CountFrom(Slice key) const {
  const size_t skip = common_.size();
  const int order = key.Sub(0, std::min(skip, key.size())).Compare(common_);
  if (order != 0) return order < 0 ? 0 : runs_.size();
  const uint64_t wanted = KeyPrefix(key, skip);
  const auto low = std::lower_bound(prefixes_.begin(), prefixes_.end(), wanted);
  size_t count = static_cast<size_t>(low - prefixes_.begin());
  while (count < runs_.size() && prefixes_[count] == wanted &&
         Slice(extent(count).lower).Compare(key) <= 0) {
    count++;
  }
  return count;
}

size_t LevelIndex::LastFrom(Slice key) const {
  const size_t count = CountFrom(key);
  return count == 0 ? size() : count - 1;
}

size_t LevelIndex::FirstBehind(Slice key) const {
  const size_t count = CountFrom(key);
  if (count == 0) return 0;
  return EndsAtOrBefore(extent(count - 1), key) ? count : count - 1;
}

const Run* LevelIndex::Holding(Slice key) const {
  const size_t at = LastFrom(key);
  return at == size() || EndsAtOrBefore(extent(at), key) ? nullptr : run(at);
}

Result<bool> ShardTables::Get(uint64_t hash, Slice key, const ReadPoint& at, Entry* entry) const {
  KeyRead read(hash, key, at);
  for (const Memtable* const memtable : memtables) {
    if (read.Pass(*memtable)) return read.Finish(entry);
  }
  for (const auto& run : level0) {
    const Extent& extent = run->info().extent;
    if (key.Compare(extent.lower) < 0 || EndsAtOrBefore(extent, key)) continue;
    if (read.Pass(*run)) return read.Finish(entry);
  }
  for (const LevelIndex& level : levels) {
    const Run* const run = level.Holding(key);
    if (run != nullptr && read.Pass(*run)) return read.Finish(entry);
  }
  return false;
}

SealedMemtables::SealedMemtables(std::vector<std::shared_ptr<const Memtable>> memtables)
    : memtables_(std::move(memtables)) {
  for (const auto& memtable : memtables_) bytes_ += memtable->bytes();
}

std::unique_ptr<CellStream> SealedMemtables::NewStream(uint32_t shard) const {
  return std::make_unique<MemtableStream>(memtables_[shard]);
}

TableSet::TableSet(Active active, Sealed sealed, std::shared_ptr<const RunTree> runs)
    : active_(std::move(active)), sealed_(std::move(sealed)), runs_(std::move(runs)) {
  for (uint32_t shard = 0; shard < active_.size(); shard++) AddShard(shard);
}

void TableSet::AddShard(uint32_t shard) {
  ShardTables tables;
  tables.active = active_[shard].get();
  tables.memtables.push_back(tables.active);
  for (const auto& sealed : sealed_) {
    if (!sealed->memtable(shard)->empty()) {
      tables.memtables.push_back(sealed->memtable(shard).get());
    }
  }
  const ShardRuns& runs = runs_->shard(shard);
  tables.level0 = runs.levels[0];
  for (uint32_t level = 1; level < kLevelsMax; level++) {
    if (!runs.levels[level].empty()) tables.levels.emplace_back(runs.levels[level]);
  }
  tables.plain = tables.memtables.size() == 1 && tables.level0.empty() && tables.levels.empty();
  // What lies below a memtable at the bottom would come back when its deletions vanish.
  GAPLESS_ASSERT(tables.plain || !tables.active->bottom());
  plain_ = plain_ && tables.plain;
  shards_.push_back(std::move(tables));
}

}  // namespace gapless::table
