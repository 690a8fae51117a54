// Damage: every byte flipped, every length, and contents that are wrong under right checksums. All
// of it ends in a typed error with file and offset, in the verifier, in the file check and in the
// reader.
#include "base/lz4.h"
#include "check.h"
#include "snapshot/flows.h"
#include "snapshot/snapshots.h"

namespace gapless::snapshot::test {
namespace {

const Entries& SmallEntries() {
  static const Entries entries = {
      {"a", std::string(60, 'x'), 1, 0}, {"b", "", 2, 12345}, {"c", std::string(70, 'y'), 3, 0}};
  return entries;
}

// The three readings of the bytes as the flow that `summary` names; each must fail by itself.
void CheckRefused(Slice flow, const FlowHeader& header, const FlowSummary& summary,
                  const std::string& where) {
  const auto is_typed = [&](const Status& status, const std::string& file, const char* reading) {
    const bool typed = (status.Is(Code::kCorrupt) || status.Is(Code::kFormatUnsupported)) &&
                       status.file() == file && status.offset() >= 0 &&
                       std::cmp_less_equal(status.offset(), flow.size());
    if (!typed) check::Fail(__FILE__, __LINE__, where + ": " + reading + ": " + status.ToString());
  };
  for (const size_t step : {size_t{11}, flow.size() + 1}) {
    bool complete = false;
    const Status verified = Verify(flow, header, step, &complete);
    CHECK(!complete);
    // A flow that is merely cut is not complete and has no damage yet.
    if (flow.size() >= summary.file_bytes) is_typed(verified, "peer/flow", "verifier");
  }
  io::FaultFileSystem fs;
  fs.PutRaw("/flow", flow);
  is_typed(VerifyFlowFile(&fs, "/flow", header, summary), "/flow", "file check");
  Entries read;
  is_typed(ReadFile(&fs, "/flow", header, &read), "/flow", "reader");
}

TEST("every flipped byte of a flow is found") {
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    const FlowHeader header = SampleHeader(compression);
    FlowSummary summary;
    const std::string flow = WriteFlow(header, SmallEntries(), &summary);
    for (size_t at = 0; at < flow.size() && !check::Failed(); ++at) {
      for (const int mask : {0x01, 0x80, 0xFF}) {
        std::string bad = flow;
        bad[at] = static_cast<char>(bad[at] ^ mask);
        CheckRefused(bad, header, summary, "byte " + std::to_string(at));
      }
    }
  }
}

TEST("every shorter length of a flow is found, and a longer one") {
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    const FlowHeader header = SampleHeader(compression);
    FlowSummary summary;
    const std::string flow = WriteFlow(header, SmallEntries(), &summary);
    for (size_t size = 0; size < flow.size() && !check::Failed(); ++size) {
      CheckRefused(Slice(flow).Sub(0, size), header, summary, "length " + std::to_string(size));
    }
    CheckRefused(flow + "x", header, summary, "one byte more");
    CheckRefused(flow + flow, header, summary, "twice");
  }
}

TEST("every flipped byte and every length of a token is found") {
  const std::string token = EncodeToken(SampleToken(Compression::kLz4, 2));
  REQUIRE_OK(DecodeToken(token, "s/SNAPSHOT"));
  const auto refused = [&](Slice bytes) {
    const Status status = DecodeToken(bytes, "s/SNAPSHOT").status();
    CHECK(status.Is(Code::kCorrupt));
    CHECK_EQ(status.file(), "s/SNAPSHOT");
    CHECK_GE(status.offset(), 0);
    CHECK_LE(status.offset(), static_cast<int64_t>(bytes.size()));
  };
  for (size_t at = 0; at < token.size() && !check::Failed(); ++at) {
    for (const int mask : {0x01, 0x80, 0xFF}) {
      std::string bad = token;
      bad[at] = static_cast<char>(bad[at] ^ mask);
      refused(bad);
    }
  }
  for (size_t size = 0; size < token.size(); ++size) refused(Slice(token).Sub(0, size));
  refused(token + "x");
  refused(token + token);
}

// `change` is made to a token's bytes, then its checksum is made right again.
template <typename Change>
Status Resealed(Change change) {
  std::string token = EncodeToken(SampleToken(Compression::kNone, 2));
  change(token.data());
  const size_t covered = token.size() - kTokenCrcBytes;
  StoreU32(token.data() + covered, Crc32c(0, token.data(), covered));
  return DecodeToken(token, "s/SNAPSHOT").status();
}

