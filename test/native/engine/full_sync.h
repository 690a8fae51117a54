// A full sync without a network: what a primary would send, captured as bytes, and its delivery to
// a replica's generation builder.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine_fixture.h"
#include "snapshot/snapshot.h"

namespace gapless::engine::test {

struct Transfer {
  snapshot::Token token;  // as announced: the flows' sizes are not known yet
  std::vector<std::string> flows;
  std::vector<snapshot::FlowSummary> summaries;
  std::string log;  // records behind the snapshot position
  Position end;
  uint64_t Bytes() const {
    uint64_t bytes = 0;
    for (const std::string& flow : flows) bytes += flow.size();
    return bytes;
  }
};

// Pins, calls `meanwhile`, and takes the flows of the pin and the log behind it.
inline Transfer Capture(Engine* primary, const std::function<void()>& meanwhile,
                        snapshot::Compression compression = snapshot::Compression::kNone) {
  Transfer transfer;
  Result<PinInfo> pin = primary->Pin("full");
  CHECK_OK(pin);
  if (!pin.ok()) return transfer;
  if (meanwhile) meanwhile();
  transfer.token.cluster = pin.value().cluster;
  transfer.token.created_ms = 1;
  transfer.token.compression = compression;
  transfer.token.meta = pin.value().meta;
  for (uint32_t i = 0; i < pin.value().shards; ++i) {
    transfer.token.flows.push_back(snapshot::FlowSummary{i, 0, 0, 0, 0});
  }
  for (uint32_t i = 0; i < pin.value().shards; ++i) {
    Result<std::unique_ptr<snapshot::EntrySource>> source = primary->PinnedShard(pin.value().id, i);
    CHECK_OK(source);
    if (!source.ok()) return transfer;
    snapshot::FlowWriter writer(snapshot::ExpectedHeader(transfer.token, i),
                                std::move(source.value()));
    std::string& bytes = transfer.flows.emplace_back();
    while (writer.NextPiece(&bytes).value()) {
    }
    transfer.summaries.push_back(writer.summary());
  }
  const Position end = primary->progress().visible;
  CHECK_OK(primary->SyncTo(end.offset, kLong));
  for (uint64_t at = transfer.token.meta.position.offset; at < end.offset;) {
    Result<log::LogChunk> chunk = primary->ReadLog(at, 1 << 20);
    CHECK_OK(chunk);
    if (!chunk.ok()) return transfer;
    transfer.log += chunk.value().bytes;
    at = chunk.value().after.offset;
  }
  transfer.end = end;
  primary->ReleasePin(pin.value().id);
  return transfer;
}

inline Status Deliver(GenerationBuilder* builder, const Transfer& transfer, size_t piece = 1000) {
  RETURN_IF_ERROR(builder->Begin(transfer.token, transfer.Bytes()));
  Position received;
  RETURN_IF_ERROR(builder->AppendLog(transfer.log, &received));
  for (uint32_t flow = 0; flow < transfer.flows.size(); ++flow) {
    const Slice bytes = transfer.flows[flow];
    for (size_t at = 0; at < bytes.size(); at += piece) {
      RETURN_IF_ERROR(builder->FeedFlow(flow, bytes.Sub(at, std::min(piece, bytes.size() - at))));
    }
    RETURN_IF_ERROR(builder->FinishFlow(flow, transfer.summaries[flow]));
  }
  return Status::Ok();
}

inline Status FullSync(Engine* replica, const Transfer& transfer) {
  Result<std::unique_ptr<GenerationBuilder>> builder = replica->NewGeneration();
  if (!builder.ok()) return builder.status();
  RETURN_IF_ERROR(Deliver(builder.value().get(), transfer));
  return builder.value()->Install();
}

// Some values of every kind, some of them gone again.
inline void Fill(Bench* bench, Model* model, const std::string& prefix, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const std::string key = prefix + std::to_string(i);
    const std::string value = std::string(20 + i * 7 % 200, static_cast<char>('a' + i % 26));
    REQUIRE_OK(bench->Commit1(Ops().Put(key, value)));
    (*model)[key] = value;
    if (i % 5 != 4) continue;
    REQUIRE_OK(bench->Commit1(Ops().Del(prefix + std::to_string(i - 2))));
    model->erase(prefix + std::to_string(i - 2));
  }
}

inline bool Equals(Engine* engine, const Model& model) {
  return SameDigest(DigestOf(engine), DigestOfModel(model));
}

}  // namespace gapless::engine::test
