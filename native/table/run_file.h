// One run file as verified blocks: where a block belongs, its CRC, its decompression and the check
// of its content. Nobody else reads a run.
//
// A RunFile is immutable and used by any thread. A BlockWindow belongs to one reader and reads
// neighbouring data blocks in large pieces, past the cache.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"
#include "table/block_cache.h"
#include "table/block_data.h"
#include "table/run.h"
#include "table/run_format.h"

namespace gapless::table {

// The start of every block CRC of one run.
uint32_t BlockCrcSeed(const std::array<uint8_t, 16>& cluster, uint64_t run);
// `header` is the block's header, of which bytes 0 to 11 count.
uint32_t BlockCrc(uint32_t seed, uint64_t position, const char* header, Slice stored);

uint32_t FooterCrc(uint32_t seed, uint64_t position, const char* footer);

// kCorrupt with the detail `what` (INTERFACES section 15).
Status RunCorrupt(const char* what, const std::string& text, const std::string& file,
                  uint64_t offset);
Status RunUnsupported(const std::string& text, const std::string& file, uint64_t offset);

// The raw content of a cached block: behind the header, which stays with it.
inline Slice RawOf(const Block& block) {
  return Slice(block.raw().data() + kBlockHeaderBytes, block.raw().size() - kBlockHeaderBytes);
}

struct BlockPlace {
  uint64_t position = 0;
  uint32_t bytes = 0;  // with the header
};

class RunFile {
 public:
  // `uses` outlives this; `values` are its files in the same order.
  RunFile(std::unique_ptr<io::File> file, uint32_t crc_seed, uint64_t run, uint64_t file_bytes,
          const ValueUses* uses, std::vector<std::shared_ptr<const ValueFile>> values)
      : file_(std::move(file)),
        crc_seed_(crc_seed),
        run_(run),
        file_bytes_(file_bytes),
        uses_(uses),
        values_(std::move(values)) {}

  const std::string& path() const { return file_->path(); }
  uint64_t run() const { return run_; }
  uint64_t file_bytes() const { return file_bytes_; }
  const std::vector<std::shared_ptr<const ValueFile>>& values() const { return values_; }

  // The value of an entry of a checked block.
  void SetValue(const DataEntry& entry, Cell* cell) const {
    cell->value = entry.value;
    cell->stored.file = nullptr;
    if (entry.stored()) SetStored(entry, cell);
  }

  // Exactly `size` bytes; an end of the file before is damage.
  Status ReadAt(uint64_t offset, char* to, size_t size) const;
  // The header and the raw content, checked.
  Result<std::unique_ptr<Block>> Read(BlockPlace place, BlockType type) const;
  // The same from memory: `block` is the header and the stored bytes. *raw is either a part of
  // `block` or of *held, which is made large enough.
  Status Verify(Slice block, uint64_t position, BlockType type, std::string* held,
                Slice* raw) const;
  // Whether a block can be there at all. Nothing is allocated for one that cannot.
  Status CheckPlace(BlockPlace place) const;
  Status Corrupt(const char* what, const std::string& text, uint64_t offset) const {
    return RunCorrupt(what, text, path(), offset);
  }

 private:
  // Of header and stored bytes: the CRC, then every field of the header.
  Status VerifyHeader(Slice block, uint64_t position, BlockType type) const;
  Status CheckContent(Slice raw, uint64_t position, BlockType type) const;
  Status Decompress(Slice block, uint64_t position, char* to) const;
  void SetStored(const DataEntry& entry, Cell* cell) const;

  const std::unique_ptr<io::File> file_;
  const uint32_t crc_seed_;
  const uint64_t run_;
  const uint64_t file_bytes_;
  const ValueUses* const uses_;
  const std::vector<std::shared_ptr<const ValueFile>> values_;
};

class BlockWindow {
 public:
  explicit BlockWindow(const RunFile* file) : file_(file) {}
  // The content of the data block at `place`. What has to be read is about `piece` bytes of
  // [begin, end), from the block on or, backward, up to it. Lives until the next call.
  Status Read(BlockPlace place, uint64_t begin, uint64_t end, uint64_t piece, bool forward,
              Slice* raw);

 private:
  Status Fill(uint64_t from, uint64_t to);

  const RunFile* const file_;
  std::unique_ptr<char[]> bytes_;
  size_t capacity_ = 0;
  uint64_t start_ = 0;
  size_t size_ = 0;
  std::string held_;  // decompressed
};

}  // namespace gapless::table