TEST("a token of another version or with forbidden counts is refused under a right checksum") {
  CHECK_OK(Resealed([](char*) {}));
  CHECK(Resealed([](char* to) { StoreU32(to + kTokenVersionAt, 2); }).Is(Code::kFormatUnsupported));
  CHECK(Resealed([](char* to) { StoreU32(to + kTokenVersionAt, 0); }).Is(Code::kFormatUnsupported));
  CHECK(
      Resealed([](char* to) { StoreU32(to + kTokenCompression, 2); }).Is(Code::kFormatUnsupported));
  for (const uint32_t flows : {0u, 1u, 3u, 64u, 65u, 0xFFFFFFFFu}) {
    const Status status = Resealed([&](char* to) { StoreU32(to + kTokenFlows, flows); });
    CHECK(status.Is(Code::kCorrupt));
  }
  CHECK(Resealed([](char* to) { StoreU32(to + kTokenHeadBytes + 28, 1); }).Is(Code::kCorrupt));
  CHECK(Resealed([](char* to) {
          to[kTokenHeadBytes + 2 * kTokenFlowBytes + 9] ^= 1;
        }).Is(Code::kCorrupt));
}

// The status of a flow whose header was changed, with its checksum right again.
template <typename Change>
Status WithHeader(Change change) {
  std::string header = EncodeFlowHeader(SampleHeader(Compression::kNone));
  change(header.data());
  StoreU32(header.data() + kFlowHeaderCrc, Crc32c(0, header.data(), kFlowHeaderCrc));
  bool complete = false;
  return Verify(header, SampleHeader(Compression::kNone), header.size(), &complete);
}

TEST("a flow of another version, with unknown bits or of something else is refused") {
  CHECK_OK(WithHeader([](char*) {}));
  for (const size_t at :
       {kFlowHeaderVersion, kFlowHeaderFeatures, kFlowHeaderReserved, kFlowHeaderCrc - 1}) {
    const Status status = WithHeader([&](char* to) { to[at] = 2; });
    CHECK(status.Is(Code::kFormatUnsupported));
    CHECK_EQ(status.file(), "peer/flow");
    CHECK_GE(status.offset(), 0);
  }
  CHECK(WithHeader([](char* to) { to[kFlowHeaderCompression] = 2; }).Is(Code::kFormatUnsupported));
  const Status magic = WithHeader([](char* to) { to[0] = 'X'; });
  CHECK(magic.Is(Code::kCorrupt));
  CHECK_EQ(What(magic), "magic");
  for (const size_t at : {kFlowHeaderFlow, kFlowHeaderFlows, kFlowHeaderCompression,
                          kFlowHeaderClusterId, kFlowHeaderPosition, kFlowHeaderClock}) {
    const Status status = WithHeader([&](char* to) { to[at] ^= 1; });
    CHECK(status.Is(Code::kCorrupt));
    CHECK_EQ(What(status), "token");
    CHECK_EQ(status.offset(), at);
  }
}

// --- wrong contents under right checksums ---

struct Forged {
  std::vector<HandChunk> chunks;
  FlowFooter footer;
};

Forged ForgedOf(const Entries& entries) {
  std::string raw;
  for (const Owned& entry : entries) raw += RawEntry(entry);
  Forged forged;
  forged.chunks.push_back(ChunkOf(raw, static_cast<uint32_t>(entries.size())));
  forged.footer.chunks = 1;
  forged.footer.entries = entries.size();
  forged.footer.bytes = KeyValueBytes(entries);
  return forged;
}

// Verifier and reader must agree on code, word and offset, which is returned.
int64_t CheckForged(const Forged& forged, Code code, const std::string& what,
                    Compression compression = Compression::kNone) {
  const FlowHeader header = SampleHeader(compression);
  const std::string flow = HandFlow(header, forged.chunks, forged.footer);
  bool complete = false;
  const Status verified = Verify(flow, header, 17, &complete);
  CHECK(!complete);
  CHECK_EQ(CodeText(verified.code()), std::string(CodeText(code)));
  CHECK_EQ(What(verified), what);
  CHECK_EQ(verified.file(), "peer/flow");
  CHECK_GE(verified.offset(), 0);
  Entries read;
  const Status reading = Read(flow, header, &read);
  CHECK_EQ(CodeText(reading.code()), std::string(CodeText(code)));
  CHECK_EQ(What(reading), what);
  CHECK_EQ(reading.offset(), verified.offset());
  return verified.offset();
}

