// Verifying a whole run: every byte, and everything that is said twice against its twin.
#include <algorithm>
#include <map>

#include "base/hash.h"
#include "table/filter.h"
#include "table/run_ranges.h"
#include "table/run_stream.h"
#include "table/value_file.h"

namespace gapless::table {
namespace {

// What the entries and range deletes add up to.
struct Totals {
  uint64_t deletions = 0;
  uint64_t raw_bytes = 0;
  uint64_t min_seq = UINT64_MAX;
  uint64_t max_seq = 0;
  uint32_t data_blocks = 0;
  Extent extent;
  std::map<uint64_t, uint64_t> referred;  // stored bytes by value file

  void NoteSeq(uint64_t seq) {
    min_seq = std::min(min_seq, seq);
    max_seq = std::max(max_seq, seq);
  }
};

class Verifier {
 public:
  explicit Verifier(const RunReader* run) : run_(run) {}
  Status Run();

 private:
  Status CheckCells();
  Status CheckCell(const RunStream& stream, const Cell& cell);
  Status CheckEnd();
  Status CheckRanges();
  Status CheckTotals(const RunFooter& footer) const;
  Status Damage(const char* text, uint64_t offset) const {
    return run_->file().Corrupt("order", text, offset);
  }

  const RunReader* const run_;
  Totals totals_;
  std::string last_key_;
  std::string held_;  // a value
};

// The filter, the tag and the index lead to the cell.
Status Verifier::CheckCell(const RunStream& stream, const Cell& cell) {
  const RunWalk& walk = stream.walk();
  const uint64_t at = walk.place().position;
  const uint64_t hash = HashKey(cell.key);
  if (!FilterMayContain(walk.page().extra(), hash)) {
    return Damage("a key is not in its filter", walk.page_place().position);
  }
  if (walk.data().TagAt(stream.index()) != TagOf(hash)) return Damage("a key has another tag", at);
  if (walk.page().CompareAt(walk.child(), cell.key) < 0) {
    return Damage("a key lies behind its block's key in the index", at);
  }
  const bool again = walk.data().AgainAt(stream.index());
  if (!again && walk.child() > 0 && walk.page().CompareAt(walk.child() - 1, cell.key) >= 0) {
    return Damage("a key lies before its block", at);
  }
  if (!again && walk.child() == 0 && walk.pages() > 1 &&
      run_->top().CompareAt(walk.pages() - 2, cell.key) >= 0) {
    return Damage("a key lies before its page", at);
  }
  totals_.deletions += cell.deleted ? 1 : 0;
  totals_.raw_bytes += cell.key.size() + cell.value_bytes();
  totals_.NoteSeq(cell.seq);
  if (cell.stored.file != nullptr) {
    totals_.referred[cell.stored.ref.file] += cell.stored.ref.stored_bytes;
  }
  Slice value;
  return LoadValue(cell, &held_, &value);
}

Status Verifier::CheckCells() {
  RunStream stream(nullptr, run_);
  Cell cell;
  while (true) {
    const Result<bool> more = stream.Next(&cell);
    if (!more.ok()) return more.status();
    if (!more.value()) return CheckEnd();
    if (stream.cells() == 1) totals_.extent.lower = cell.key.ToString();
    if (stream.index() == 0) totals_.data_blocks++;
    RETURN_IF_ERROR(CheckCell(stream, cell));
    if (stream.index() + 1 == stream.walk().data().count()) last_key_ = cell.key.ToString();
  }
}

Status Verifier::CheckEnd() {
  const uint32_t pages = run_->top().count();
  if (pages == 0) return Status::Ok();
  totals_.extent.upper = last_key_ + '\0';
  if (run_->top().CompareAt(pages - 1, last_key_) == 0) return Status::Ok();
  return Damage("the last key is not that of the top block", run_->footer().top.position);
}

Status Verifier::CheckRanges() {
  std::vector<RangeFragment> fragments;
  RETURN_IF_ERROR(run_->ReadRanges(run_->footer(), &fragments));
  if (fragments.empty()) return Status::Ok();
  const bool cells = run_->info().cells > 0;
  Extent& extent = totals_.extent;
  if (!cells || fragments.front().lower < extent.lower) extent.lower = fragments.front().lower;
  for (const RangeFragment& fragment : fragments) {
    for (const uint64_t seq : fragment.seqs) totals_.NoteSeq(seq);
  }
  const RangeFragment& last = fragments.back();
  extent.unbounded = last.unbounded;
  if (extent.unbounded) {
    extent.upper.clear();
  } else if (!cells || extent.upper < last.upper) {
    extent.upper = last.upper;
  }
  return Status::Ok();
}

Status Verifier::CheckTotals(const RunFooter& footer) const {
  const uint64_t at = run_->file().file_bytes() - kRunFooterBytes;
  const bool same = footer.deletions == totals_.deletions &&
                    footer.raw_bytes == totals_.raw_bytes && footer.min_seq == totals_.min_seq &&
                    footer.max_seq == totals_.max_seq && footer.data_blocks == totals_.data_blocks;
  if (!same) {
    return run_->file().Corrupt("footer", "the footer's sums are not those of the cells", at);
  }
  for (const ValueUse& use : run_->info().values) {
    const auto referred = totals_.referred.find(use.file);
    if (referred == totals_.referred.end() || referred->second != use.bytes) {
      return run_->file().Corrupt("footer", "the manifest says something else of its values", at);
    }
  }
  if (totals_.extent == run_->info().extent) return Status::Ok();
  return Damage("the extent is not that of the cells", run_->footer().top.position);
}

Status Verifier::Run() {
  RETURN_IF_ERROR(run_->ReadHeader());
  RunFooter footer;
  RETURN_IF_ERROR(run_->ReadFooter(&footer));
  for (const auto& values : run_->file().values()) {
    RETURN_IF_ERROR(values->CheckHeader(run_->info().shard));
  }
  const Result<std::unique_ptr<Block>> top = run_->file().Read(run_->footer().top, BlockType::kTop);
  if (!top.ok()) return top.status();
  RETURN_IF_ERROR(CheckCells());
  RETURN_IF_ERROR(CheckRanges());
  return CheckTotals(footer);
}

}  // namespace

Result<std::vector<RunDamage>> RunReader::Verify() const {
  const Status status = Verifier(this).Run();
  std::vector<RunDamage> damage;
  if (status.ok()) return damage;
  if (!status.Is(Code::kCorrupt) && !status.Is(Code::kFormatUnsupported)) return status;
  std::string what = "format";
  for (const Detail& detail : status.details()) {
    if (detail.name == "what") what = detail.text;
  }
  damage.push_back({status.file(), static_cast<uint64_t>(status.offset()), what});
  return damage;
}

}  // namespace gapless::table
