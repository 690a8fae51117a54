// Flows round: what the writer gives, the verifier accepts and the reader gives back; golden bytes;
// what the writer refuses.
#include "base/hex.h"
#include "check.h"
#include "snapshot/flows.h"

namespace gapless::snapshot::test {
namespace {

// Writes, verifies in pieces of each step, reads back.
void RoundTrip(const FlowHeader& header, const Entries& entries, const std::vector<size_t>& steps) {
  FlowSummary summary;
  const std::string flow = WriteFlow(header, entries, &summary);
  REQUIRE_EQ(summary.entries, entries.size());
  REQUIRE_EQ(summary.bytes, KeyValueBytes(entries));
  REQUIRE_EQ(summary.file_bytes, flow.size());
  REQUIRE_EQ(summary.crc, Crc32c(flow));
  REQUIRE_EQ(summary.flow, header.flow);
  for (const size_t step : steps) {
    bool complete = false;
    FlowSummary verified;
    REQUIRE_OK(Verify(flow, header, step, &complete, &verified));
    REQUIRE(complete);
    REQUIRE(verified == summary);
  }
  Entries read;
  REQUIRE_OK(Read(flow, header, &read));
  REQUIRE(read == entries);
}

Entries RandomEntries(uint64_t seed, size_t count, size_t value_max) {
  Seeded random(seed);
  Entries entries;
  for (size_t i = 0; i < count; ++i) {
    Owned entry;
    entry.key = std::to_string(100000 + i) + random.Bytes(random.Below(40));
    const size_t bytes = random.Below(value_max);
    entry.value = random.Below(2) == 0 ? random.Bytes(bytes) : std::string(bytes, 'v');
    entry.seq = 1 + random.Below(42);
    entry.expires_at_ms = random.Below(3) == 0 ? 1 + random.Next() / 2 : 0;
    entries.push_back(std::move(entry));
  }
  return entries;
}

TEST("an empty flow is a header and a footer") {
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    const FlowHeader header = SampleHeader(compression);
    CHECK_EQ(WriteFlow(header, {}).size(), kFlowHeaderBytes + kFooterBytes);
    RoundTrip(header, {}, {1, 127, 128, 129, 1000});
  }
}

TEST("empty keys and empty values come back") {
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    RoundTrip(SampleHeader(compression), {{"", "", 1, 0}}, {1, 5, 1000});
    RoundTrip(
        SampleHeader(compression),
        {{"", "", 1, 0}, {std::string(1, '\0'), "", 2, 77}, {"a", "", 3, 0}, {"b", "x", 4, 9}},
        {1, 5, 1000});
  }
}

TEST("an entry cut at any byte by the end of a chunk comes back") {
  for (size_t left = 0; left <= 64 && !check::Failed(); ++left) {
    // `left` bytes remain in the first chunk when the second entry begins.
    Owned filler{"a", std::string(kChunkRawBytesMax - kEntryHeadBytes - 1 - left, 'f'), 5, 0};
    const Entries entries = {filler, {"key-2", "value-two", 6, 123456}, {"key-3", "", 7, 0}};
    RoundTrip(SampleHeader(Compression::kNone), entries, {100000});
    if (left % 9 == 0) RoundTrip(SampleHeader(Compression::kLz4), entries, {1 << 20});
  }
}

TEST("a value of 3 MiB goes over several chunks") {
  Seeded random(3);
  const Entries entries = {{"a", "1", 1, 0}, {"b", random.Bytes(3 << 20), 2, 5}, {"c", "3", 3, 0}};
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    RoundTrip(SampleHeader(compression), entries, {4096, 333333, 8 << 20});
  }
}

TEST("the longest key and value pass, one byte more is refused") {
  const FlowHeader header = SampleHeader(Compression::kLz4);
  const Entries largest = {
      {std::string(kEntryKeyBytesMax, 'k'), std::string(kEntryValueBytesMax, 'v'), 1, 0}};
  RoundTrip(header, largest, {1 << 20});
  std::string out;
  for (const auto& [entry, code] :
       {std::pair{Owned{std::string(kEntryKeyBytesMax + 1, 'k'), "", 1, 0}, Code::kKeyTooLarge},
        std::pair{Owned{"k", std::string(kEntryValueBytesMax + 1, 'v'), 1, 0},
                  Code::kValueTooLarge}}) {
    const auto writer = NewWriter(header, {entry});
    REQUIRE_OK(writer->NextPiece(&out));
    const size_t before = out.size();
    CHECK_EQ(CodeText(writer->NextPiece(&out).status().code()), std::string(CodeText(code)));
    CHECK_EQ(out.size(), before);
  }
}

TEST("keys that do not rise are not written") {
  for (const Entries& entries :
       {Entries{{"b", "", 1, 0}, {"a", "", 2, 0}}, Entries{{"a", "", 1, 0}, {"a", "", 2, 0}}}) {
    const auto writer = NewWriter(SampleHeader(Compression::kNone), entries);
    std::string out;
    REQUIRE_OK(writer->NextPiece(&out));
    const Result<bool> piece = writer->NextPiece(&out);
    CHECK(piece.status().Is(Code::kCorrupt));
    CHECK_EQ(What(piece.status()), "order");
  }
}

