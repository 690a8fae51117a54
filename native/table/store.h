// The committed state: F shards, each a set of tables. A set is the memtable that takes writes, the
// sealed ones that wait to be flushed, and the runs below them (run_tree.h), newest first.
//
// Threads. One writer per shard at a time: the sequencer for all shards, or on a replica one apply
// task a shard, or the loader. Readers take no lock: they hold a ReadGuard while they touch memory.
// Publish is called by one thread at a time (the engine's commit mutex is held).
//
// Sets are swapped whole (Seal, InstallFlush, InstallRuns); a replaced set, its memtables and its
// runs are let go once no ReadGuard of before the swap is held.
//
// Invariant: for each key the tables keep every version above the visible sequence, the newest at
// or below it, and for each open view or running read the newest at or below its sequence.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/slice.h"
#include "base/status.h"
#include "table/block_cache.h"
#include "table/cell.h"
#include "table/run_tree.h"

namespace gapless::table {

// What a read sees: versions with sequence <= seq, judged for expiry at as_of_ms.
struct ReadPoint {
  uint64_t seq = 0;
  uint64_t as_of_ms = 0;
};

// Read values with CopyValue and LoadValue (value_file.h).
struct Entry {
  Slice key;
  Slice value;                 // empty if it is stored apart
  uint64_t seq = 0;            // of its last write
  uint64_t expires_at_ms = 0;  // 0: never
  StoredValue stored;
  size_t value_bytes() const {
    return stored.file == nullptr ? value.size() : stored.ref.raw_bytes;
  }
};

// One mutation with its sequence, decoded by the caller.
enum class MutationKind : uint8_t { kPut, kDel, kDelRange };
struct Mutation {
  MutationKind kind = MutationKind::kPut;
  Slice key;               // delRange: lower bound, inclusive
  Slice value;             // delRange: upper bound, exclusive
  bool unbounded = false;  // delRange without upper bound
  uint64_t expires_at_ms = 0;
  uint64_t seq = 0;
  // The last of its batch. Range deletes of a batch are laid over the others once, behind it: their
  // slices live so long.
  bool last = true;
};

struct StoreOptions {
  uint32_t shards = 4;  // 1 to 64
  uint64_t cache_bytes = uint64_t{64} << 20;
};

struct StoreStats {
  // Live keys: exact but for what is in flight while no table lies below another; then an
  // overwritten or deleted key may count until it is merged.
  uint64_t keys_estimate = 0;
  uint64_t memtable_bytes = 0;  // sealed ones included
  uint64_t sealed_bytes = 0;
  CacheStats cache;
  uint64_t range_tombstones = 0;
  uint64_t open_views = 0;
  uint64_t arena_allocations = 0;  // blocks taken from the system since creation
};

class Store;

// Keeps memory that a reader may touch alive. Cheap (two atomic stores); take one per operation or
// per chunk of a range, never across a wait. A thread may hold several.
class ReadGuard {
 public:
  explicit ReadGuard(const Store* store);
  ~ReadGuard();
  ReadGuard(const ReadGuard&) = delete;
  ReadGuard& operator=(const ReadGuard&) = delete;
  // A sequence that this guard protects for reading: the newest visible when it was taken.
  uint64_t visible_seq() const { return visible_seq_; }

