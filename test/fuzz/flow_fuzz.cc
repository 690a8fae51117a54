// A flow as a hostile sender may make it: the verifier says the same however the bytes are cut,
// what it accepts can be read as entries in order that sum up as announced, and whatever it refuses
// has a typed error with an offset.
#include <algorithm>
#include <memory>

#include "base/coding.h"
#include "base/crc32c.h"
#include "fuzz.h"
#include "io/fault_file_system.h"
#include "snapshot/flow.h"
#include "snapshot/flow_format.h"
#include "snapshot/snapshot.h"

namespace gapless::fuzz {
namespace {

using namespace snapshot;  // NOLINT: one room is fuzzed here

constexpr uint8_t kRepair = 1;
constexpr uint8_t kLz4 = 2;

FlowHeader Expected(bool lz4) {
  FlowHeader header;
  header.flow = 1;
  header.flows = 3;
  header.compression = lz4 ? Compression::kLz4 : Compression::kNone;
  header.cluster.bytes.fill(0xA5);
  header.position = {{3, 1}, 1000, 4096, 0x9F3C0A5E11D27B60};
  header.clock = uint64_t{1700000000000} << 16;
  return header;
}

void SealUnit(char* at) { StoreU32(at + kChunkCrc, Crc32c(0, at, kChunkCrc)); }

// Makes every checksum right, as far as the lengths lead.
void Repair(std::string* flow) {
  if (flow->size() < kFlowHeaderBytes) return;
  StoreU32(flow->data() + kFlowHeaderCrc, Crc32c(0, flow->data(), kFlowHeaderCrc));
  size_t at = kFlowHeaderBytes;
  while (flow->size() - at >= kChunkHeaderBytes) {
    char* const unit = flow->data() + at;
    if (LoadU32(unit) == kFooterMagic) {
      StoreU32(unit + kFooterFlowCrc, Crc32c(0, flow->data(), at));
      return SealUnit(unit);
    }
    const size_t stored = LoadU32(unit + kChunkStoredBytes);
    const size_t rest = flow->size() - at - kChunkHeaderBytes;
    if (stored > rest) return SealUnit(unit);
    StoreU32(unit + kChunkStoredCrc, Crc32c(0, unit + kChunkHeaderBytes, stored));
    SealUnit(unit);
    at += kChunkHeaderBytes + stored;
  }
}

struct Verdict {
  Status status;
  bool complete = false;
  uint64_t verified = 0;
};

Verdict Verify(Slice flow, const FlowHeader& expected, size_t step) {
  FlowVerifier verifier(expected, "flow");
  Verdict verdict;
  while (!flow.empty() && verdict.status.ok()) {
    const size_t take = std::min(step, flow.size());
    const std::string piece(flow.data(), take);
    flow.RemovePrefix(take);
    verdict.status = verifier.Feed(piece);
  }
  verdict.complete = verdict.status.ok() && verifier.Complete();
  verdict.verified = verifier.verified_bytes();
  return verdict;
}

void ReadWhole(Slice flow, const FlowHeader& expected, bool complete) {
  io::FaultFileSystem fs;
  fs.PutRaw("/flow", flow);
  FlowVerifier verifier(expected, "flow");
  if (complete) FUZZ_CHECK(verifier.Feed(flow).ok());
  Result<std::unique_ptr<FlowReader>> reader = OpenFlow(&fs, "/flow", expected);
  FUZZ_CHECK(reader.ok() || !complete);
  if (!reader.ok()) return;
  std::string last;
  uint64_t entries = 0;
  uint64_t bytes = 0;
  while (true) {
    table::Entry entry;
    const Result<bool> more = reader.value()->Next(&entry);
    FUZZ_CHECK(more.ok() || !complete);
    if (!more.ok() || !more.value()) break;
    const std::string key = entry.key.ToString();
    FUZZ_CHECK(entries == 0 || last < key);
    FUZZ_CHECK(entry.seq != 0 && entry.seq <= expected.position.seq);
    last = key;
    bytes += key.size() + entry.value.ToString().size();
    ++entries;
  }
  if (!complete) return;
  const FlowSummary summary = verifier.summary();
  FUZZ_CHECK(summary.entries == entries && summary.bytes == bytes);
  FUZZ_CHECK(summary.file_bytes == flow.size() && summary.crc == Crc32c(flow));
  FUZZ_CHECK(VerifyFlowFile(&fs, "/flow", expected, summary).ok());
}

void Run(Slice input) {
  const uint8_t mode = TakeMode(&input);
  const FlowHeader expected = Expected((mode & kLz4) != 0);
  std::string repaired;
  if ((mode & kRepair) != 0) {
    repaired = input.ToString();
    Repair(&repaired);
    input = repaired;
  }
  const Verdict whole = Verify(input, expected, SIZE_MAX);
  const Verdict parts = Verify(input, expected, size_t{1} + mode / 4);
  FUZZ_CHECK(whole.status.ok() == parts.status.ok() && whole.complete == parts.complete);
  FUZZ_CHECK(whole.verified == parts.verified && whole.verified <= input.size());
  if (!whole.status.ok()) {
    FUZZ_CHECK(whole.status.Is(Code::kCorrupt) || whole.status.Is(Code::kFormatUnsupported));
    FUZZ_CHECK(whole.status.code() == parts.status.code());
    FUZZ_CHECK(whole.status.offset() == parts.status.offset());
  }
  ReadWhole(input, expected, whole.complete);
}

class Source final : public EntrySource {
 public:
  explicit Source(int count) : count_(count) {}
  bool Next(table::Entry* entry, Status*) override {
    if (next_ == count_) return false;
    key_ = "key-" + std::to_string(100 + next_);
    value_ = std::string(static_cast<size_t>(next_) * 7, static_cast<char>('a' + next_));
    entry->key = key_;
    entry->value = value_;
    entry->seq = static_cast<uint64_t>(next_) + 1;
    entry->expires_at_ms = next_ % 3 == 0 ? 1800000000000 : 0;
    ++next_;
    return true;
  }

