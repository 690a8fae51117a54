// A run from its first block to its last, past the cache: for merging, flushing and checking.
//
// A walk reads each page before its data blocks, so that no length is used that nothing proved. One
// thread; needs no ReadGuard.
#pragma once

#include <memory>
#include <string>

#include "table/run_reader.h"

namespace gapless::table {

// Block by block.
class RunWalk {
 public:
  explicit RunWalk(const RunReader* run) : run_(run), window_(&run->file()) {}
  // Goes to the next data block. False behind the last one.
  Result<bool> Next();
  const DataBlock& data() const { return data_; }
  const IndexBlock& page() const { return page_; }
  BlockPlace page_place() const { return page_place_; }
  uint32_t child() const { return child_; }
  uint32_t pages() const { return next_page_; }  // read so far
  BlockPlace place() const { return {page_.PositionAt(child_), page_.BytesAt(child_)}; }

 private:
  Status ReadPage();

  const RunReader* const run_;
  BlockWindow window_;
  uint32_t next_page_ = 0;
  std::unique_ptr<Block> page_block_;
  IndexBlock page_;
  BlockPlace page_place_;
  uint32_t child_ = 0;
  DataBlock data_;
};

// Cell by cell; order is checked across blocks, and the count at the end.
class RunStream final : public CellStream {
 public:
  // Keeps `run` alive if `keep` holds it.
  RunStream(std::shared_ptr<const Run> keep, const RunReader* run)
      : keep_(std::move(keep)), run_(run), walk_(run) {}
  Result<bool> Next(Cell* cell) override;
  // Of the entry that Next gave last: its number, and the walk where it stands.
  uint32_t index() const { return index_ - 1; }
  const RunWalk& walk() const { return walk_; }
  uint64_t cells() const { return cells_; }

 private:
  Result<bool> NextBlock();

  const std::shared_ptr<const Run> keep_;
  const RunReader* const run_;
  RunWalk walk_;
  uint32_t index_ = 0;  // the next entry
  uint32_t count_ = 0;
  uint64_t cells_ = 0;
  uint64_t last_seq_ = 0;
  std::string key_;   // starts with the common bytes of the block
  std::string last_;  // the last key of the block before
  size_t common_bytes_ = 0;
  Status status_;
};

}  // namespace gapless::table
