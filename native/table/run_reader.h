// An open run: its file, its top block and range deletes in memory, and the way to its pages and
// data blocks through the cache. Immutable; any thread.
#pragma once

#include <memory>
#include <string>

#include "table/block_data.h"
#include "table/block_index.h"
#include "table/run.h"
#include "table/run_file.h"

namespace gapless::table {

// What the footer says.
struct RunFooter {
  BlockPlace top;
  BlockPlace ranges;  // bytes 0: none
  uint64_t cells = 0;
  uint64_t deletions = 0;
  uint64_t range_deletes = 0;
  uint64_t raw_bytes = 0;
  uint64_t min_seq = 0;
  uint64_t max_seq = 0;
  uint32_t pages = 0;
  uint32_t data_blocks = 0;
};

class RunReader final : public Run {
 public:
  RunReader(const RunOptions& options, const RunInfo& info, std::unique_ptr<io::File> file,
            BlockCache* cache, std::vector<std::shared_ptr<const ValueFile>> values);
  ~RunReader() override;
  // Reads what an open run keeps in memory.
  Status Load();

  const RunInfo& info() const override { return info_; }
  const std::string& path() const override { return file_.path(); }
  const RangeSet* ranges() const override { return ranges_; }
  uint64_t memory_bytes() const override;
  Result<Lookup> Get(uint64_t hash, Slice key, uint64_t at_seq, Cell* cell) const override;
  std::unique_ptr<CellIterator> NewIterator(uint64_t at_seq) const override;
  Result<std::vector<RunDamage>> Verify() const override;

  const RunFile& file() const { return file_; }
  const RunFooter& footer() const { return footer_; }
  // Its children are the pages.
  const IndexBlock& top() const { return top_; }
  BlockPlace PagePlace(uint32_t page) const { return {top_.PositionAt(page), top_.BytesAt(page)}; }
  // A block in the cache, or null. Hold a ReadGuard.
  const Block* FindBlock(uint64_t position) const { return cache_->Find(info_.number, position); }
  // From the cache, or read into it. Null: *status says why. Hold a ReadGuard.
  const Block* GetBlock(BlockPlace place, BlockType type, Status* status) const;
  // Whether the children of a page stand without a gap before it: what a reader ahead counts on.
  Status CheckPage(const IndexBlock& page, BlockPlace place) const;

  // For Load and Verify: as the file says them now.
  Status ReadHeader() const;
  Status ReadFooter(RunFooter* footer) const;
  Status ReadRanges(const RunFooter& footer, std::vector<RangeFragment>* fragments) const;

 private:
  Status CheckFooter() const;
  Status LoadTop();
  // A data block's entry of `key`, where versions above `at_seq` are passed over, on into the next
  // blocks if need be.
  struct Spot {
    uint32_t page_number;
    IndexBlock page;
    uint32_t child;
  };
  // As GetBlock, by a link, which is made if the block is cached.
  const Block* GetPage(uint32_t page, Status* status) const;
  const Block* GetChild(const Block* page_block, const IndexBlock& page, uint32_t child,
                        Status* status) const;
  Result<Lookup> GoOn(Spot spot, Slice key, uint64_t at_seq, Cell* cell) const;

  const RunOptions options_;
  const RunInfo info_;
  const RunFile file_;
  BlockCache* const cache_;
  RunFooter footer_;
  std::unique_ptr<Block> top_block_;
  IndexBlock top_;
  std::unique_ptr<BlockLink[]> page_links_;
  const RangeSet* ranges_ = nullptr;  // one reference
};

}  // namespace gapless::table