 private:
  const int count_;
  int next_ = 0;
  std::string key_;
  std::string value_;
};

std::string Flow(bool lz4, int entries) {
  FlowWriter writer(Expected(lz4), std::make_unique<Source>(entries));
  std::string flow;
  while (true) {
    const Result<bool> more = writer.NextPiece(&flow);
    if (!more.ok() || !more.value()) break;
  }
  return std::string(1, static_cast<char>(kRepair | (lz4 ? kLz4 : 0) | 64)) + flow;
}

// Two chunks, cut inside an entry: no writer makes chunks so small.
std::string TwoChunks() {
  const std::string one = Flow(false, 3).substr(1);
  const size_t stored = LoadU32(one.data() + kFlowHeaderBytes + kChunkStoredBytes);
  const std::string raw = one.substr(kFlowHeaderBytes + kChunkHeaderBytes, stored);
  const size_t cut = 30;
  std::string flow = std::string(1, static_cast<char>(kRepair)) + one.substr(0, kFlowHeaderBytes);
  for (uint32_t number = 0; number < 2; ++number) {
    const std::string part = number == 0 ? raw.substr(0, cut) : raw.substr(cut);
    AppendLe<uint32_t>(&flow, kChunkMagic);
    AppendLe<uint32_t>(&flow, number == 0 ? 2u : 1u);
    AppendLe<uint32_t>(&flow, static_cast<uint32_t>(part.size()));
    AppendLe<uint32_t>(&flow, static_cast<uint32_t>(part.size()));
    AppendLe<uint32_t>(&flow, 0);
    AppendLe<uint32_t>(&flow, number);
    AppendLe<uint32_t>(&flow, number == 0 ? kChunkEndsInside : kChunkBeginsInside);
    AppendLe<uint32_t>(&flow, 0);
    flow += part;
  }
  std::string footer = one.substr(one.size() - kFooterBytes);
  StoreU32(footer.data() + kFooterChunks, 2);
  return flow + footer;
}

std::vector<std::string> Seeds() {
  return {Flow(false, 0), Flow(false, 5), Flow(true, 40), TwoChunks()};
}

const Registration kTarget({"flow", Run, Seeds});

}  // namespace
}  // namespace gapless::fuzz
