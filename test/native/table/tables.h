// A store together with what the engine does beside it: flushing sealed memtables into run files
// and merging runs. And a table in memory that counts its uses, or fails.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/fault_file_system.h"
#include "model.h"
#include "table/merge.h"
#include "table/merge_picker.h"
#include "table/run.h"

namespace gapless::table {

// A store on a disk of its own. Flush and Merge: one thread at a time.
class Keeper {
 public:
  explicit Keeper(const StoreOptions& options, uint32_t block_bytes = 256,
                  uint64_t run_bytes = 1500)
      : store_(options) {
    CHECK_OK(fs_.CreateDirectory("/runs"));
    options_.fs = &fs_;
    options_.directory = "/runs";
    options_.cluster.fill(0x5A);
    options_.block_bytes = block_bytes;
    picker_.level0_runs = 2;
    picker_.base_bytes = run_bytes * 3;
    picker_.run_bytes = run_bytes;
  }

  // Returns whether there was something to flush.
  bool Flush() {
    const std::shared_ptr<const SealedTables> sealed = store_.OldestSealed();
    if (sealed == nullptr) return false;
    const std::shared_ptr<const RunTree> tree = store_.runs();
    RunList added;
    for (uint32_t shard = 0; shard < store_.shards(); shard++) {
      MergeRequest request = NewRequest(shard, 0);
      request.inputs.emplace_back();
      request.inputs.back().cells = sealed->NewStream(shard);
      request.inputs.back().ranges = sealed->ranges(shard);
      request.bottom = tree->shard(shard).empty();
      Add(std::move(request), &added);
    }
    store_.InstallFlush(sealed, added);
    return true;
  }

  // One merge that is due, or else one step of compacting [lower, upper) (`unbounded`: without an
  // end). Returns whether there was one.
  bool Merge(const std::string& lower, const std::string& upper, bool unbounded) {
    const std::shared_ptr<const RunTree> tree = store_.runs();
    std::optional<MergePlan> plan = PickMerge(*tree, picker_, {});
    if (!plan && (unbounded || lower < upper)) {
      plan = PickCompaction(*tree, picker_, Extent{lower, upper, unbounded}, number_, {});
    }
    if (!plan) return false;
    MergeRequest request = NewRequest(plan->shard, plan->to_level);
    for (const auto& run : plan->inputs) {
      request.inputs.emplace_back();
      request.inputs.back().cells = Run::NewStream(run);
      request.inputs.back().ranges = run->ranges();
      request.inputs.back().info = &run->info();
    }
    request.bottom = plan->bottom;
    request.run_bytes = plan->run_bytes;
    RunList added;
    Add(std::move(request), &added);
    store_.InstallRuns(plan->inputs, added);
    for (const auto& run : plan->inputs) CHECK_OK(fs_.Remove(run->path()));
    return true;
  }

  Store& store() { return store_; }
  const RunOptions& options() const { return options_; }
  uint64_t runs_made() const { return number_; }

 private:
  MergeRequest NewRequest(uint32_t shard, uint32_t level) {
    MergeRequest request;
    request.protected_seqs = store_.ProtectedSeqs();
    request.shard = shard;
    request.level = level;
    request.next_number = [this] { return ++number_; };
    return request;
  }

  void Add(MergeRequest request, RunList* added) {
    MergeStats stats;
    const Result<std::vector<RunInfo>> infos = table::Merge(options_, std::move(request), &stats);
    REQUIRE_OK(infos);
    for (const RunInfo& info : infos.value()) {
      const auto run = Run::Open(options_, info, store_.cache());
      REQUIRE_OK(run);
      added->push_back(run.value());
    }
  }

  io::FaultFileSystem fs_;  // before the store, whose runs use it
  RunOptions options_;
  PickerOptions picker_;
  uint64_t number_ = 0;
  Store store_;
};

struct OwnedCell {
  std::string key;
  std::string value;
  uint64_t seq = 0;
  uint64_t expires = 0;
  bool deleted = false;
};

// What happens to the tables in memory of one test.
struct TableLog {
  std::atomic<int> gets{0};
  std::atomic<int> iterators{0};
  std::atomic<int> moves{0};  // of these
  std::atomic<int> destroyed{0};
  std::atomic<bool> fails{false};
};

// A table in memory: cells in order, read one after the other.
class MemoryRun final : public Run {
 public:
  MemoryRun(RunInfo info, std::vector<OwnedCell> cells, std::vector<RangeFragment> ranges,
            TableLog* log)
      : info_(std::move(info)),
        cells_(std::move(cells)),
        ranges_(RangeSet::Of(std::move(ranges))),
        log_(log) {}
  ~MemoryRun() override {
    if (ranges_ != nullptr) ranges_->Unref();
    log_->destroyed++;
  }