template <typename Change>
Forged Changed(Change change) {
  Forged forged = ForgedOf(SmallEntries());
  change(&forged);
  return forged;
}

TEST("a flow put together by hand is right before it is forged") {
  const FlowHeader header = SampleHeader(Compression::kNone);
  const Forged forged = ForgedOf(SmallEntries());
  CHECK_EQ(HandFlow(header, forged.chunks, forged.footer), WriteFlow(header, SmallEntries()));
}

TEST("keys out of order and keys given twice are damage") {
  CheckForged(ForgedOf({{"b", "1", 1, 0}, {"a", "2", 2, 0}}), Code::kCorrupt, "order");
  CheckForged(ForgedOf({{"a", "1", 1, 0}, {"a", "2", 2, 0}}), Code::kCorrupt, "order");
  CheckForged(ForgedOf({{"", "1", 1, 0}, {"", "2", 2, 0}}), Code::kCorrupt, "order");
  CheckForged(ForgedOf({{"ab", "1", 1, 0}, {"a", "2", 2, 0}}), Code::kCorrupt, "order");
}

TEST("an entry without a sequence, or behind the flow's position, is damage") {
  const uint64_t last = SampleHeader(Compression::kNone).position.seq;
  CheckForged(ForgedOf({{"a", "1", 0, 0}}), Code::kCorrupt, "order");
  CheckForged(ForgedOf({{"a", "1", last + 1, 0}}), Code::kCorrupt, "order");
  CheckForged(ForgedOf({{"a", "1", last, 0}, {"b", "2", UINT64_MAX, 0}}), Code::kCorrupt, "order");
}

TEST("lengths above their limits are damage where they stand") {
  CheckForged(ForgedOf({{std::string(kEntryKeyBytesMax + 1, 'k'), "", 1, 0}}), Code::kCorrupt,
              "format");
  for (const size_t bytes : {kEntryValueBytesMax + 1, size_t{0xFFFFFFFF}}) {
    // Everything else is right for a value that goes on in a chunk which never comes.
    const Forged forged = Changed([&](Forged* change) {
      StoreU32(change->chunks[0].stored.data() + kEntryValueBytes, static_cast<uint32_t>(bytes));
      change->chunks[0].entries = 1;
      change->chunks[0].flags = kChunkEndsInside;
    });
    CHECK_EQ(CheckForged(forged, Code::kCorrupt, "format"), kFlowHeaderBytes);
  }
}

TEST("a chunk of more than 1 MiB is damage, however it is stored") {
  const Forged plain = ForgedOf({{"a", std::string(kChunkRawBytesMax, 'x'), 1, 0}});
  CheckForged(plain, Code::kCorrupt, "format");
  Forged packed = plain;
  std::string block(plain.chunks[0].stored.size(), '\0');
  Lz4Compressor compressor;
  block.resize(compressor.Compress(plain.chunks[0].stored, block.data(), block.size()));
  packed.chunks[0].stored = block;
  CHECK_EQ(CheckForged(packed, Code::kCorrupt, "format", Compression::kLz4),
           kFlowHeaderBytes + kChunkRawBytes);
}

TEST("a damaged header is refused by its own checksum, before anything in it is used") {
  const FlowHeader header = SampleHeader(Compression::kNone);
  const std::string flow = WriteFlow(header, SmallEntries());
  for (size_t at = kMagicBytes; at < kFlowHeaderBytes + kChunkHeaderBytes; ++at) {
    std::string bad = flow;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    bool complete = false;
    const Status status = Verify(bad, header, flow.size(), &complete);
    CHECK_EQ(What(status), "header_crc");
    CHECK_EQ(status.offset(), at < kFlowHeaderBytes ? 0 : kFlowHeaderBytes);
  }
}

TEST("unknown flags and an expiry of zero in an entry are refused") {
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].stored[kEntryFlags] = 2; }),
              Code::kFormatUnsupported, "");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].stored[kEntryZero] = 1; }),
              Code::kFormatUnsupported, "");
  std::string zero(kEntryHeadBytes + kEntryExpiryBytes, '\0');
  zero[kEntryFlags] = kEntryFlagExpiry;
  Forged forged;
  forged.chunks.push_back(ChunkOf(zero, 1));
  forged.footer = FlowFooter{1, 1, 0, 0};
  CheckForged(forged, Code::kCorrupt, "format");
}

