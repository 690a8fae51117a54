// Writing a run: data blocks, their pages, and at the end ranges, top block and footer; large
// values go to the value file beside it. One thread.
//
// Everything before Finish is sequential writes of about kWriteBytes; a write that failed fails the
// writer for good, and the destructor removes the file.
#include <algorithm>
#include <map>
#include <utility>

#include "base/assert.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/lz4.h"
#include "io/file_names.h"
#include "table/block_data.h"
#include "table/block_index.h"
#include "table/filter.h"
#include "table/run.h"
#include "table/run_file.h"
#include "table/run_ranges.h"
#include "table/value_file.h"

namespace gapless::table {
namespace {

constexpr size_t kWriteBytes = 256 * 1024;

class RunWriterImpl final : public RunWriter {
 public:
  RunWriterImpl(const RunOptions& options, std::unique_ptr<io::File> file, const RunInfo& info)
      : options_(options),
        file_(std::move(file)),
        crc_seed_(BlockCrcSeed(options.cluster, info.number)),
        info_(info) {
    info_.min_seq = UINT64_MAX;
    AppendHeader();
  }
  ~RunWriterImpl() override {
    if (finished_) return;
    const std::string path = file_->path();
    file_.reset();
    (void)options_.fs->Remove(path);  // a stray file, which the next open removes
  }

  Status Add(const Cell& cell) override;
  Status AddRange(const RangeFragment& fragment) override;
  uint64_t bytes() const override {
    return Position() + (data_.empty() ? 0 : kBlockHeaderBytes + data_.bytes());
  }
  uint64_t value_bytes() const override { return values_ == nullptr ? 0 : values_->bytes(); }
  bool empty() const override { return info_.cells == 0 && ranges_.empty(); }
  Result<RunInfo> Finish() override;

 private:
  uint64_t Position() const { return written_ + buffer_.size(); }
  Status Fail(Status status) {
    status_ = status;
    return status;
  }
  Status CheckCell(const Cell& cell) const;
  Status StoreValue(Slice value, ValueRef* ref);
  Status AddEntry(const Cell& cell, bool stored);
  void NoteUses();
  void AppendHeader();
  void NoteSeq(uint64_t seq) {
    info_.min_seq = std::min(info_.min_seq, seq);
    info_.max_seq = std::max(info_.max_seq, seq);
  }
  // `next`: the key that begins the next block; null at the end.
  Status FlushData(const Slice* next);
  Status FlushPage();
  Status AppendBlock(BlockType type, BlockPlace* place);
  Status Append(Slice head, Slice body);
  Status FlushBuffer(Slice behind);
  void SetExtent();
  void AppendFooter(BlockPlace top, BlockPlace ranges);
  Status WriteEnd();

  const RunOptions options_;
  std::unique_ptr<io::File> file_;
  const uint32_t crc_seed_;
  RunInfo info_;
  Status status_;  // of the first failure
  bool finished_ = false;

  std::unique_ptr<ValueFileWriter> values_;  // null: no large value yet
  std::map<uint64_t, ValueUse> uses_;

  std::string buffer_;  // not yet written
  uint64_t written_ = 0;
  uint32_t data_blocks_ = 0;
  uint32_t pages_ = 0;

  DataBlockBuilder data_;
  IndexBlockBuilder page_;
  IndexBlockBuilder top_;
  std::vector<uint64_t> page_hashes_;
  std::vector<RangeFragment> ranges_;
  std::string last_key_;
  uint64_t last_hash_ = 0;
  uint64_t last_seq_ = 0;

