// Judging records that a peer sent, before anything is done with them: shared by a replica's stream
// and by the generation builder. Pure functions, any thread.
#pragma once

#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "log/log.h"
#include "log/position.h"
#include "log/record.h"

namespace gapless::engine {

// kProtocol with the detail "reason".
Status ProtocolError(const char* reason, const std::string& what);

struct Skipped {
  uint64_t records = 0;
  // Of the last one.
  uint64_t end_seq = 0;
  uint64_t chain = 0;
};

// Skips records that are here already. Their header CRC cannot be checked (it covers an offset that
// they do not carry); their length only has to lead to a record that verifies, and their end must
// be judged by CheckSkipped.
Status SkipKnown(uint64_t seq, Slice* records, Skipped* skipped);

// What was skipped must be of the history that `log` holds up to `head`, else kProtocol, chain.
// What the log has released, or has not written yet, is not compared.
Status CheckSkipped(const Skipped& skipped, const Position& head, log::Log* log);
// The same against the position here at the end of what was skipped.
Status CheckSkippedEnd(const Skipped& skipped, const Position& ours);

// The first record of `rest` must follow `at`: bytes, sequence, chain, clock (at most `latest_ms`),
// and what its body says of the history. Adds its operations. The view points into `rest`.
Status CheckReceived(const ClusterId& cluster, uint64_t latest_ms, const Position& at,
                     uint64_t clock, Slice rest, log::RecordView* record, uint64_t* operations);

}  // namespace gapless::engine
