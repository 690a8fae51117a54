// Merging cell by cell: what stays goes to the current output, which is cut between keys.
#include "table/merge.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "table/merge_heap.h"
#include "table/merge_rules.h"
#include "table/value_file.h"

namespace gapless::table {
namespace {

constexpr uint64_t kPaceBytes = 256 * 1024;
constexpr uint64_t kPaceCells = 64 * 1024;    // read, whether something is written or not
constexpr uint64_t kMeasureBytes = 4 * 1024;  // of keys and values between two looks at the output

// Bytes that all keys of the inputs share; 0 when that is not known.
size_t CommonBytes(const std::vector<MergeInput>& inputs) {
  std::optional<Extent> hull;
  for (const MergeInput& input : inputs) {
    if (input.info == nullptr || input.info->extent.unbounded) return 0;
    const Extent& extent = input.info->extent;
    if (!hull.has_value()) hull = extent;
    hull->lower = std::min(hull->lower, extent.lower);
    hull->upper = std::max(hull->upper, extent.upper);
  }
  if (!hull.has_value()) return 0;
  const auto differ =
      std::mismatch(hull->lower.begin(), hull->lower.end(), hull->upper.begin(), hull->upper.end());
  return static_cast<size_t>(differ.first - hull->lower.begin());
}

std::vector<const RangeSet*> RangesOf(const std::vector<MergeInput>& inputs) {
  std::vector<const RangeSet*> sets;
  for (const MergeInput& input : inputs) {
    if (input.ranges != nullptr) sets.push_back(input.ranges);
  }
  return sets;
}

// The range deletes over keys that ascend.
class Cover {
 public:
  explicit Cover(const FragmentList* fragments) : fragments_(fragments) {}
  void Seek(Slice key) {
    now_ = nullptr;
    while (at_ < fragments_->size() && (*fragments_)[at_].EndsAtOrBefore(key)) at_++;
    if (at_ == fragments_->size()) return;
    if (Slice((*fragments_)[at_].lower).Compare(key) <= 0) now_ = &(*fragments_)[at_];
  }
  // The oldest delete of the key that is newer than `seq`, or kNever.
  uint64_t OldestAbove(uint64_t seq) const {
    const uint64_t found = now_ == nullptr ? 0 : now_->OldestAbove(seq);
    return found == 0 ? ReadPoints::kNever : found;
  }

 private:
  const FragmentList* const fragments_;
  size_t at_ = 0;
  const RangeFragment* now_ = nullptr;
};

class Merger {
 public:
  Merger(MergeRequest request, const NewRunWriter& new_writer, std::vector<RunInfo>* finished,
         MergeStats* stats)
      : request_(std::move(request)),
        new_writer_(new_writer),
        finished_(finished),
        stats_(stats),
        points_(request_.protected_seqs),
        ranges_(UniteRanges(RangesOf(request_.inputs), points_)),
        cover_(&ranges_),
        heap_(CommonBytes(request_.inputs)) {}

  Status Run();

 private:
  bool IsHidden(const RunInfo& info) const;
  Status Take(const Cell& cell);
  void BeginKey(const Cell& cell);
  Status KeepPending();
  Status Write(const Cell& cell);
  Status Add(const Cell& cell);
  Status Measure();
  Status Pace();
  // Compression makes an output smaller than it was measured when its last block was open.
  uint64_t Unpaced() const {
    return unpaced_ + (output_bytes_ > paced_bytes_ ? output_bytes_ - paced_bytes_ : 0);
  }
  bool SplitDue() const {
    const uint64_t of_run = output_bytes_ - output_value_bytes_ + range_bytes_;
    return request_.run_bytes > 0 &&
           (of_run >= request_.run_bytes || output_value_bytes_ >= kValueFileBytes);
  }
  // Lets range deletes that begin at or before `key` (null: all that are left) fill outputs too.
  Status PassRanges(const Slice* key);
  // Ends the current output before `upper`, or for good.
  Status FinishOutput(const Slice* upper);

  MergeRequest request_;
  const NewRunWriter& new_writer_;
  std::vector<RunInfo>* const finished_;
  MergeStats* const stats_;
  const ReadPoints points_;
  const FragmentList ranges_;
  Cover cover_;
  MergeHeap heap_;

  // The key under way.
  bool any_key_ = false;
  std::string key_;
  uint64_t key_prefix_ = 0;
  uint64_t newer_ = ReadPoints::kNever;  // the version before
  bool key_written_ = false;
  std::string value_;              // read from a worn value file
  std::vector<uint64_t> pending_;  // deletions that stay only if an older version does