 private:
  const Store* const store_;
  uint32_t slot_ = 0;
  uint64_t visible_seq_ = 0;
};

// Walks live entries in key order, forward or backward, at one read point. Valid only while a
// ReadGuard is held and the read point is protected (by a view, or by being the guard's own).
class Iterator {
 public:
  virtual ~Iterator() = default;
  virtual bool Valid() const = 0;
  virtual const Entry& entry() const = 0;  // its slices live until the next move
  virtual void Next() = 0;
  virtual void Prev() = 0;
  virtual void Seek(Slice key) = 0;         // first entry >= key
  virtual void SeekForPrev(Slice key) = 0;  // last entry <= key
  virtual void SeekToFirst() = 0;
  virtual void SeekToLast() = 0;
  // Errors of the tables below (damage); Valid() is false then.
  virtual Status status() const = 0;
};

// The memtables of all shards, as Seal left them: immutable. Kept alive by whoever flushes them.
class SealedTables {
 public:
  virtual ~SealedTables() = default;
  virtual uint64_t bytes() const = 0;
  // Every version, for a flush; keeps the tables alive.
  virtual std::unique_ptr<CellStream> NewStream(uint32_t shard) const = 0;
  virtual const RangeSet* ranges(uint32_t shard) const = 0;  // may be null
};

class Store {
 public:
  explicit Store(const StoreOptions& options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  uint32_t shards() const;
  uint32_t ShardOf(Slice key) const;

  // --- writing ---
  // Requires: sequences rise within a shard; the caller is the only writer of every shard touched.
  void Apply(const Mutation& mutation);  // to the key's shard; delRange to all
  void ApplyToShard(uint32_t shard, const Mutation& mutation);  // only if it belongs there
  // Asks for the memory of a key that Apply or Get will want a few keys later: much of a write's
  // time goes by waiting for it. Requires: as Apply, or a ReadGuard.
  void Prefetch(Slice key) const;
  // Makes everything with sequence <= seq visible. Rises only.
  void Publish(uint64_t seq);
  // Upkeep without a write: up to `steps` keys are pruned or freed from range deletes. For idle
  // times; each write does some by itself. Returns whether more is due. Requires: the caller is the
  // shard's writer.
  bool Purge(uint32_t shard, uint32_t steps);
  uint64_t visible_seq() const;

  // --- reading: hold a ReadGuard ---
  // Whether there is a live entry at the read point. Slices live as long as the guard. kCorrupt,
  // kIo with file and offset.
  Result<bool> Get(Slice key, const ReadPoint& at, Entry* entry) const;
  // All shards merged.
  std::unique_ptr<Iterator> NewIterator(const ReadPoint& at) const;
  // One shard: a flow of a snapshot.
  std::unique_ptr<Iterator> NewShardIterator(uint32_t shard, const ReadPoint& at) const;

  // --- sealing, flushing, merging ---
  // What an open's runs are: before the first write.
  void LoadRuns(const RunList& runs);
  // New memtables take the writes from now on. Requires: no writer runs, and everything applied is
  // visible. Nothing happens while the memtables are empty.
  void Seal();
  // What the memtables that take writes cost; the sealed ones wait beside them. Many kept range
  // deletes cost more than their bytes (4096 as much as 64 MiB): each new one copies their list.
  uint64_t active_bytes() const;
  std::shared_ptr<const SealedTables> OldestSealed() const;  // null: none
  // `added` takes the place of the oldest sealed tables.
  void InstallFlush(const std::shared_ptr<const SealedTables>& flushed, const RunList& added);
  // `added` takes the place of `removed`. Any thread, beside other installs.
  void InstallRuns(const RunList& removed, const RunList& added);
  std::shared_ptr<const RunTree> runs() const;
  // For MergeRequest: as of now, and good for ever.
  std::vector<uint64_t> ProtectedSeqs() const;
  BlockCache* cache() const;
  ValueFiles* value_files() const;
  // Lets go of replaced sets and evicted blocks that nobody reads any more. Any thread.
  void Reclaim();

  // --- views ---
  // Protects reads at `seq` until released. Requires: seq is protected at the time of the call (the
  // visible sequence under the commit mutex, or another view's).
  uint64_t AddView(uint64_t seq);
  void ReleaseView(uint64_t view);
  uint64_t oldest_view_seq() const;  // UINT64_MAX: none

  // Sum over the live entries of one shard at a read point; takes guards by itself, chunk by chunk.
  // Requires: `at` is protected by a view.
  struct DigestPart {
    DigestSum sum;
    uint64_t keys = 0;
    uint64_t bytes = 0;
  };
  Result<DigestPart> DigestShard(uint32_t shard, const ReadPoint& at) const;

  StoreStats stats() const;

  class Impl;

 private:
  friend class ReadGuard;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapless::table
