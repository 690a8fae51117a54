// Search behind the last valid record. Zeros are skipped a chunk at a time; what is not zero is
// loaded as a whole, at most one segment.
#include "log/recovery_tail.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "log/record.h"

namespace gapless::log {
namespace {

constexpr size_t kProbeBytes = 1 << 20;

bool IsZero(const char* bytes, size_t count) {
  // The first eight by themselves, the rest against its own beginning: memcmp is vectorised.
  const size_t head = std::min<size_t>(count, 8);
  for (size_t i = 0; i < head; ++i) {
    if (bytes[i] != 0) return false;
  }
  return count <= 8 || std::memcmp(bytes, bytes + 8, count - 8) == 0;
}

// Finds [first, last) around all non-zero bytes; first == last if there is none.
Status FindUsed(io::File* file, uint64_t begin, uint64_t size, uint64_t* first, uint64_t* last) {
  *first = *last = begin;
  std::unique_ptr<char[]> chunk(new char[kProbeBytes]);
  bool found = false;
  for (uint64_t at = begin; at < size;) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kProbeBytes, size - at));
    size_t got = 0;
    RETURN_IF_ERROR(file->ReadAt(at, chunk.get(), wanted, &got));
    if (got == 0) break;
    if (!IsZero(chunk.get(), got)) {
      size_t from = 0;
      while (chunk[from] == 0) ++from;
      size_t to = got;
      while (chunk[to - 1] == 0) --to;
      if (!found) *first = begin + (at - begin + from) / 8 * 8;
      found = true;
      *last = at + to;
    }
    at += got;
  }
  return Status::Ok();
}

bool IsRecord(const ClusterId& cluster, uint64_t offset, const char* at, uint64_t left,
              uint64_t* record_bytes) {
  if (left < kRecordHeaderBytes) return false;
  RecordHeader header;
  if (CheckHeader(cluster, offset, at, &header) != RecordCheck::kOk) return false;
  *record_bytes = header.RecordBytes();
  if (left < *record_bytes) return false;
  return Crc32c(0, at + kRecordHeaderBytes, header.body_bytes) == header.body_crc;
}

}  // namespace

Result<TailFacts> ExamineTail(io::File* file, uint64_t size, const ClusterId& cluster,
                              const Id128& secret, uint64_t segment_start, uint64_t begin,
                              uint64_t log_offset) {
  TailFacts facts;
  uint64_t first = 0;
  uint64_t last = 0;
  RETURN_IF_ERROR(FindUsed(file, begin, size, &first, &last));
  if (first == last) return facts;
  facts.last_used = last;
  // Padding of the last record may be zero: go on to the next multiple of eight, and for a record
  // that ends in zeros to its end.
  std::vector<char> bytes(static_cast<size_t>(size - first));
  size_t got = 0;
  RETURN_IF_ERROR(file->ReadAt(first, bytes.data(), bytes.size(), &got));
  log_offset += first - begin;
  MarkPlace place{secret, segment_start, 0};
  Mark mark;
  const uint64_t used = std::min<uint64_t>(AlignUp8(last - first), got);
  for (uint64_t at = 0; at + 8 <= used;) {
    uint64_t step = 8;
    place.file_position = first + at;
    if (got - at >= kMarkBytes && DecodeMark(place, bytes.data() + at, &mark)) {
      facts.highest_durable = std::max(facts.highest_durable, mark.durable);
      log_offset = mark.offset;
      at += kMarkBytes;
      continue;
    }
    uint64_t record_bytes = 0;
    if (LoadU64(bytes.data() + at) != 0 &&  // almost every position: keep it cheap
        IsRecord(cluster, log_offset, bytes.data() + at, got - at, &record_bytes)) {
      ++facts.valid_records;
      step = record_bytes;
    }
    at += step;
    log_offset += step;
  }
  return facts;
}

}  // namespace gapless::log
