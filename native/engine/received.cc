// Judging received records. See the header.
#include "engine/received.h"

#include <algorithm>

#include "base/coding.h"

namespace gapless::engine {
namespace {

uint64_t RecordBytesAt(const char* at) {
  return AlignUp8(log::kRecordHeaderBytes + uint64_t{LoadU32(at + log::kRecordBodyBytes)});
}

// What CheckRecord leaves to the history: epochs go on, and a batch holds what it says.
Status CheckMeaning(const log::RecordView& record, const Position& before, uint64_t* operations) {
  const log::RecordHeader& header = record.header;
  if (header.kind == log::RecordKind::kEpoch) {
    log::EpochBody body;
    if (!log::DecodeEpochBody(record.body, &body) || body.before != before ||
        header.epoch <= before.epoch) {
      return ProtocolError("epoch", "an epoch does not follow the one before it");
    }
    return Status::Ok();
  }
  if (header.epoch != before.epoch) {
    return ProtocolError("epoch", "a record belongs to an epoch that did not begin");
  }
  if (header.kind != log::RecordKind::kBatch) return Status::Ok();
  uint32_t counted = 0;
  const Status body = log::CheckBatchBody(record.body, &counted);
  if (!body.ok() || counted != header.operations) {
    return ProtocolError("body", "a batch is not what its header says");
  }
  *operations += counted;
  return Status::Ok();
}

}  // namespace

Status ProtocolError(const char* reason, const std::string& what) {
  return Status::Error(Code::kProtocol, what).With("reason", reason);
}

Status SkipKnown(uint64_t seq, Slice* records, Skipped* skipped) {
  while (records->size() >= log::kRecordHeaderBytes) {
    const uint64_t first = LoadU64(records->data() + log::kRecordFirstSeq);
    if (first > seq) return Status::Ok();
    const uint64_t operations = LoadU32(records->data() + log::kRecordOperations);
    const uint64_t end = first + std::max<uint64_t>(operations, 1) - 1;
    if (end > seq) {
      return ProtocolError("misaligned", "a record begins below and ends above what was received");
    }
    const uint64_t bytes = RecordBytesAt(records->data());
    if (bytes > records->size()) return ProtocolError("short", "a record is cut off");
    ++skipped->records;
    skipped->end_seq = end;
    skipped->chain = LoadU64(records->data() + log::kRecordChain);
    records->RemovePrefix(static_cast<size_t>(bytes));
  }
  return records->empty() ? Status::Ok() : ProtocolError("short", "a record is cut off");
}

Status CheckSkippedEnd(const Skipped& skipped, const Position& ours) {
  if (ours.seq == skipped.end_seq && ours.chain == skipped.chain) return Status::Ok();
  return ProtocolError("chain", "records that are here already are of another history");
}

Status CheckSkipped(const Skipped& skipped, const Position& head, log::Log* log) {
  if (skipped.records == 0) return Status::Ok();
  if (skipped.end_seq == head.seq) return CheckSkippedEnd(skipped, head);
  const Result<Position> ours = log->PositionBeforeSeq(skipped.end_seq + 1);
  if (ours.ok()) return CheckSkippedEnd(skipped, ours.value());
  const Status& why = ours.status();
  return why.Is(Code::kEvicted) || why.Is(Code::kPositionUnavailable) ? Status::Ok() : why;
}

Status CheckReceived(const ClusterId& cluster, uint64_t latest_ms, const Position& at,
                     uint64_t clock, Slice rest, log::RecordView* record, uint64_t* operations) {
  const log::RecordCheck check = log::CheckRecord(cluster, at, clock, rest, record);
  if (check == log::RecordCheck::kFormat) {
    return Status::Error(Code::kFormatUnsupported, "a record is of another version");
  }
  if (check != log::RecordCheck::kOk) {
    const bool gap = rest.size() >= log::kRecordHeaderBytes &&
                     LoadU64(rest.data() + log::kRecordFirstSeq) > at.seq + 1;
    if (gap) return ProtocolError("gap", "records are missing in front of what came");
    return ProtocolError(log::RecordCheckText(check), "a record does not verify");
  }
  if (record->header.timestamp >> 16 > latest_ms) {
    return ProtocolError("clock_ahead", "a record lies too far ahead of this node's clock");
  }
  return CheckMeaning(*record, at, operations);
}

}  // namespace gapless::engine
