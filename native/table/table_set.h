// What a read looks at: for each shard the memtables and runs of one moment, newest first.
//
// Immutable. The store swaps whole sets through one pointer; who reads one holds a ReadGuard, or
// the store's mutex. A set keeps everything in it alive.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "table/memtable.h"
#include "table/run_tree.h"
#include "table/store.h"

namespace gapless::table {

// One level deeper than 0: runs in key order that do not overlap, searched by eight bytes of their
// lower bounds behind the bytes that all of these share.
class LevelIndex {
 public:
  explicit LevelIndex(const RunList& runs);

  size_t size() const { return runs_.size(); }
  const Run* run(size_t index) const { return runs_[index]; }
  const Extent& extent(size_t index) const { return runs_[index]->info().extent; }
  // Some run of the level has range deletes.
  bool has_ranges() const { return has_ranges_; }
  // The first run whose extent ends behind `key`, or size(); it may begin behind `key` as well.
  size_t FirstBehind(Slice key) const;
  // The last run whose extent begins at or before `key`, or size() if there is none.
  size_t LastFrom(Slice key) const;
  // The run whose extent holds `key`, or null.
  const Run* Holding(Slice key) const;

 private:
  size_t CountFrom(Slice key) const;

  std::vector<const Run*> runs_;
  std::vector<uint64_t> prefixes_;  // of the lower bounds, behind `common_`
  std::string common_;
  bool has_ranges_ = false;
};

// The tables of one shard.
struct ShardTables {
  // Nothing but one memtable: what most small stores are, and every new one.
  bool plain = true;
  const Memtable* active = nullptr;        // takes the writes
  std::vector<const Memtable*> memtables;  // the active one, then the sealed ones that hold any
  RunList level0;
  std::vector<LevelIndex> levels;  // those deeper than 0 that hold runs

  // The live entry at the read point, from the newest table that has a version of the key.
  Result<bool> Get(uint64_t hash, Slice key, const ReadPoint& at, Entry* entry) const;
};

// See SealedTables. One memtable a shard.
class SealedMemtables final : public SealedTables {
 public:
  explicit SealedMemtables(std::vector<std::shared_ptr<const Memtable>> memtables);

  uint64_t bytes() const override { return bytes_; }
  std::unique_ptr<CellStream> NewStream(uint32_t shard) const override;
  const RangeSet* ranges(uint32_t shard) const override { return memtables_[shard]->ranges(); }
  const std::shared_ptr<const Memtable>& memtable(uint32_t shard) const {
    return memtables_[shard];
  }

 private:
  const std::vector<std::shared_ptr<const Memtable>> memtables_;
  uint64_t bytes_ = 0;
};

class TableSet {
 public:
  using Active = std::vector<std::shared_ptr<Memtable>>;
  using Sealed = std::vector<std::shared_ptr<const SealedMemtables>>;  // newest first

  TableSet(Active active, Sealed sealed, std::shared_ptr<const RunTree> runs);
  TableSet(const TableSet&) = delete;
  TableSet& operator=(const TableSet&) = delete;

  uint32_t shards() const { return static_cast<uint32_t>(shards_.size()); }
  const ShardTables& shard(uint32_t shard) const { return shards_[shard]; }
  bool plain() const { return plain_; }  // every shard is

  const Active& active() const { return active_; }
  const Sealed& sealed() const { return sealed_; }
  const std::shared_ptr<const RunTree>& runs() const { return runs_; }

 private:
  void AddShard(uint32_t shard);

  const Active active_;
  const Sealed sealed_;
  const std::shared_ptr<const RunTree> runs_;
  std::vector<ShardTables> shards_;
  bool plain_ = true;
};

}  // namespace gapless::table
