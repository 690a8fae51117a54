// Helpers of the snapshot tests: owned entries, a source over them, whole flows in memory, and
// flows put together by hand with right checksums around wrong contents.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/crc32c.h"
#include "check.h"
#include "io/fault_file_system.h"
#include "snapshot/flow.h"
#include "snapshot/flow_decoder.h"
#include "snapshot/flow_format.h"
#include "snapshot/snapshot.h"

namespace gapless::snapshot::test {

struct Owned {
  std::string key;
  std::string value;
  uint64_t seq = 0;
  uint64_t expires_at_ms = 0;
  bool operator==(const Owned&) const = default;
};
using Entries = std::vector<Owned>;

// Slices of one entry die with the next call, as the contract says: they are copied to a fresh
// block.
class VectorSource : public EntrySource {
 public:
  explicit VectorSource(Entries entries, Status at_end = Status())
      : entries_(std::move(entries)), at_end_(std::move(at_end)) {}
  bool Next(table::Entry* entry, Status* error) override {
    if (next_ == entries_.size()) {
      *error = at_end_;
      return false;
    }
    current_ = std::make_unique<Owned>(entries_[next_++]);
    entry->key = current_->key;
    entry->value = current_->value;
    entry->seq = current_->seq;
    entry->expires_at_ms = current_->expires_at_ms;
    return true;
  }

 private:
  Entries entries_;
  Status at_end_;
  size_t next_ = 0;
  std::unique_ptr<Owned> current_;
};

inline FlowHeader SampleHeader(Compression compression) {
  FlowHeader header;
  header.flow = 1;
  header.flows = 3;
  header.compression = compression;
  for (size_t i = 0; i < 16; ++i) header.cluster.bytes[i] = static_cast<uint8_t>(0xA0 + i);
  header.position = Position{Epoch{3, 1}, 42, 4096, 0x9F3C0A5E11D27B60};
  header.clock = uint64_t{1700000000000} << 16;
  return header;
}

inline std::unique_ptr<FlowWriter> NewWriter(const FlowHeader& header, const Entries& entries) {
  return std::make_unique<FlowWriter>(header, std::make_unique<VectorSource>(entries));
}

inline std::string WriteFlow(const FlowHeader& header, const Entries& entries,
                             FlowSummary* summary = nullptr) {
  const auto writer = NewWriter(header, entries);
  std::string flow;
  while (true) {
    std::string piece;
    const Result<bool> more = writer->NextPiece(&piece);
    CHECK_OK(more);
    if (!more.ok() || !more.value()) break;
    CHECK_LE(piece.size(), kPieceBytesMax);
    CHECK_GT(piece.size(), 0u);
    flow += piece;
  }
  if (summary != nullptr) *summary = writer->summary();
  return flow;
}

// Feeds in pieces of `step` bytes; the first failure, or OK.
inline Status Verify(Slice flow, const FlowHeader& expected, size_t step, bool* complete,
                     FlowSummary* summary = nullptr) {
  FlowVerifier verifier(expected, "peer/flow");
  *complete = false;
  while (!flow.empty()) {
    const size_t take = std::min(step, flow.size());
    // A block of its own: reading outside of it is seen by the address sanitizer.
    const std::string piece(flow.data(), take);
    flow.RemovePrefix(take);
    const Status status = verifier.Feed(piece);
    if (!status.ok()) return status;
  }
  *complete = verifier.Complete();
  if (*complete && summary != nullptr) *summary = verifier.summary();
  return Status::Ok();
}

inline Status ReadFile(io::FileSystem* fs, const std::string& path, const FlowHeader& expected,
                       Entries* entries) {
  entries->clear();
  const Result<std::unique_ptr<FlowReader>> reader = OpenFlow(fs, path, expected);
  if (!reader.ok()) return reader.status();
  while (true) {
    table::Entry entry;
    const Result<bool> more = reader.value()->Next(&entry);
    if (!more.ok()) return more.status();
    if (!more.value()) return Status::Ok();
    entries->push_back(
        Owned{entry.key.ToString(), entry.value.ToString(), entry.seq, entry.expires_at_ms});
  }
}

inline Status Read(Slice flow, const FlowHeader& expected, Entries* entries) {
  io::FaultFileSystem fs;
  fs.PutRaw("/flow", flow);
  return ReadFile(&fs, "/flow", expected, entries);
}

inline std::string What(const Status& status) {
  for (const Detail& detail : status.details()) {
    if (detail.name == "what") return detail.text;
  }
  return "";
}

// --- flows by hand ---

inline std::string RawEntry(const Owned& entry) {
  std::string out;
  AppendLe<uint16_t>(&out, static_cast<uint16_t>(entry.key.size()));
  AppendLe<uint16_t>(&out, entry.expires_at_ms != 0 ? uint16_t{1} : uint16_t{0});
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(entry.value.size()));
  AppendLe<uint64_t>(&out, entry.seq);
  if (entry.expires_at_ms != 0) AppendLe<uint64_t>(&out, entry.expires_at_ms);
  return out + entry.key + entry.value;
}

struct HandChunk {
  std::string stored;
  uint32_t entries = 0;
  uint32_t raw_bytes = 0;
  uint32_t flags = 0;
  uint32_t number = 0;
  uint32_t magic = kChunkMagic;
};
inline HandChunk ChunkOf(const std::string& raw, uint32_t entries, uint32_t number = 0) {
  HandChunk chunk;
  chunk.stored = raw;
  chunk.entries = entries;
  chunk.raw_bytes = static_cast<uint32_t>(raw.size());
  chunk.number = number;
  return chunk;
}

// All checksums are right, whatever the rest is. `footer` gives counts; its CRC is filled in.
inline std::string HandFlow(const FlowHeader& header, const std::vector<HandChunk>& chunks,
                            FlowFooter footer) {
  std::string flow = EncodeFlowHeader(header);
  for (const HandChunk& chunk : chunks) {
    std::string head;
    AppendLe<uint32_t>(&head, chunk.magic);
    AppendLe<uint32_t>(&head, chunk.entries);
    AppendLe<uint32_t>(&head, chunk.raw_bytes);
    AppendLe<uint32_t>(&head, static_cast<uint32_t>(chunk.stored.size()));
    AppendLe<uint32_t>(&head, Crc32c(chunk.stored));
    AppendLe<uint32_t>(&head, chunk.number);
    AppendLe<uint32_t>(&head, chunk.flags);
    AppendLe<uint32_t>(&head, Crc32c(head));
    flow += head + chunk.stored;
  }
  footer.flow_crc ^= Crc32c(flow);
  return flow + EncodeFlowFooter(footer);
}

inline uint64_t KeyValueBytes(const Entries& entries) {
  uint64_t bytes = 0;
  for (const Owned& entry : entries) bytes += entry.key.size() + entry.value.size();
  return bytes;
}

// A small generator, the same on every machine.
class Seeded {
 public:
  explicit Seeded(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545F4914F6CDD1D;
  }
  uint64_t Below(uint64_t limit) { return (Next() >> 11) % limit; }
  std::string Bytes(size_t count) {
    std::string out(count, '\0');
    for (char& c : out) c = static_cast<char>(Next() >> 56);
    return out;
  }

 private:
  uint64_t state_;
};

}  // namespace gapless::snapshot::test
