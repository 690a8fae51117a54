// Judging records that a peer sent, before anything is done with them: shared by a replica's stream
// and by the generation builder. Pure functions, any thread.
#pragma once

#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "log/position.h"
#include "log/record.h"

namespace gapless::engine {

// kProtocol with the detail "reason".
Status ProtocolError(const char* reason, const std::string& what);

// Skips records that are here already. Their header CRC cannot be checked (it covers an offset that
// they do not carry); their length only has to lead to a record that verifies.
Status SkipKnown(uint64_t seq, Slice* records, uint64_t* skipped);

// The first record of `rest` must follow `at`: bytes, sequence, chain, clock (at most `latest_ms`),
// and what its body says of the history. Adds its operations. The view points into `rest`.
Status CheckReceived(const ClusterId& cluster, uint64_t latest_ms, const Position& at,
                     uint64_t clock, Slice rest, log::RecordView* record, uint64_t* operations);

}  // namespace gapless::engine
