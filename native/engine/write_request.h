// What a commit asks for, read and judged: checks, increments, limits. Pure over bytes and a store;
// the sequencer calls Evaluate... with the commit mutex held, Prepare... before it.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"
#include "engine/engine.h"
#include "log/record.h"
#include "table/store.h"

namespace gapless::engine {

// A commit on its way. The slices belong to the caller, or to the queue.
struct Work {
  log::RecordKind kind = log::RecordKind::kBatch;
  Slice body;
  Slice checks;
  uint32_t body_crc = 0;  // of a body without increments
  uint32_t operations = 0;
  bool increments = false;  // the body holds op 4: it is encoded again inside
  log::Durability want = log::Durability::kSync;
};

// Judges form and limits of body and checks; fills operations, increments and body_crc.
Status PrepareBatch(const WriteRequest& request, log::Durability store_default, Work* work);
Status PrepareControl(log::RecordKind kind, Slice body, log::Durability store_default, Work* work);

// The state before the batch, as checks and increments see it.
struct StateBefore {
  const table::Store* store = nullptr;
  table::ReadPoint at;
  std::function<Epoch(uint64_t)> epoch_of;
};
// kConflict with details key, expected and actual ("1.1:42", or empty for absent).
Status EvaluateChecks(Slice checks, const StateBefore& before);
// Writes the body with each increment replaced by the put of its result.
Status EvaluateIncrements(Slice body, const StateBefore& before, std::string* effects,
                          std::vector<int64_t>* results);

// Reads what Evaluate... will read, so that the disk is asked before the sequencer is held, and not
// while it is. Without the commit mutex.
void WarmKeys(const Work& work, const table::Store& store);

// Keys and values of a batch body, without what encodes them.
inline uint64_t UserBytesOf(Slice body, uint64_t operations) {
  return body.size() - std::min<uint64_t>(body.size(), operations * log::kOpHeaderBytes);
}

// Decimal ASCII of a signed 64-bit number as increments write it; false for anything else.
bool ParseCounter(Slice text, int64_t* value);

}  // namespace gapless::engine