TEST("an error of the source ends the flow and stays") {
  const Status lost = Status::Error(Code::kViewExpired, "pin was given up");
  FlowWriter writer(SampleHeader(Compression::kNone),
                    std::make_unique<VectorSource>(Entries{{"a", "1", 1, 0}}, lost));
  std::string out;
  REQUIRE_OK(writer.NextPiece(&out));
  CHECK(writer.NextPiece(&out).status().Is(Code::kViewExpired));
  CHECK(writer.NextPiece(&out).status().Is(Code::kViewExpired));
  CHECK_EQ(out.size(), kFlowHeaderBytes);
}

TEST("random entries come back") {
  for (uint64_t seed = 1; seed <= 6 && !check::Failed(); ++seed) {
    for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
      RoundTrip(SampleHeader(compression), RandomEntries(seed, 400, 20000), {777, 1 << 16});
    }
  }
}

TEST("a flow cut into chunks of any length is read the same") {
  const Entries entries = {
      {"", "", 1, 0}, {"a", "0123456789", 2, 99}, {"ab", "", 3, 0}, {"b", "xyz", 4, 0}};
  std::string raw;
  std::vector<size_t> begins;
  for (const Owned& entry : entries) {
    begins.push_back(raw.size());
    raw += RawEntry(entry);
  }
  const FlowHeader header = SampleHeader(Compression::kNone);
  for (size_t length = 1; length <= raw.size(); ++length) {
    std::vector<HandChunk> chunks;
    for (size_t at = 0; at < raw.size(); at += length) {
      const size_t end = std::min(at + length, raw.size());
      const auto is_begin = [&](size_t place) {
        return place == raw.size() || std::count(begins.begin(), begins.end(), place) != 0;
      };
      HandChunk chunk = ChunkOf(raw.substr(at, end - at), 0, static_cast<uint32_t>(chunks.size()));
      for (const size_t begin : begins) chunk.entries += begin >= at && begin < end ? 1u : 0u;
      chunk.flags =
          (is_begin(at) ? 0 : kChunkBeginsInside) | (is_begin(end) ? 0 : kChunkEndsInside);
      chunks.push_back(chunk);
    }
    FlowFooter footer;
    footer.chunks = static_cast<uint32_t>(chunks.size());
    footer.entries = entries.size();
    footer.bytes = KeyValueBytes(entries);
    const std::string flow = HandFlow(header, chunks, footer);
    bool complete = false;
    CHECK_OK(Verify(flow, header, 13, &complete));
    CHECK(complete);
    Entries read;
    CHECK_OK(Read(flow, header, &read));
    CHECK(read == entries);
  }
}

TEST("verified bytes end where a piece ends") {
  const FlowHeader header = SampleHeader(Compression::kNone);
  const std::string flow = WriteFlow(header, {{"a", "1", 1, 0}});
  FlowVerifier verifier(header, "peer/flow");
  for (size_t at = 0; at < flow.size(); ++at) {
    const uint64_t chunk_end = flow.size() - kFooterBytes;
    const uint64_t expected = at < kFlowHeaderBytes ? 0
                              : at < chunk_end      ? kFlowHeaderBytes
                                                    : chunk_end;
    REQUIRE_EQ(verifier.verified_bytes(), expected);
    REQUIRE(!verifier.Complete());
    REQUIRE_OK(verifier.Feed(Slice(flow).Sub(at, 1)));
  }
  CHECK(verifier.Complete());
  CHECK_EQ(verifier.verified_bytes(), flow.size());
  const Status more = verifier.Feed("x");
  CHECK(more.Is(Code::kCorrupt));
  CHECK_EQ(more.offset(), flow.size());
  CHECK(!verifier.Complete());
}

TEST("a tiny flow has the bytes it always had") {
  const std::string flow =
      WriteFlow(SampleHeader(Compression::kNone), {{"a", "1", 7, 0}, {"b", "", 8, 513}});
  CHECK_EQ(HexEncode(flow),
           "47504c53464c5731010000000100000003000000000000000000000000000000a0a1a2a3a4a5a6a7"
           "a8a9aaabacadaeaf03000000010000002a000000000000000010000000000000607bd2115e0a3c9f"
           "00000068e5cf8b010000000000000000000000000000000000000000000000000000000000000000"
           "000000005b89110a43484e4b020000002b0000002b00000044bd84a4000000000000000070fbb987"
           "01000000010000000700000000000000613101000100000000000800000000000000010200000000"
           "00006246454e4401000000020000000000000003000000000000004a065a78011f522747504c5345"
           "4e4431");
  const std::string packed =
      WriteFlow(SampleHeader(Compression::kLz4), {{"a", std::string(300, 'a'), 7, 0}});
  CHECK_EQ(HexEncode(packed),
           "47504c53464c5731010000000100000003000000010000000000000000000000a0a1a2a3a4a5a6a7"
           "a8a9aaabacadaeaf03000000010000002a000000000000000010000000000000607bd2115e0a3c9f"
           "00000068e5cf8b010000000000000000000000000000000000000000000000000000000000000000"
           "000000004c0aca4d43484e4b010000003d01000019000000c8df91ff00000000000000007ae853e6"
           "a2010000002c010000070001001f610100ff1550616161616146454e440100000001000000000000"
           "002d010000000000003d77c955bed8a3e247504c53454e4431");
}

}  // namespace
}  // namespace gapless::snapshot::test
