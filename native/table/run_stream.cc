// Walking a whole run.
#include "table/run_stream.h"

namespace gapless::table {
namespace {

constexpr uint64_t kPieceBytes = 256 * 1024;

}  // namespace

Status RunWalk::ReadPage() {
  const BlockPlace place = run_->PagePlace(next_page_);
  const uint64_t begin =
      next_page_ == 0 ? kRunHeaderBytes : page_place_.position + page_place_.bytes;
  Result<std::unique_ptr<Block>> block = run_->file().Read(place, BlockType::kPage);
  if (!block.ok()) return block.status();
  const IndexBlock page(RawOf(*block.value()));
  RETURN_IF_ERROR(run_->CheckPage(page, place));
  if (page.PositionAt(0) != begin) {
    return run_->file().Corrupt("format", "there is a gap between blocks", begin);
  }
  if (page.CompareAt(page.count() - 1, run_->top().KeyAt(next_page_)) != 0) {
    return run_->file().Corrupt("order", "a page has another key in the top block", place.position);
  }
  page_block_ = std::move(block.value());
  page_ = page;
  page_place_ = place;
  child_ = 0;
  ++next_page_;
  return Status::Ok();
}

Result<bool> RunWalk::Next() {
  if (page_block_ == nullptr || ++child_ == page_.count()) {
    if (next_page_ == run_->top().count()) return false;
    RETURN_IF_ERROR(ReadPage());
  }
  Slice raw;
  RETURN_IF_ERROR(
      window_.Read(place(), page_.PositionAt(0), page_place_.position, kPieceBytes, true, &raw));
  data_ = DataBlock(raw);
  return true;
}

// Requires: the entries of the block before were all given.
Result<bool> RunStream::NextBlock() {
  last_ = key_;
  const Result<bool> more = walk_.Next();
  if (!more.ok()) return more;
  if (!more.value()) {
    if (cells_ == run_->info().cells) return false;
    return run_->file().Corrupt("format", "the footer counts other cells",
                                run_->file().file_bytes() - kRunFooterBytes);
  }
  const DataBlock& data = walk_.data();
  const Slice common = data.common();
  const DataEntry first = data.At(0);
  key_ = common.ToString() + first.suffix.ToString();
  const bool again = data.AgainAt(0);
  const int order = cells_ == 0 ? -1 : Slice(last_).Compare(key_);
  if (again ? order != 0 || last_seq_ <= first.seq : order >= 0) {
    return run_->file().Corrupt("order", "blocks are out of order", walk_.place().position);
  }
  common_bytes_ = common.size();
  index_ = 0;
  count_ = data.count();
  return true;
}

Result<bool> RunStream::Next(Cell* cell) {
  if (!status_.ok()) return status_;
  if (index_ == count_) {
    const Result<bool> more = NextBlock();
    if (!more.ok()) status_ = more.status();
    if (!more.ok() || !more.value()) return more;
  }
  const DataEntry entry = walk_.data().At(index_++);
  key_.resize(common_bytes_);
  key_.append(entry.suffix.data(), entry.suffix.size());
  cell->key = key_;
  run_->file().SetValue(entry, cell);
  cell->seq = entry.seq;
  cell->expires_at_ms = entry.expires_at_ms;
  cell->deleted = entry.deleted();
  last_seq_ = entry.seq;
  ++cells_;
  return true;
}

std::unique_ptr<CellStream> Run::NewStream(std::shared_ptr<const Run> run) {
  const auto* const reader = static_cast<const RunReader*>(run.get());
  return std::make_unique<RunStream>(std::move(run), reader);
}

}  // namespace gapless::table
