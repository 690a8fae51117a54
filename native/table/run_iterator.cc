// Moving through a run. See the header for what a place is.
#include "table/run_iterator.h"

#include <algorithm>

namespace gapless::table {
namespace {

constexpr uint32_t kSequentialBlocks = 2;  // so many neighbours make it a scan
constexpr uint64_t kPieceMin = 64 * 1024;
constexpr uint64_t kPieceMax = 256 * 1024;

}  // namespace

void RunIterator::Reset() {
  valid_ = false;
  status_ = Status::Ok();
  sequential_ = 0;
  piece_ = kPieceMin;
}

bool RunIterator::LoadPage(uint32_t page) {
  if (has_page_ && page_number_ == page) return true;
  has_page_ = false;
  page_place_ = run_->PagePlace(page);
  const Block* const block = run_->GetBlock(page_place_, BlockType::kPage, &status_);
  if (block == nullptr) return false;
  page_ = IndexBlock(RawOf(*block));
  page_number_ = page;
  has_page_ = true;
  return true;
}

bool RunIterator::LoadData(uint32_t child, bool sequential, bool forward) {
  const BlockPlace place{page_.PositionAt(child), page_.BytesAt(child)};
  sequential_ = sequential ? sequential_ + 1 : 0;
  child_ = child;
  const Block* block = run_->FindBlock(place.position);
  if (block == nullptr && sequential_ >= kSequentialBlocks) return ReadAhead(place, forward);
  if (block == nullptr) block = run_->GetBlock(place, BlockType::kData, &status_);
  if (block == nullptr) return false;
  data_ = DataBlock(RawOf(*block));
  const Slice common = data_.common();
  common_bytes_ = common.size();
  key_.assign(common.data(), common.size());
  return true;
}

bool RunIterator::ReadAhead(BlockPlace place, bool forward) {
  Slice raw;
  status_ = window_.Read(place, page_.PositionAt(0), page_place_.position, piece_, forward, &raw);
  if (!status_.ok()) return false;
  piece_ = std::min(piece_ * 2, kPieceMax);
  data_ = DataBlock(raw);
  const Slice common = data_.common();
  common_bytes_ = common.size();
  key_.assign(common.data(), common.size());
  return true;
}

bool RunIterator::PlaceAtEdge(bool first) {
  const uint32_t pages = run_->top().count();
  if (pages == 0 || !LoadPage(first ? 0 : pages - 1)) return false;
  if (!LoadData(first ? 0 : page_.count() - 1, false, first)) return false;
  index_ = first ? 0 : data_.count() - 1;
  return true;
}

RunIterator::Step RunIterator::PlaceAt(Slice key) {
  const uint32_t page = run_->top().Search(key);
  if (page == run_->top().count()) return Step::kEnd;
  if (!LoadPage(page)) return Step::kError;
  const uint32_t child = page_.Search(key);
  if (child == page_.count()) {
    status_ = run_->file().Corrupt("order", "a page ends before its key", page_place_.position);
    return Step::kError;
  }
  if (!LoadData(child, false, true)) return Step::kError;
  index_ = data_.LowerBound(key);
  if (index_ < data_.count()) return Step::kMoved;
  // The block's key in the index may be above its last one: the next block begins behind `key`.
  index_ = data_.count() - 1;
  return Forward();
}

RunIterator::Step RunIterator::Forward() {
  if (index_ + 1 == data_.count()) return NextBlock();
  ++index_;
  return Step::kMoved;
}

RunIterator::Step RunIterator::NextBlock() {
  uint32_t child = child_ + 1;
  if (child == page_.count()) {
    if (page_number_ + 1 == run_->top().count()) return Step::kEnd;
    if (!LoadPage(page_number_ + 1)) return Step::kError;
    child = 0;
  }
  if (!LoadData(child, true, true)) return Step::kError;
  index_ = 0;
  return Step::kMoved;
}

RunIterator::Step RunIterator::Back() {
  if (index_ > 0) {
    --index_;
    return Step::kMoved;
  }
  uint32_t child = child_;
  if (child == 0) {
    if (page_number_ == 0) return Step::kEnd;
    if (!LoadPage(page_number_ - 1)) return Step::kError;
    child = page_.count();
  }
  if (!LoadData(child - 1, true, false)) return Step::kError;
  index_ = data_.count() - 1;
  return Step::kMoved;
}

bool RunIterator::KeyIs(Slice key) const {
  const Slice common = data_.common();
  if (!key.StartsWith(common)) return false;
  key.RemovePrefix(common.size());
  return data_.At(index_).suffix == key;
}

bool RunIterator::MayGoOn() const {
  const std::string key = data_.common().ToString() + data_.At(index_).suffix.ToString();
  return page_.CompareAt(child_, key) == 0;
}

bool RunIterator::ToNewest() {
  while (data_.AgainAt(index_)) {
    const Step step = Back();
    if (step == Step::kError) return false;
    if (step == Step::kEnd) return true;
  }
  return true;
}

bool RunIterator::ToOldest() {
  while (true) {
    if (index_ + 1 < data_.count()) {
      if (!data_.AgainAt(index_ + 1)) return true;
      ++index_;
      continue;
    }
    if (!MayGoOn()) return true;
    const Step step = NextBlock();
    if (step != Step::kMoved) return step == Step::kEnd;
    if (!data_.AgainAt(0)) return Back() != Step::kError;
  }
}

void RunIterator::FillCell() {
  const DataEntry entry = data_.At(index_);
  cell_.key = entry.suffix;
  if (common_bytes_ > 0) {
    key_.resize(common_bytes_);
    key_.append(entry.suffix.data(), entry.suffix.size());
    cell_.key = key_;
  }
  run_->file().SetValue(entry, &cell_);
  cell_.seq = entry.seq;
  cell_.expires_at_ms = entry.expires_at_ms;
  cell_.deleted = entry.deleted();
}

void RunIterator::SettleForward() {
  while (true) {
    FillCell();
    valid_ = cell_.seq <= at_seq_;
    if (valid_ || Forward() != Step::kMoved) return;
  }
}

void RunIterator::SettleBackward() {
  // Where even the oldest version is too new, the key has none that counts.
  while (data_.At(index_).seq > at_seq_) {
    if (!ToNewest() || Back() != Step::kMoved) return;
  }
  while (data_.AgainAt(index_)) {
    const Step step = Back();
    if (step == Step::kError) return;
    if (step == Step::kEnd) break;
    if (data_.At(index_).seq <= at_seq_) continue;
    if (Forward() != Step::kMoved) return;
    break;
  }
  FillCell();
  valid_ = true;
}

void RunIterator::Next() {
  valid_ = false;
  do {
    if (Forward() != Step::kMoved) return;
  } while (data_.AgainAt(index_));
  SettleForward();
}

void RunIterator::Prev() {
  valid_ = false;
  if (ToNewest() && Back() == Step::kMoved) SettleBackward();
}

void RunIterator::Seek(Slice key) {
  Reset();
  wanted_.assign(key.data(), key.size());
  if (PlaceAt(wanted_) == Step::kMoved) SettleForward();
}

void RunIterator::SeekForPrev(Slice key) {
  Reset();
  wanted_.assign(key.data(), key.size());
  const Step step = PlaceAt(wanted_);
  if (step == Step::kError) return;
  if (step == Step::kEnd) {
    if (PlaceAtEdge(false)) SettleBackward();
  } else if (KeyIs(wanted_)) {
    if (ToOldest()) SettleBackward();
  } else if (Back() == Step::kMoved) {
    SettleBackward();
  }
}

void RunIterator::SeekToFirst() {
  Reset();
  if (PlaceAtEdge(true)) SettleForward();
}

void RunIterator::SeekToLast() {
  Reset();
  if (PlaceAtEdge(false)) SettleBackward();
}

}  // namespace gapless::table