TEST("chunk headers that lie are damage") {
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].magic = 1; }), Code::kCorrupt,
              "magic");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].flags = 4; }),
              Code::kFormatUnsupported, "");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].flags = kChunkBeginsInside; }),
              Code::kCorrupt, "format");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].flags = kChunkEndsInside; }),
              Code::kCorrupt, "format");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].number = 1; }), Code::kCorrupt,
              "order");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].entries = 2; }), Code::kCorrupt,
              "format");
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].entries = 4; }), Code::kCorrupt,
              "format");
  for (const uint32_t raw_bytes : {0u, 1u, 1u << 20, (1u << 20) + 1, 0xFFFFFFFFu}) {
    CheckForged(Changed([&](Forged* forged) { forged->chunks[0].raw_bytes = raw_bytes; }),
                Code::kCorrupt, "format");
  }
  CheckForged(Changed([](Forged* forged) { forged->chunks[0].stored.clear(); }), Code::kCorrupt,
              "format");
}

TEST("a flow that ends inside an entry is damage") {
  CheckForged(Changed([](Forged* forged) {
                forged->chunks[0].stored.pop_back();
                forged->chunks[0].raw_bytes -= 1;
                forged->chunks[0].flags = kChunkEndsInside;
              }),
              Code::kCorrupt, "format");
}

TEST("footers that lie are damage") {
  CheckForged(Changed([](Forged* forged) { forged->footer.chunks = 2; }), Code::kCorrupt, "footer");
  CheckForged(Changed([](Forged* forged) { forged->footer.entries = 2; }), Code::kCorrupt,
              "footer");
  CheckForged(Changed([](Forged* forged) { forged->footer.bytes += 1; }), Code::kCorrupt, "footer");
  CheckForged(Changed([](Forged* forged) { forged->footer.flow_crc = 1; }), Code::kCorrupt,
              "footer");
}

TEST("a block that does not decompress to its raw length is damage") {
  const Forged plain = ForgedOf({{"a", std::string(500, 'x'), 1, 0}});
  std::string block(plain.chunks[0].stored.size(), '\0');
  Lz4Compressor compressor;
  block.resize(compressor.Compress(plain.chunks[0].stored, block.data(), block.size()));
  REQUIRE(!block.empty());
  const auto with = [&](const std::string& stored, uint32_t more) {
    Forged forged = plain;
    forged.chunks[0].stored = stored;
    forged.chunks[0].raw_bytes += more;
    return forged;
  };
  const FlowHeader header = SampleHeader(Compression::kLz4);
  bool complete = false;
  CHECK_OK(Verify(HandFlow(header, with(block, 0).chunks, plain.footer), header, 9, &complete));
  CHECK(complete);
  CheckForged(with(block, 1), Code::kCorrupt, "format", Compression::kLz4);
  CheckForged(with(block.substr(1), 0), Code::kCorrupt, "format", Compression::kLz4);
  CheckForged(with(std::string(20, '\xFF'), 0), Code::kCorrupt, "format", Compression::kLz4);
  // The same block in a flow that says it is not compressed.
  CheckForged(with(block, 0), Code::kCorrupt, "format", Compression::kNone);
}

TEST("random forged streams end in an error or in rising keys, never outside a buffer") {
  Seeded random(23);
  size_t accepted = 0;
  for (int round = 0; round < 4000 && !check::Failed(); ++round) {
    Forged forged = ForgedOf(SmallEntries());
    std::string* const raw = &forged.chunks[0].stored;
    for (uint64_t i = 1 + random.Below(3); i > 0; --i) {
      (*raw)[random.Below(raw->size())] = static_cast<char>(random.Below(6));
    }
    const FlowHeader header = SampleHeader(Compression::kNone);
    const std::string flow = HandFlow(header, forged.chunks, forged.footer);
    bool complete = false;
    const Status verified = Verify(flow, header, 1 + random.Below(200), &complete);
    Entries read;
    const Status reading = Read(flow, header, &read);
    CHECK_EQ(verified.ok(), reading.ok());
    accepted += reading.ok() ? 1u : 0u;
    for (size_t i = 1; i < read.size(); ++i) CHECK_LT(read[i - 1].key, read[i].key);
  }
  CHECK_GT(accepted, 0u);
}

}  // namespace
}  // namespace gapless::snapshot::test
