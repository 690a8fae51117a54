// Runs: immutable sorted table files. Layout: docs/FORMAT.md "Run".
//
// A run is written once by a RunWriter (one thread) and then read by anyone. Blocks are read by
// ReadAt, verified (CRC over run number, position and bytes) before anything in them is used, and
// kept in the BlockCache; a failed read or check is a typed error with file and offset, on every
// path. Nothing is mapped.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"
#include "table/block_cache.h"
#include "table/cell.h"
#include "table/range_set.h"
#include "table/value_ref.h"

namespace gapless::table {

class ValueFiles;

// A value of at least so many bytes goes to a value file. Below, a merge copies it about as fast as
// a reference to it would be looked after, and a read finds it in the block of its key.
inline constexpr uint32_t kValueFileBytesMin = 8 * 1024;

enum class Compression : uint8_t { kNone = 0, kLz4 = 1 };

// [lower, upper) holds every key and every range delete of a run.
struct Extent {
  std::string lower;
  std::string upper;       // exclusive; unused when unbounded
  bool unbounded = false;  // a range delete without upper bound
  bool operator==(const Extent&) const = default;
};

// What a manifest says of a run.
struct RunInfo {
  uint64_t number = 0;  // unique in its generation, rises
  uint32_t shard = 0;
  uint32_t level = 0;
  uint64_t bytes = 0;  // of the file
  uint64_t cells = 0;  // deletions included
  uint64_t deletions = 0;
  uint64_t range_deletes = 0;  // fragments
  uint64_t raw_bytes = 0;      // of keys and values
  uint64_t min_seq = 0;        // of cells and range deletes
  uint64_t max_seq = 0;
  Extent extent;
  ValueUses values;  // the value files that its cells refer to
  bool operator==(const RunInfo&) const = default;

  uint64_t referred_bytes() const {
    uint64_t sum = 0;
    for (const ValueUse& use : values) sum += use.bytes;
    return sum;
  }
};

struct RunOptions {
  io::FileSystem* fs = nullptr;
  std::string directory;  // gen-NNNNNN/runs
  std::array<uint8_t, 16> cluster{};
  Compression compression = Compression::kNone;
  uint32_t block_bytes = 4096;  // raw size at which a block ends
  uint32_t value_file_bytes_min = kValueFileBytesMin;
  ValueFiles* value_files = nullptr;  // of the runs that are opened; null: each opens its own
};

// Writes one run, and its value file if there are large values. The files are complete, and
// fdatasynced, when Finish returned; their directory is not. Destroyed unfinished: both are
// removed.
class RunWriter {
 public:
  virtual ~RunWriter() = default;
  static Result<std::unique_ptr<RunWriter>> Create(const RunOptions& options, uint64_t number,
                                                   uint32_t shard, uint32_t level);
  // Keys ascend, sequences of one key fall. What stands in a value file stays there.
  virtual Status Add(const Cell& cell) = 0;
  // Before or between the cells; fragments ascend and do not overlap.
  virtual Status AddRange(const RangeFragment& fragment) = 0;
  // Of the run, and of its value file, so far, what is buffered included.
  virtual uint64_t bytes() const = 0;
  virtual uint64_t value_bytes() const = 0;
  virtual bool empty() const = 0;  // neither cells nor ranges
  virtual Result<RunInfo> Finish() = 0;
};

// What is wrong with a run, for verify: `what` as in INTERFACES section 15.
struct RunDamage {
  std::string file;  // the run's own, or a value file
  uint64_t offset = 0;
  std::string what;
};

enum class Lookup : uint8_t { kAbsent, kFound };  // kFound: a cell, which may be a deletion

class Run {
 public:
  // Reads header, footer, properties and top index; compares them with `info`. kCorrupt with file
  // and offset. `cache` outlives the run.
  static Result<std::shared_ptr<const Run>> Open(const RunOptions& options, const RunInfo& info,
                                                 BlockCache* cache);
  virtual ~Run() = default;

  virtual const RunInfo& info() const = 0;
  virtual const std::string& path() const = 0;
  // The range deletes, or null. Lives as long as the run.
  virtual const RangeSet* ranges() const = 0;
  virtual uint64_t memory_bytes() const = 0;  // held outside of the cache

  // The newest version of `key` at or below `at_seq`. `hash` is HashKey(key). Hold a ReadGuard.
  virtual Result<Lookup> Get(uint64_t hash, Slice key, uint64_t at_seq, Cell* cell) const = 0;
  // Hold a ReadGuard as long as the iterator lives.
  virtual std::unique_ptr<CellIterator> NewIterator(uint64_t at_seq) const = 0;

  // Reads block by block in large pieces past the cache.
  static std::unique_ptr<CellStream> NewStream(std::shared_ptr<const Run> run);
  // Reads every byte, and every value that it refers to; order, counts, extent, filter and index
  // against the cells. Ends at the first damage. An error of the disk is the status.
  virtual Result<std::vector<RunDamage>> Verify() const = 0;
};

}  // namespace gapless::table
