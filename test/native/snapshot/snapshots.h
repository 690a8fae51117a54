// Whole snapshot directories for tests: two flows, a token with every part of the meta state.
#pragma once

#include <string>

#include "io/file_names.h"
#include "snapshot/flows.h"

namespace gapless::snapshot::test {

inline Token SampleToken(Compression compression, uint32_t flows) {
  const FlowHeader header = SampleHeader(compression);
  Token token;
  token.cluster = header.cluster;
  token.created_ms = 1700000000123;
  token.compression = compression;
  for (uint32_t i = 0; i < flows; ++i) token.flows.push_back(FlowSummary{i, 0, 0, 0, 0});
  token.meta.position = header.position;
  token.meta.clock = header.clock;
  EpochEntry epoch;
  epoch.epoch = Epoch{3, 1};
  epoch.chain = 0x1122334455667788;
  epoch.node.bytes[15] = 9;
  epoch.time_ms = 1700000000000;
  epoch.cause = 1;
  token.meta.epochs.push_back(epoch);
  token.meta.cursors.push_back(log::CursorEntry{"sink", Position{Epoch{3, 1}, 40, 4000, 5}});
  log::SlotEntry slot;
  slot.node.bytes[0] = 1;
  slot.created_at = 128;
  token.meta.slots.push_back(slot);
  return token;
}

inline Entries SampleEntries(uint32_t flow) {
  Entries entries;
  for (uint64_t i = 0; i < 12; ++i) {
    entries.push_back({"key-" + std::to_string(10 + i) + "-" + std::to_string(flow),
                       std::string(400 + 100 * flow, static_cast<char>('a' + i)), i + 1,
                       i % 3 == 0 ? 5000 + i : 0});
  }
  return entries;
}

inline Status WriteSnapshotUntilError(io::FileSystem* fs, const std::string& directory,
                                      Compression compression, Token* token = nullptr) {
  Token made = SampleToken(compression, 2);
  RETURN_IF_ERROR(fs->CreateDirectory(directory));
  RETURN_IF_ERROR(fs->SyncDirectory("/"));
  for (uint32_t flow = 0; flow < 2; ++flow) {
    const auto writer = NewWriter(ExpectedHeader(made, flow), SampleEntries(flow));
    const Result<FlowSummary> summary =
        WriteFlowFile(fs, io::JoinPath(directory, io::FlowName(flow)), writer.get(), nullptr);
    if (!summary.ok()) return summary.status();
    made.flows[flow] = summary.value();
  }
  if (token != nullptr) *token = made;
  return PublishToken(fs, directory, made);
}

inline Token WriteSnapshot(io::FileSystem* fs, const std::string& directory,
                           Compression compression) {
  Token token;
  CHECK_OK(WriteSnapshotUntilError(fs, directory, compression, &token));
  return token;
}

}  // namespace gapless::snapshot::test
