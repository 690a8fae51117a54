// Opening a run and point reads. Pages and data blocks are touched through the cache only.
#include "table/run_reader.h"

#include <cstring>
#include <utility>

#include "base/coding.h"
#include "base/crc32c.h"
#include "io/file_names.h"
#include "table/filter.h"
#include "table/run_iterator.h"
#include "table/run_ranges.h"
#include "table/value_file.h"

namespace gapless::table {
namespace {

bool AllZero(const char* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

void FillCell(const RunFile& file, const DataEntry& entry, Slice key, Cell* cell) {
  cell->key = key;
  file.SetValue(entry, cell);
  cell->seq = entry.seq;
  cell->expires_at_ms = entry.expires_at_ms;
  cell->deleted = entry.deleted();
}

// The first entry from `index` on that is a version of the same key at or below `at_seq`. False:
// there is none; *ended says whether the block ended before the key did.
bool FindVersion(const DataBlock& data, uint32_t index, uint64_t at_seq, DataEntry* entry,
                 bool* ended) {
  *ended = false;
  while (true) {
    *entry = data.At(index);
    if (entry->seq <= at_seq) return true;
    if (++index == data.count()) {
      *ended = true;
      return false;
    }
    if (!data.AgainAt(index)) return false;
  }
}

}  // namespace

RunReader::RunReader(const RunOptions& options, const RunInfo& info, std::unique_ptr<io::File> file,
                     BlockCache* cache, std::vector<std::shared_ptr<const ValueFile>> values)
    : options_(options),
      info_(info),
      file_(std::move(file), BlockCrcSeed(options.cluster, info.number), info.number, info.bytes,
            &info_.values, std::move(values)),
      cache_(cache) {}

RunReader::~RunReader() {
  if (page_links_ != nullptr) cache_->Unlink(page_links_.get(), top_.count());
  if (ranges_ != nullptr) ranges_->Unref();
}

Status RunReader::ReadHeader() const {
  char header[kRunHeaderBytes];
  RETURN_IF_ERROR(file_.ReadAt(0, header, sizeof(header)));
  if (std::memcmp(header, kRunMagic, kRunMagicBytes) != 0) {
    return file_.Corrupt("magic", "this is no run", 0);
  }
  if (LoadU32(header + kRunHeaderCrc) != Crc32c(0, header, kRunHeaderCrc)) {
    return file_.Corrupt("header_crc", "the header fails its checksum", 0);
  }
  if (LoadU32(header + kRunHeaderVersion) != kRunVersion ||
      !AllZero(header + kRunHeaderReserved, kRunHeaderCrc - kRunHeaderReserved)) {
    return RunUnsupported("the file is of an unknown version", path(), kRunHeaderVersion);
  }
  if (std::memcmp(header + kRunHeaderClusterId, options_.cluster.data(), options_.cluster.size()) !=
      0) {
    return file_.Corrupt("format", "the file belongs to another cluster", kRunHeaderClusterId);
  }
  if (LoadU64(header + kRunHeaderNumber) != info_.number) {
    return file_.Corrupt("format", "the file is another run", kRunHeaderNumber);
  }
  if (LoadU32(header + kRunHeaderShard) != info_.shard) {
    return file_.Corrupt("format", "the file is of another shard", kRunHeaderShard);
  }
  return Status::Ok();
}

Status RunReader::ReadFooter(RunFooter* footer) const {
  const uint64_t at = file_.file_bytes() - kRunFooterBytes;
  char bytes[kRunFooterBytes];
  RETURN_IF_ERROR(file_.ReadAt(at, bytes, sizeof(bytes)));
  if (std::memcmp(bytes + kRunFooterEnd, kRunEndMagic, kRunMagicBytes) != 0) {
    return file_.Corrupt("footer", "the file does not end as a run", at + kRunFooterEnd);
  }
  if (LoadU32(bytes + kRunFooterCrc) !=
      FooterCrc(BlockCrcSeed(options_.cluster, info_.number), at, bytes)) {
    return file_.Corrupt("footer", "the footer fails its checksum", at);
  }
  if (!AllZero(bytes + kRunFooterReserved, kRunFooterCrc - kRunFooterReserved)) {
    return RunUnsupported("a reserved field of the footer is set", path(), at);
  }
  footer->top = {LoadU64(bytes + kRunFooterTopPosition), LoadU32(bytes + kRunFooterTopBytes)};
  footer->ranges = {LoadU64(bytes + kRunFooterRangesPosition),
                    LoadU32(bytes + kRunFooterRangesBytes)};
  footer->cells = LoadU64(bytes + kRunFooterCells);
  footer->deletions = LoadU64(bytes + kRunFooterDeletions);
  footer->range_deletes = LoadU64(bytes + kRunFooterRangeDeletes);
  footer->raw_bytes = LoadU64(bytes + kRunFooterRawBytes);
  footer->min_seq = LoadU64(bytes + kRunFooterMinSeq);
  footer->max_seq = LoadU64(bytes + kRunFooterMaxSeq);
  footer->pages = LoadU32(bytes + kRunFooterPages);
  footer->data_blocks = LoadU32(bytes + kRunFooterDataBlocks);
  return Status::Ok();
}

// Against the manifest, and its pointers against each other.
Status RunReader::CheckFooter() const {
  const uint64_t at = file_.file_bytes() - kRunFooterBytes;
  const bool same = footer_.cells == info_.cells && footer_.deletions == info_.deletions &&
                    footer_.range_deletes == info_.range_deletes &&
                    footer_.raw_bytes == info_.raw_bytes && footer_.min_seq == info_.min_seq &&
                    footer_.max_seq == info_.max_seq;
  if (!same) return file_.Corrupt("footer", "the manifest says something else of the run", at);
  RETURN_IF_ERROR(file_.CheckPlace(footer_.top));
  const bool has_ranges = footer_.ranges.bytes != 0;
  if (has_ranges) RETURN_IF_ERROR(file_.CheckPlace(footer_.ranges));
  const bool sound =
      footer_.top.position + footer_.top.bytes == at &&
      has_ranges == (footer_.range_deletes != 0) &&
      (has_ranges ? footer_.ranges.position + footer_.ranges.bytes == footer_.top.position
                  : footer_.ranges.position == 0);
  return sound ? Status::Ok() : file_.Corrupt("footer", "the footer's pointers are damaged", at);
}

Status RunReader::LoadTop() {
  Result<std::unique_ptr<Block>> block = file_.Read(footer_.top, BlockType::kTop);
  if (!block.ok()) return block.status();
  top_block_ = std::move(block.value());
  top_ = IndexBlock(RawOf(*top_block_));
  const uint64_t at = footer_.top.position;
  Extent extent;
  const ContentFault fault = DecodeExtent(top_.extra(), &extent);
  if (fault.text != nullptr && fault.unknown) return RunUnsupported(fault.text, path(), at);
  if (fault.text != nullptr) return file_.Corrupt("format", fault.text, at);
  if (extent != info_.extent) {
    return file_.Corrupt("footer", "the manifest has another extent of the run", at);
  }
  const uint64_t end = footer_.ranges.bytes != 0 ? footer_.ranges.position : at;
  const uint32_t pages = top_.count();
  const uint64_t last_end =
      pages == 0 ? kRunHeaderBytes : top_.PositionAt(pages - 1) + top_.BytesAt(pages - 1);
  if (pages != footer_.pages || last_end != end) {
    return file_.Corrupt("format", "the pages do not fill the file", at);
  }
  page_links_ = std::make_unique<BlockLink[]>(pages);
  return Status::Ok();
}

Status RunReader::ReadRanges(const RunFooter& footer, std::vector<RangeFragment>* fragments) const {
  fragments->clear();
  if (footer.ranges.bytes == 0) return Status::Ok();
  const Result<std::unique_ptr<Block>> block = file_.Read(footer.ranges, BlockType::kRanges);
  if (!block.ok()) return block.status();
  const uint64_t at = footer.ranges.position;
  const ContentFault fault = DecodeRanges(RawOf(*block.value()), fragments);
  if (fault.text != nullptr && fault.unknown) return RunUnsupported(fault.text, path(), at);
  if (fault.text != nullptr) return file_.Corrupt("format", fault.text, at);
  if (fragments->size() == footer.range_deletes) return Status::Ok();
  return file_.Corrupt("format", "the footer counts other range deletes", at);
}

Status RunReader::Load() {
  RETURN_IF_ERROR(ReadHeader());
  RETURN_IF_ERROR(ReadFooter(&footer_));
  RETURN_IF_ERROR(CheckFooter());
  RETURN_IF_ERROR(LoadTop());
  std::vector<RangeFragment> fragments;
  RETURN_IF_ERROR(ReadRanges(footer_, &fragments));
  ranges_ = RangeSet::Of(std::move(fragments));
  return Status::Ok();
}

uint64_t RunReader::memory_bytes() const {
  uint64_t bytes = sizeof(*this) + top_block_->charge() + top_.count() * sizeof(BlockLink) +
                   path().size() + 2 * (info_.extent.lower.size() + info_.extent.upper.size()) +
                   info_.values.size() * (sizeof(ValueUse) + sizeof(file_.values()[0]));
  if (ranges_ == nullptr) return bytes;
  for (const auto& fragment : ranges_->fragments()) {
    bytes += sizeof(RangeFragment) + 2 * sizeof(void*) + fragment->lower.size() +
             fragment->upper.size() + fragment->seqs.size() * sizeof(uint64_t);
  }
  return bytes;
}

const Block* RunReader::GetBlock(BlockPlace place, BlockType type, Status* status) const {
  const Block* const found = FindBlock(place.position);
  if (found != nullptr) return found;
  Result<std::unique_ptr<Block>> read = file_.Read(place, type);
  if (read.ok()) return cache_->Insert(info_.number, place.position, std::move(read.value()));
  *status = read.status();
  return nullptr;
}

const Block* RunReader::GetPage(uint32_t page, Status* status) const {
  BlockLink* const link = &page_links_[page];
  const Block* const linked = cache_->Follow(*link);
  if (linked != nullptr) return linked;
  const Block* const found = GetBlock(PagePlace(page), BlockType::kPage, status);
  if (found != nullptr) cache_->Link(nullptr, link, found);
  return found;
}

const Block* RunReader::GetChild(const Block* page_block, const IndexBlock& page, uint32_t child,
                                 Status* status) const {
  BlockLink* const link = page_block->link(child);
  const Block* const linked = cache_->Follow(*link);
  if (linked != nullptr) return linked;
  const BlockPlace place{page.PositionAt(child), page.BytesAt(child)};
  const Block* const found = GetBlock(place, BlockType::kData, status);
  if (found != nullptr) cache_->Link(page_block, link, found);
  return found;
}

Status RunReader::CheckPage(const IndexBlock& page, BlockPlace place) const {
  for (uint32_t i = 0; i < page.count(); ++i) {
    const uint64_t next = i + 1 < page.count() ? page.PositionAt(i + 1) : place.position;
    if (page.PositionAt(i) + page.BytesAt(i) != next) {
      return file_.Corrupt("format", "a page's blocks do not stand before it", place.position);
    }
  }
  return Status::Ok();
}

Result<Lookup> RunReader::Get(uint64_t hash, Slice key, uint64_t at_seq, Cell* cell) const {
  const uint32_t page_number = at_seq < info_.min_seq ? top_.count() : top_.Search(key);
  if (page_number == top_.count()) return Lookup::kAbsent;
  Status status;
  const Block* const page_block = GetPage(page_number, &status);
  if (page_block == nullptr) return status;
  const IndexBlock page(RawOf(*page_block));
  PrefetchFilter(page.extra(), hash);
  page.Prefetch();
  if (!FilterMayContain(page.extra(), hash)) return Lookup::kAbsent;
  const uint32_t child = page.Search(key);
  if (child == page.count()) {
    return file_.Corrupt("order", "a page ends before its key", PagePlace(page_number).position);
  }
  const Block* const block = GetChild(page_block, page, child, &status);
  if (block == nullptr) return status;
  const DataBlock data(RawOf(*block));
  data.Prefetch();
  const uint32_t index = data.Find(hash, key);
  if (index == data.count()) return Lookup::kAbsent;
  DataEntry entry;
  bool ended = false;
  if (FindVersion(data, index, at_seq, &entry, &ended)) {
    FillCell(file_, entry, key, cell);
    return Lookup::kFound;
  }
  if (!ended || page.CompareAt(child, key) != 0) return Lookup::kAbsent;
  return GoOn({page_number, page, child}, key, at_seq, cell);
}

// Rare: versions of one key fill the block at `spot` to its end, and none of them counts.
Result<Lookup> RunReader::GoOn(Spot spot, Slice key, uint64_t at_seq, Cell* cell) const {
  Status status;
  while (spot.page.CompareAt(spot.child, key) == 0) {
    if (++spot.child == spot.page.count()) {
      if (++spot.page_number == top_.count()) break;
      const Block* const next = GetBlock(PagePlace(spot.page_number), BlockType::kPage, &status);
      if (next == nullptr) return status;
      spot.page = IndexBlock(RawOf(*next));
      spot.child = 0;
    }
    const BlockPlace place{spot.page.PositionAt(spot.child), spot.page.BytesAt(spot.child)};
    const Block* const block = GetBlock(place, BlockType::kData, &status);
    if (block == nullptr) return status;
    const DataBlock data(RawOf(*block));
    if (!data.AgainAt(0)) break;
    DataEntry entry;
    bool ended = false;
    if (FindVersion(data, 0, at_seq, &entry, &ended)) {
      FillCell(file_, entry, key, cell);
      return Lookup::kFound;
    }
    if (!ended) break;
  }
  return Lookup::kAbsent;
}

std::unique_ptr<CellIterator> RunReader::NewIterator(uint64_t at_seq) const {
  return std::make_unique<RunIterator>(this, at_seq);
}

Result<std::shared_ptr<const Run>> Run::Open(const RunOptions& options, const RunInfo& info,
                                             BlockCache* cache) {
  const std::string path = io::JoinPath(options.directory, io::RunName(info.number));
  Result<std::unique_ptr<io::File>> file = options.fs->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = file.value()->Size();
  if (!size.ok()) return size.status();
  if (size.value() != info.bytes) {
    return RunCorrupt("short", "the file has another length than its manifest says", path,
                      std::min(size.value(), info.bytes));
  }
  if (info.bytes < kRunHeaderBytes + kRunFooterBytes) {
    return RunCorrupt("short", "the file is too short for a run", path, info.bytes);
  }
  std::vector<std::shared_ptr<const ValueFile>> values;
  for (const ValueUse& use : info.values) {
    Result<std::shared_ptr<const ValueFile>> opened =
        options.value_files != nullptr ? options.value_files->Open(options, use, info.shard)
                                       : ValueFile::Open(options, use, info.shard);
    if (!opened.ok()) return opened.status();
    values.push_back(std::move(opened.value()));
  }
  auto run =
      std::make_shared<RunReader>(options, info, std::move(file.value()), cache, std::move(values));
  RETURN_IF_ERROR(run->Load());
  return std::shared_ptr<const Run>(std::move(run));
}

}  // namespace gapless::table
