// What stands behind the last valid record: marks, records that nothing leads to, garbage. Called
// by
// the recovery scan only; reads, never writes.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "io/file_system.h"
#include "log/position.h"
#include "log/segment.h"

namespace gapless::log {

struct TailFacts {
  uint64_t highest_durable = 0;  // over all valid marks
  uint64_t last_used = 0;        // file position behind the last non-zero byte; 0: all zero
  uint64_t valid_records = 0;    // header and body CRC hold at the offset that the place implies
};

// Searches every position [begin, size) that is a multiple of eight. `log_offset` is the offset
// that
// a record at `begin` would have; a mark on the way corrects it.
Result<TailFacts> ExamineTail(io::File* file, uint64_t size, const ClusterId& cluster,
                              const Id128& secret, uint64_t segment_start, uint64_t begin,
                              uint64_t log_offset);

}  // namespace gapless::log
