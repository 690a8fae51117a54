// Closed stores for the offline commands: built through the engine, with the model after each
// record.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/offline.h"
#include "full_sync.h"
#include "io/file_names.h"
#include "snapshot/snapshot.h"

namespace gapless::engine::test {

struct ClosedStore {
  Bench bench;
  std::map<uint64_t, Model> at_seq;  // state at each record end
  Model model;
  Position end;

  // `writes` batches of one to three operations, several opens, closed at the end.
  explicit ClosedStore(size_t writes, uint64_t segment_bytes = 64 * 1024, size_t value_bytes = 30) {
    bench.options.segment_bytes = segment_bytes;
    CHECK_OK(bench.Open());
    at_seq[0] = {};
    for (size_t i = 0; i < writes; ++i) Write(i, value_bytes);
    end = bench.engine->progress().visible;
    CHECK_OK(bench.Close());
  }
  void Write(size_t i, size_t value_bytes) {
    Ops ops;
    for (size_t k = 0; k <= i % 3; ++k) {
      const std::string key = "key" + std::to_string((i * 7 + k) % 23);
      const std::string value = std::to_string(i) + std::string(value_bytes, 'v');
      ops.Put(key, value);
      model[key] = value;
    }
    if (i % 4 == 3) {
      ops.Del("key" + std::to_string(i % 23));
      model.erase("key" + std::to_string(i % 23));
    }
    const uint64_t before = bench.engine->progress().visible.seq;
    const Result<Commit> commit = bench.Sync1(ops);
    CHECK_OK(commit);
    if (!commit.ok()) return;
    if (commit.value().first_seq == before + 2) at_seq[before + 1] = at_seq[before];  // the epoch
    at_seq[commit.value().position.seq] = model;
  }
  io::FaultFileSystem* fs() { return &bench.fs; }
};

inline std::string Segment(uint64_t offset) {
  return "/db/gen-000001/log/" + io::SegmentName(offset);
}

inline const log::Damage* FindDamage(const std::vector<log::Damage>& damage,
                                     const std::string& file) {
  for (const log::Damage& found : damage) {
    if (found.file == file) return &found;
  }
  return nullptr;
}

// Everything that `fs` holds, to see that nothing changed.
inline std::map<std::string, std::string> ContentOf(const io::FaultFileSystem& fs) {
  std::map<std::string, std::string> content;
  for (const std::string& path : fs.ListAll()) {
    content[path] = path.back() == '/' ? "" : fs.ReadRaw(path);
  }
  return content;
}

// A snapshot directory of what `engine` shows.
inline Position WriteSnapshotOf(Engine* engine, io::FileSystem* fs, const std::string& directory) {
  Result<PinInfo> pin = engine->Pin("snapshot");
  CHECK_OK(pin);
  CHECK_OK(fs->CreateDirectory(directory));
  CHECK_OK(fs->SyncDirectory("/"));
  snapshot::Token token;
  token.cluster = pin.value().cluster;
  token.created_ms = 5;
  token.meta = pin.value().meta;
  for (uint32_t i = 0; i < pin.value().shards; ++i) {
    token.flows.push_back(snapshot::FlowSummary{i, 0, 0, 0, 0});
  }
  for (uint32_t i = 0; i < pin.value().shards; ++i) {
    Result<std::unique_ptr<snapshot::EntrySource>> source = engine->PinnedShard(pin.value().id, i);
    CHECK_OK(source);
    snapshot::FlowWriter writer(snapshot::ExpectedHeader(token, i), std::move(source.value()));
    const auto flow =
        snapshot::WriteFlowFile(fs, io::JoinPath(directory, io::FlowName(i)), &writer, nullptr);
    CHECK_OK(flow);
    token.flows[i] = flow.value();
  }
  CHECK_OK(snapshot::PublishToken(fs, directory, token));
  engine->ReleasePin(pin.value().id);
  return token.meta.position;
}

}  // namespace gapless::engine::test