  // The output under way.
  std::unique_ptr<RunWriter> writer_;
  std::optional<std::string> lower_;  // where it begins; none: the first
  uint64_t output_bytes_ = 0;         // as last measured, with its values
  uint64_t output_value_bytes_ = 0;   // of output_bytes_
  uint64_t paced_bytes_ = 0;          // of output_bytes_
  size_t next_range_ = 0;
  uint64_t range_bytes_ = 0;  // of the range deletes that are passed
  uint64_t unmeasured_ = 0;
  uint64_t unpaced_ = 0;  // of outputs before
  uint64_t unpaced_cells_ = 0;
};

// Whether range deletes hide all of the run at every read point.
bool Merger::IsHidden(const RunInfo& info) const {
  Slice at(info.extent.lower);
  auto fragments = std::partition_point(
      ranges_.begin(), ranges_.end(),
      [at](const RangeFragment& fragment) { return fragment.EndsAtOrBefore(at); });
  for (; fragments != ranges_.end(); ++fragments) {
    const RangeFragment& fragment = *fragments;
    if (Slice(fragment.lower).Compare(at) > 0) return false;
    const uint64_t newer = fragment.OldestAbove(info.max_seq);
    if (newer == 0 || points_.AnyIn(info.min_seq, newer)) return false;
    if (fragment.unbounded) return true;
    at = fragment.upper;
    if (!info.extent.unbounded && at.Compare(info.extent.upper) >= 0) return true;
  }
  return false;
}

Status Merger::Run() {
  for (MergeInput& input : request_.inputs) {
    if (input.info != nullptr && !ranges_.empty() && IsHidden(*input.info)) {
      input.cells.reset();
      continue;
    }
    RETURN_IF_ERROR(heap_.Add(std::move(input.cells), input.info));
  }
  for (;;) {
    RETURN_IF_ERROR(heap_.Settle());
    if (heap_.empty()) break;
    RETURN_IF_ERROR(Take(heap_.top()));
    RETURN_IF_ERROR(heap_.Pop());
  }
  RETURN_IF_ERROR(PassRanges(nullptr));
  return FinishOutput(nullptr);
}

// What was passed begins before every key that is still to be written.
Status Merger::PassRanges(const Slice* key) {
  const uint64_t dropped = request_.bottom ? points_.lowest() : 0;
  for (; next_range_ < ranges_.size(); next_range_++) {
    const RangeFragment& fragment = ranges_[next_range_];
    const Slice lower(fragment.lower);
    if (key != nullptr && lower.Compare(*key) > 0) break;
    if (fragment.seqs.front() <= dropped) continue;
    if (SplitDue()) RETURN_IF_ERROR(FinishOutput(&lower));
    range_bytes_ += lower.size() + fragment.upper.size() + fragment.seqs.size() * sizeof(uint64_t);
  }
  return Status::Ok();
}

void Merger::BeginKey(const Cell& cell) {
  any_key_ = true;
  key_.assign(cell.key.data(), cell.key.size());
  key_prefix_ = heap_.top_prefix();
  newer_ = ReadPoints::kNever;
  key_written_ = false;
  pending_.clear();
  if (!ranges_.empty()) cover_.Seek(cell.key);
}

// Keeps the version if somebody may read it: at its own sequence or later, and before the next
// newer version or range delete.
Status Merger::Take(const Cell& cell) {
  stats_->read_cells++;
  if (++unpaced_cells_ >= kPaceCells) RETURN_IF_ERROR(Pace());
  const bool same_key = any_key_ && heap_.top_prefix() == key_prefix_ && cell.key == Slice(key_);
  if (!same_key) BeginKey(cell);
  const uint64_t next = std::min(newer_, cover_.OldestAbove(cell.seq));
  newer_ = cell.seq;
  if (!points_.AnyIn(cell.seq, next)) return Status::Ok();
  const bool expired = cell.expires_at_ms != 0 && cell.expires_at_ms <= request_.expired_through_ms;
  if ((cell.deleted || expired) && request_.bottom && cell.seq <= points_.floor()) {
    pending_.push_back(cell.seq);
    return Status::Ok();
  }
  if (!pending_.empty()) RETURN_IF_ERROR(KeepPending());
  return Write(expired ? Cell{cell.key, Slice(), cell.seq, 0, true, {}} : cell);
}

Status Merger::KeepPending() {
  Cell deletion;
  deletion.key = key_;
  deletion.deleted = true;
  for (const uint64_t seq : pending_) {
    deletion.seq = seq;
    RETURN_IF_ERROR(Write(deletion));
  }
  pending_.clear();
  return Status::Ok();
}

Status Merger::Write(const Cell& cell) {
  if (!key_written_) {
    RETURN_IF_ERROR(PassRanges(&cell.key));
    if (SplitDue()) RETURN_IF_ERROR(FinishOutput(&cell.key));
  }
  if (writer_ == nullptr) {
    Result<std::unique_ptr<RunWriter>> writer = new_writer_();
    if (!writer.ok()) return writer.status();
    writer_ = std::move(writer.value());
  }
  RETURN_IF_ERROR(Add(cell));
  key_written_ = true;
  stats_->written_cells++;
  unmeasured_ += cell.key.size() + cell.value.size() + 8;
  return unmeasured_ < kMeasureBytes ? Status::Ok() : Measure();
}

// A value that stays in its file is not read.
Status Merger::Add(const Cell& cell) {
  const std::vector<uint64_t>& worn = request_.worn_values;
  if (cell.stored.file == nullptr ||
      !std::binary_search(worn.begin(), worn.end(), cell.stored.ref.file)) {
    return writer_->Add(cell);
  }
  Cell own = cell;
  RETURN_IF_ERROR(LoadValue(cell, &value_, &own.value));
  own.stored = StoredValue();
  unmeasured_ += own.value.size();
  return writer_->Add(own);
}

Status Merger::Measure() {
  unmeasured_ = 0;
  output_value_bytes_ = writer_->value_bytes();
  output_bytes_ = writer_->bytes() + output_value_bytes_;
  return Unpaced() < kPaceBytes ? Status::Ok() : Pace();
}

Status Merger::Pace() {
  const uint64_t bytes = Unpaced();
  unpaced_ = 0;
  unpaced_cells_ = 0;
  paced_bytes_ = std::max(paced_bytes_, output_bytes_);
  return request_.pace ? request_.pace(bytes) : Status::Ok();
}

Status Merger::FinishOutput(const Slice* upper) {
  const Slice lower = lower_.has_value() ? Slice(*lower_) : Slice();
  const FragmentList ranges = ClipRanges(ranges_, lower_.has_value() ? &lower : nullptr, upper,
                                         request_.bottom ? points_.lowest() : 0);
  if (writer_ == nullptr && ranges.empty()) return Status::Ok();
  if (writer_ == nullptr) {
    Result<std::unique_ptr<RunWriter>> writer = new_writer_();
    if (!writer.ok()) return writer.status();
    writer_ = std::move(writer.value());
  }
  for (const RangeFragment& fragment : ranges) RETURN_IF_ERROR(writer_->AddRange(fragment));
  Result<RunInfo> info = writer_->Finish();
  if (!info.ok()) return info.status();
  writer_.reset();
  const ValueUse* const own = FindUse(info.value().values, info.value().number);
  output_bytes_ = info.value().bytes + (own == nullptr ? 0 : own->file_bytes);
  stats_->written_bytes += output_bytes_;
  unpaced_ = Unpaced();
  finished_->push_back(std::move(info.value()));
  output_bytes_ = output_value_bytes_ = paced_bytes_ = unmeasured_ = range_bytes_ = 0;
  if (upper != nullptr) lower_ = upper->ToString();
  return Status::Ok();
}

}  // namespace

Status MergeInto(MergeRequest request, const NewRunWriter& new_writer,
                 std::vector<RunInfo>* finished, MergeStats* stats) {
  Merger merger(std::move(request), new_writer, finished, stats);
  return merger.Run();
}

Result<std::vector<RunInfo>> Merge(const RunOptions& options, MergeRequest request,
                                   MergeStats* stats) {
  const std::function<uint64_t()> next_number = request.next_number;
  const NewRunWriter new_writer = [&, shard = request.shard, level = request.level] {
    return RunWriter::Create(options, next_number(), shard, level);
  };
  std::vector<RunInfo> finished;
  const Status status = MergeInto(std::move(request), new_writer, &finished, stats);
  if (status.ok()) return finished;
  for (const RunInfo& info : finished) RemoveRunFiles(options, info);
  return status;
}

}  // namespace gapless::table