  const RunInfo& info() const override { return info_; }
  const std::string& path() const override { return path_; }
  const RangeSet* ranges() const override { return ranges_; }
  uint64_t memory_bytes() const override { return 0; }
  Result<Lookup> Get(uint64_t, Slice key, uint64_t at_seq, Cell* cell) const override {
    log_->gets++;
    if (log_->fails) return Damage();
    for (const OwnedCell& owned : cells_) {
      if (owned.seq > at_seq || Slice(owned.key) != key) continue;
      *cell = CellOfOwned(owned);
      return Lookup::kFound;
    }
    return Lookup::kAbsent;
  }
  std::unique_ptr<CellIterator> NewIterator(uint64_t at_seq) const override;
  Result<std::vector<RunDamage>> Verify() const override { return std::vector<RunDamage>(); }

  static Status Damage() { return Status::Corrupt("a block is damaged", "/runs/1", 4096); }
  static Cell CellOfOwned(const OwnedCell& owned) {
    return {owned.key, owned.value, owned.seq, owned.expires, owned.deleted, {}};
  }

 private:
  class Iterator;

  const RunInfo info_;
  const std::string path_ = "/runs/1";
  const std::vector<OwnedCell> cells_;  // keys ascend, sequences of one key fall
  const RangeSet* const ranges_;
  TableLog* const log_;
};

// Copies its cell, so that slices of the last one are lost as they are with a real run.
class MemoryRun::Iterator final : public CellIterator {
 public:
  Iterator(const MemoryRun* run, uint64_t at_seq) : run_(run) {
    for (const OwnedCell& owned : run->cells_) {
      const bool known = !shown_.empty() && shown_.back()->key == owned.key;
      if (owned.seq <= at_seq && !known) shown_.push_back(&owned);
    }
    at_ = shown_.size();
  }
  bool Valid() const override { return at_ < shown_.size(); }
  const Cell& cell() const override { return cell_; }
  void Next() override { MoveTo(at_ + 1); }
  void Prev() override { MoveTo(at_ == 0 ? shown_.size() : at_ - 1); }
  void Seek(Slice key) override { MoveTo(CountBefore(key, false)); }
  void SeekForPrev(Slice key) override {
    const size_t count = CountBefore(key, true);
    MoveTo(count == 0 ? shown_.size() : count - 1);
  }
  void SeekToFirst() override { MoveTo(0); }
  void SeekToLast() override { MoveTo(shown_.empty() ? 0 : shown_.size() - 1); }
  Status status() const override { return status_; }

 private:
  size_t CountBefore(Slice key, bool or_at) const {
    size_t count = 0;
    for (const OwnedCell* const cell : shown_) {
      const int order = Slice(cell->key).Compare(key);
      count += order < 0 || (or_at && order == 0) ? 1 : 0;
    }
    return count;
  }
  void MoveTo(size_t at) {
    run_->log_->moves++;
    at_ = at;
    status_ = run_->log_->fails ? Damage() : Status::Ok();
    if (!status_.ok()) at_ = shown_.size();
    if (!Valid()) return;
    copy_ = std::make_unique<OwnedCell>(*shown_[at_]);
    cell_ = CellOfOwned(*copy_);
  }

  const MemoryRun* const run_;
  std::vector<const OwnedCell*> shown_;
  size_t at_ = 0;
  std::unique_ptr<OwnedCell> copy_;
  Cell cell_;
  Status status_;
};

inline std::unique_ptr<CellIterator> MemoryRun::NewIterator(uint64_t at_seq) const {
  log_->iterators++;
  return std::make_unique<Iterator>(this, at_seq);
}

// A run in memory over all keys, or over [lower, upper).
inline std::shared_ptr<const Run> MakeRun(TableLog* log, uint64_t number, uint32_t level,
                                          std::vector<OwnedCell> cells,
                                          std::vector<RangeFragment> ranges = {},
                                          Extent extent = {"", "", true}) {
  RunInfo info;
  info.number = number;
  info.level = level;
  info.cells = cells.size();
  info.range_deletes = ranges.size();
  info.extent = std::move(extent);
  for (const OwnedCell& cell : cells) {
    info.deletions += cell.deleted ? 1 : 0;
    info.max_seq = std::max(info.max_seq, cell.seq);
  }
  return std::make_shared<MemoryRun>(info, std::move(cells), std::move(ranges), log);
}

}  // namespace gapless::table