  std::string raw_;
  std::string packed_;
  Lz4Compressor compressor_;
};

void RunWriterImpl::AppendHeader() {
  char header[kRunHeaderBytes] = {};
  std::memcpy(header, kRunMagic, kRunMagicBytes);
  StoreU32(header + kRunHeaderVersion, kRunVersion);
  StoreU32(header + kRunHeaderShard, info_.shard);
  StoreU64(header + kRunHeaderNumber, info_.number);
  std::memcpy(header + kRunHeaderClusterId, options_.cluster.data(), options_.cluster.size());
  StoreU32(header + kRunHeaderCrc, Crc32c(0, header, kRunHeaderCrc));
  buffer_.assign(header, sizeof(header));
}

Status RunWriterImpl::CheckCell(const Cell& cell) const {
  if (cell.key.size() > kRunKeyBytesMax) {
    return Status::Error(Code::kKeyTooLarge, "run: a key is too long");
  }
  if (cell.value_bytes() > kRunValueBytesMax) {
    return Status::Error(Code::kValueTooLarge, "run: a value is too long");
  }
  if (cell.deleted && cell.value_bytes() != 0) {
    return RunCorrupt("order", "a deletion with a value is added", file_->path(), Position());
  }
  if (info_.cells == 0) return Status::Ok();
  const int order = Slice(last_key_).Compare(cell.key);
  if (order < 0 || (order == 0 && last_seq_ > cell.seq)) return Status::Ok();
  // Said of what is added: a damaged input must not end the process.
  return RunCorrupt("order", "cells are added out of order", file_->path(), Position());
}

Status RunWriterImpl::StoreValue(Slice value, ValueRef* ref) {
  if (values_ == nullptr) {
    Result<std::unique_ptr<ValueFileWriter>> writer =
        ValueFileWriter::Create(options_, info_.number, info_.shard);
    if (!writer.ok()) return writer.status();
    values_ = std::move(writer.value());
  }
  return values_->Add(value, ref);
}

Status RunWriterImpl::Add(const Cell& cell) {
  if (!status_.ok()) return status_;
  Status added = CheckCell(cell);
  const bool is_large = cell.value.size() >= options_.value_file_bytes_min && !cell.value.empty();
  if (added.ok() && !is_large && cell.stored.file == nullptr) {
    added = AddEntry(cell, false);
  } else if (added.ok()) {
    ValueRef ref = cell.stored.ref;
    if (is_large) added = StoreValue(cell.value, &ref);
    char bytes[kValueRefBytes];
    EncodeValueRef(ref, bytes);
    Cell entry = cell;
    entry.value = Slice(bytes, sizeof(bytes));
    if (added.ok()) added = AddEntry(entry, true);
    uses_[ref.file].bytes += ref.stored_bytes;
    if (!is_large) uses_[ref.file].file_bytes = cell.stored.file->file_bytes();
    info_.raw_bytes += ref.raw_bytes - kValueRefBytes;
  }
  return added.ok() ? added : Fail(added);
}

Status RunWriterImpl::AddEntry(const Cell& cell, bool stored) {
  const bool again = info_.cells > 0 && cell.key == Slice(last_key_);
  const uint64_t hash = again ? last_hash_ : HashKey(cell.key);
  if (!data_.empty() && data_.bytes() + DataBlockBuilder::CostOf(cell) > options_.block_bytes) {
    RETURN_IF_ERROR(FlushData(&cell.key));
  }
  if (info_.cells == 0) info_.extent.lower = cell.key.ToString();
  if (!again || page_hashes_.empty()) page_hashes_.push_back(hash);
  data_.Add(cell, hash, again, stored);
  if (!again) last_key_.assign(cell.key.data(), cell.key.size());
  last_hash_ = hash;
  last_seq_ = cell.seq;
  info_.cells++;
  info_.deletions += cell.deleted ? 1 : 0;
  info_.raw_bytes += cell.key.size() + cell.value.size();
  NoteSeq(cell.seq);
  return Status::Ok();
}

Status RunWriterImpl::AddRange(const RangeFragment& fragment) {
  if (!status_.ok()) return status_;
  if (fragment.lower.size() > kRunKeyBytesMax || fragment.upper.size() > kRunKeyBytesMax) {
    return Fail(Status::Error(Code::kKeyTooLarge, "run: a bound is too long"));
  }
  if (!FragmentFollows(ranges_.empty() ? nullptr : &ranges_.back(), fragment)) {
    return Fail(
        RunCorrupt("order", "range deletes are added out of order", file_->path(), Position()));
  }
  for (const uint64_t seq : fragment.seqs) NoteSeq(seq);
  ranges_.push_back(fragment);
  return Status::Ok();
}

Status RunWriterImpl::FlushData(const Slice* next) {
  const std::string last = data_.last_key().ToString();
  data_.Finish(&raw_);
  BlockPlace place;
  RETURN_IF_ERROR(AppendBlock(BlockType::kData, &place));
  data_blocks_++;
  page_.Add(next == nullptr ? Slice(last) : Separator(last, *next), place.position, place.bytes);
  return page_.count() == kPageChildrenMax ? FlushPage() : Status::Ok();
}

Status RunWriterImpl::FlushPage() {
  const std::string last = page_.last_key().ToString();
  std::string filter;
  AppendFilter(page_hashes_, &filter);
  page_hashes_.clear();
  page_.Finish(filter, &raw_);
  BlockPlace place;
  RETURN_IF_ERROR(AppendBlock(BlockType::kPage, &place));
  pages_++;
  top_.Add(last, place.position, place.bytes);
  if (top_.bytes() < kOtherRawBytesMax / 2) return Status::Ok();
  return Status::Error(Code::kUsage, "run: too many pages in one file");
}

// Appends raw_ as one block.
Status RunWriterImpl::AppendBlock(BlockType type, BlockPlace* place) {
  Slice stored(raw_);
  Compression compression = Compression::kNone;
  if (type == BlockType::kData && options_.compression == Compression::kLz4) {
    packed_.resize(raw_.size() * 7 / 8);
    const size_t packed = compressor_.Compress(raw_, packed_.data(), packed_.size());
    if (packed > 0) {
      stored = Slice(packed_.data(), packed);
      compression = Compression::kLz4;
    }
  }
  char header[kBlockHeaderBytes] = {};
  StoreU32(header + kBlockStoredBytes, static_cast<uint32_t>(stored.size()));
  StoreU32(header + kBlockRawBytes, static_cast<uint32_t>(raw_.size()));
  header[kBlockType] = static_cast<char>(type);
  header[kBlockCompression] = static_cast<char>(compression);
  place->position = Position();
  place->bytes = static_cast<uint32_t>(kBlockHeaderBytes + stored.size());
  StoreU32(header + kBlockCrc, BlockCrc(crc_seed_, place->position, header, stored));
  return Append(Slice(header, sizeof(header)), stored);
}

Status RunWriterImpl::Append(Slice head, Slice body) {
  buffer_.append(head.data(), head.size());
  if (body.size() >= kWriteBytes) return FlushBuffer(body);
  buffer_.append(body.data(), body.size());
  return buffer_.size() < kWriteBytes ? Status::Ok() : FlushBuffer(Slice());
}

Status RunWriterImpl::FlushBuffer(Slice behind) {
  const io::IoVec parts[2] = {{buffer_.data(), buffer_.size()}, {behind.data(), behind.size()}};
  RETURN_IF_ERROR(file_->WriteAt(written_, parts, behind.empty() ? 1 : 2));
  written_ += buffer_.size() + behind.size();
  buffer_.clear();
  return Status::Ok();
}

void RunWriterImpl::SetExtent() {
  Extent& extent = info_.extent;
  if (info_.cells > 0) extent.upper = last_key_ + '\0';
  if (ranges_.empty()) return;
  const RangeFragment& last = ranges_.back();
  if (info_.cells == 0 || ranges_.front().lower < extent.lower) {
    extent.lower = ranges_.front().lower;
  }
  extent.unbounded = last.unbounded;
  if (extent.unbounded) {
    extent.upper.clear();
  } else if (info_.cells == 0 || extent.upper < last.upper) {
    extent.upper = last.upper;
  }
}

void RunWriterImpl::NoteUses() {
  for (auto& [file, use] : uses_) {
    use.file = file;
    if (file == info_.number) use.file_bytes = value_bytes();
    info_.values.push_back(use);
  }
}

void RunWriterImpl::AppendFooter(BlockPlace top, BlockPlace ranges) {
  char footer[kRunFooterBytes] = {};
  StoreU64(footer + kRunFooterTopPosition, top.position);
  StoreU32(footer + kRunFooterTopBytes, top.bytes);
  StoreU32(footer + kRunFooterRangesBytes, ranges.bytes);
  StoreU64(footer + kRunFooterRangesPosition, ranges.position);
  StoreU64(footer + kRunFooterCells, info_.cells);
  StoreU64(footer + kRunFooterDeletions, info_.deletions);
  StoreU64(footer + kRunFooterRangeDeletes, info_.range_deletes);
  StoreU64(footer + kRunFooterRawBytes, info_.raw_bytes);
  StoreU64(footer + kRunFooterMinSeq, info_.min_seq);
  StoreU64(footer + kRunFooterMaxSeq, info_.max_seq);
  StoreU32(footer + kRunFooterPages, pages_);
  StoreU32(footer + kRunFooterDataBlocks, data_blocks_);
  StoreU32(footer + kRunFooterCrc, FooterCrc(crc_seed_, Position(), footer));
  std::memcpy(footer + kRunFooterEnd, kRunEndMagic, kRunMagicBytes);
  buffer_.append(footer, sizeof(footer));
}

Status RunWriterImpl::WriteEnd() {
  if (!data_.empty()) RETURN_IF_ERROR(FlushData(nullptr));
  if (page_.count() > 0) RETURN_IF_ERROR(FlushPage());
  BlockPlace ranges;
  if (!ranges_.empty()) {
    raw_ = EncodeRanges(ranges_);
    if (raw_.size() > kOtherRawBytesMax) {
      return Status::Error(Code::kUsage, "run: too many range deletes in one file");
    }
    RETURN_IF_ERROR(AppendBlock(BlockType::kRanges, &ranges));
  }
  SetExtent();
  NoteUses();
  info_.range_deletes = ranges_.size();
  top_.Finish(EncodeExtent(info_.extent), &raw_);
  BlockPlace top;
  RETURN_IF_ERROR(AppendBlock(BlockType::kTop, &top));
  AppendFooter(top, ranges);
  info_.bytes = Position();
  RETURN_IF_ERROR(FlushBuffer(Slice()));
  return file_->SyncData();
}

Result<RunInfo> RunWriterImpl::Finish() {
  if (!status_.ok()) return status_;
  if (finished_ || empty()) return Status::Error(Code::kUsage, "run: there is nothing to finish");
  Status written = WriteEnd();
  if (written.ok() && values_ != nullptr) written = values_->Finish();
  if (!written.ok()) return Fail(written);
  finished_ = true;
  return info_;
}

}  // namespace

Result<std::unique_ptr<RunWriter>> RunWriter::Create(const RunOptions& options, uint64_t number,
                                                     uint32_t shard, uint32_t level) {
  GAPLESS_ASSERT(options.block_bytes > 0 && options.block_bytes <= kRunBlockBytesMax);
  const std::string path = io::JoinPath(options.directory, io::RunName(number));
  Result<std::unique_ptr<io::File>> file = options.fs->Open(path, io::OpenMode::kCreateNew);
  if (!file.ok()) return file.status();
  RunInfo info;
  info.number = number;
  info.shard = shard;
  info.level = level;
  return std::unique_ptr<RunWriter>(
      std::make_unique<RunWriterImpl>(options, std::move(file.value()), info));
}

}  // namespace gapless::table
