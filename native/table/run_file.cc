// Reading and verifying the blocks of a run.
#include "table/run_file.h"

#include <algorithm>
#include <cstring>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/lz4.h"
#include "table/block_data.h"
#include "table/block_index.h"
#include "table/run_ranges.h"

namespace gapless::table {
namespace {

uint32_t RawBytesMax(BlockType type) {
  if (type == BlockType::kData) return kDataRawBytesMax;
  return type == BlockType::kPage ? kPageRawBytesMax : kOtherRawBytesMax;
}

ContentFault CheckPage(Slice raw) {
  const ContentFault fault = IndexBlock::Check(raw);
  if (fault.text != nullptr) return fault;
  const IndexBlock page(raw);
  const size_t filter = page.extra().size();
  if (page.count() == 0 || page.count() > kPageChildrenMax || filter == 0 ||
      filter % kFilterLineBytes != 0) {
    return ContentFault{"a page's head is damaged", false};
  }
  return ContentFault{};
}

}  // namespace

uint32_t BlockCrcSeed(const std::array<uint8_t, 16>& cluster, uint64_t run) {
  char number[8];
  StoreU64(number, run);
  return Crc32c(Crc32c(0, cluster.data(), cluster.size()), number, sizeof(number));
}

uint32_t BlockCrc(uint32_t seed, uint64_t position, const char* header, Slice stored) {
  char head[8 + kBlockCrc];
  StoreU64(head, position);
  std::memcpy(head + 8, header, kBlockCrc);
  return Crc32c(Crc32c(seed, head, sizeof(head)), stored.data(), stored.size());
}

uint32_t FooterCrc(uint32_t seed, uint64_t position, const char* footer) {
  char at[8];
  StoreU64(at, position);
  return Crc32c(Crc32c(seed, at, sizeof(at)), footer, kRunFooterCrc);
}

Status RunCorrupt(const char* what, const std::string& text, const std::string& file,
                  uint64_t offset) {
  return Status::Corrupt("run: " + text, file, offset).With("what", what);
}

Status RunUnsupported(const std::string& text, const std::string& file, uint64_t offset) {
  return Status::Error(Code::kFormatUnsupported, "run: " + text)
      .WithFile(file, static_cast<int64_t>(offset))
      .With("what", "format");
}

Status RunFile::ReadAt(uint64_t offset, char* to, size_t size) const {
  size_t got = 0;
  RETURN_IF_ERROR(file_->ReadAt(offset, to, size, &got));
  if (got == size) return Status::Ok();
  return Corrupt("short", "the file ends early", offset + got);
}

Status RunFile::CheckPlace(BlockPlace place) const {
  const uint64_t end = file_bytes_ - kRunFooterBytes;
  const bool inside = place.position >= kRunHeaderBytes && place.position <= end &&
                      place.bytes >= kBlockHeaderBytes && place.bytes <= end - place.position;
  if (inside) return Status::Ok();
  return Corrupt("format", "a block would lie outside of the file",
                 std::min(place.position, file_bytes_));
}

Status RunFile::VerifyHeader(Slice block, uint64_t position, BlockType type) const {
  const char* const header = block.data();
  const Slice stored(header + kBlockHeaderBytes, block.size() - kBlockHeaderBytes);
  if (BlockCrc(crc_seed_, position, header, stored) != LoadU32(header + kBlockCrc)) {
    return Corrupt("body_crc", "a block fails its checksum", position);
  }
  if (LoadU16(header + kBlockReserved) != 0) {
    return RunUnsupported("a reserved field of a block is set", path(), position);
  }
  if (header[kBlockType] != static_cast<char>(type)) {
    return Corrupt("format", "a block has another type", position);
  }
  const auto compression = static_cast<Compression>(header[kBlockCompression]);
  if (compression > Compression::kLz4) {
    return RunUnsupported("unknown compression", path(), position);
  }
  const uint64_t raw = LoadU32(header + kBlockRawBytes);
  const bool sound = LoadU32(header + kBlockStoredBytes) == stored.size() &&
                     raw <= RawBytesMax(type) &&
                     (compression == Compression::kNone
                          ? raw == stored.size()
                          : type == BlockType::kData && stored.size() <= raw * 7 / 8);
  return sound ? Status::Ok() : Corrupt("format", "a block's lengths are damaged", position);
}

Status RunFile::CheckContent(Slice raw, uint64_t position, BlockType type) const {
  ContentFault fault;
  if (type == BlockType::kData) fault = DataBlock::Check(raw, *uses_);
  if (type == BlockType::kPage) fault = CheckPage(raw);
  if (type == BlockType::kTop) fault = IndexBlock::Check(raw);
  if (fault.text == nullptr) return Status::Ok();
  if (fault.unknown) return RunUnsupported(fault.text, path(), position);
  return Corrupt("order", fault.text, position);
}

Status RunFile::Decompress(Slice block, uint64_t position, char* to) const {
  const Slice stored(block.data() + kBlockHeaderBytes, block.size() - kBlockHeaderBytes);
  if (Lz4Decompress(stored, to, LoadU32(block.data() + kBlockRawBytes))) return Status::Ok();
  return Corrupt("format", "a block cannot be decompressed", position);
}

Status RunFile::Verify(Slice block, uint64_t position, BlockType type, std::string* held,
                       Slice* raw) const {
  RETURN_IF_ERROR(VerifyHeader(block, position, type));
  *raw = Slice(block.data() + kBlockHeaderBytes, block.size() - kBlockHeaderBytes);
  if (block[kBlockCompression] != static_cast<char>(Compression::kNone)) {
    held->resize(LoadU32(block.data() + kBlockRawBytes));
    RETURN_IF_ERROR(Decompress(block, position, held->data()));
    *raw = *held;
  }
  return CheckContent(*raw, position, type);
}

void RunFile::SetStored(const DataEntry& entry, Cell* cell) const {
  cell->value = Slice();
  cell->stored.ref = DecodeValueRef(entry.value);
  const ValueUse* const use = FindUse(*uses_, cell->stored.ref.file);
  cell->stored.file = values_[static_cast<size_t>(use - uses_->data())].get();
}

Result<std::unique_ptr<Block>> RunFile::Read(BlockPlace place, BlockType type) const {
  RETURN_IF_ERROR(CheckPlace(place));
  const uint32_t links = type == BlockType::kPage ? kPageChildrenMax : 0;
  std::unique_ptr<Block> block = Block::Make(place.bytes, links);
  RETURN_IF_ERROR(ReadAt(place.position, block->bytes(), place.bytes));
  const Slice stored = block->raw();
  RETURN_IF_ERROR(VerifyHeader(stored, place.position, type));
  if (stored[kBlockCompression] != static_cast<char>(Compression::kNone)) {
    std::unique_ptr<Block> raw =
        Block::Make(kBlockHeaderBytes + LoadU32(stored.data() + kBlockRawBytes));
    std::memcpy(raw->bytes(), stored.data(), kBlockHeaderBytes);
    RETURN_IF_ERROR(Decompress(stored, place.position, raw->bytes() + kBlockHeaderBytes));
    block = std::move(raw);
  }
  RETURN_IF_ERROR(CheckContent(RawOf(*block), place.position, type));
  return block;
}

Status BlockWindow::Fill(uint64_t from, uint64_t to) {
  const size_t size = static_cast<size_t>(to - from);
  size_ = 0;
  if (size > capacity_) {
    bytes_.reset();
    bytes_.reset(new char[size]);
    capacity_ = size;
  }
  RETURN_IF_ERROR(file_->ReadAt(from, bytes_.get(), size));
  start_ = from;
  size_ = size;
  return Status::Ok();
}

Status BlockWindow::Read(BlockPlace place, uint64_t begin, uint64_t end, uint64_t piece,
                         bool forward, Slice* raw) {
  RETURN_IF_ERROR(file_->CheckPlace(place));
  const uint64_t behind = place.position + place.bytes;
  if (place.position < start_ || behind > start_ + size_) {
    if (forward) {
      const uint64_t wanted = std::max(place.position + piece, behind);
      RETURN_IF_ERROR(Fill(place.position, std::max(behind, std::min(wanted, end))));
    } else {
      const uint64_t wanted = behind > piece ? behind - piece : 0;
      const uint64_t lowest = std::min(place.position, begin);
      RETURN_IF_ERROR(Fill(std::min(place.position, std::max(wanted, lowest)), behind));
    }
  }
  const Slice block(bytes_.get() + (place.position - start_), place.bytes);
  return file_->Verify(block, place.position, BlockType::kData, &held_, raw);
}

}  // namespace gapless::table
