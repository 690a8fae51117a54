// Tokens and snapshot directories: round trip, golden bytes, verification order and results,
// writing flow files.
#include "base/hex.h"
#include "check.h"
#include "io/file_names.h"
#include "snapshot/flows.h"
#include "snapshot/snapshots.h"

namespace gapless::snapshot::test {
namespace {

TEST("a token comes back whole") {
  io::FaultFileSystem fs;
  const Token token = WriteSnapshot(&fs, "/s", Compression::kLz4);
  const Result<Token> read = ReadToken(&fs, "/s");
  REQUIRE_OK(read);
  CHECK(read.value().cluster == token.cluster);
  CHECK_EQ(read.value().created_ms, token.created_ms);
  CHECK(read.value().compression == Compression::kLz4);
  CHECK(read.value().flows == token.flows);
  CHECK(read.value().meta == token.meta);
  const FlowHeader header = ExpectedHeader(read.value(), 1);
  CHECK_EQ(header.flow, 1u);
  CHECK_EQ(header.flows, 2u);
  CHECK(header.cluster == token.cluster);
  CHECK(header.position == token.meta.position);
  CHECK_EQ(header.clock, token.meta.clock);
}

TEST("a token has the bytes it always had") {
  Token token = SampleToken(Compression::kLz4, 1);
  token.flows[0] = FlowSummary{0, 2, 3, 168, 0x01020304};
  CHECK_EQ(HexEncode(EncodeToken(token)),
           "47504c53534e50310100000036010000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf7b68e5cf8b010000"
           "010000000100000002000000000000000300000000000000a8000000000000000403020100000000"
           "01000000e2000000000000000000000000000068e5cf8b0103000000010000002a00000000000000"
           "0010000000000000607bd2115e0a3c9f000000000000000001000000030000000100000000000000"
           "00000000000000000000000000000000000000000000000000000000887766554433221100000000"
           "0000000000000000000000090068e5cf8b0100000100000000000000010000000300000001000000"
           "2800000000000000a00f0000000000000500000000000000040073696e6b01000000010000000000"
           "000000000000000000008000000000000000000000005b44d1bb380f29f5");
}

TEST("a whole snapshot has no damage, and files that are not named do not count") {
  io::FaultFileSystem fs;
  const Token token = WriteSnapshot(&fs, "/s", Compression::kNone);
  fs.PutRaw("/s/flow-00002", "surplus");
  fs.PutRaw("/s/notes.txt", "surplus");
  const uint64_t before = fs.operations();
  uint64_t files = 0;
  uint64_t bytes = 0;
  const auto damage = VerifySnapshot(&fs, "/s", &files, &bytes);
  REQUIRE_OK(damage);
  CHECK(damage.value().empty());
  CHECK_EQ(files, 3u);
  CHECK_EQ(bytes, fs.ReadRaw("/s/SNAPSHOT").size() + token.flows[0].file_bytes +
                      token.flows[1].file_bytes);
  CHECK_EQ(fs.operations(), before);
}

TEST("a directory without a token is no snapshot") {
  io::FaultFileSystem fs;
  const Token token = WriteSnapshot(&fs, "/s", Compression::kNone);
  REQUIRE_OK(fs.Remove("/s/SNAPSHOT"));
  CHECK(ReadToken(&fs, "/s").status().Is(Code::kNotAStore));
  uint64_t files = 0;
  uint64_t bytes = 0;
  CHECK(VerifySnapshot(&fs, "/s", &files, &bytes).status().Is(Code::kNotAStore));
}

// Applies `damage` to a fresh snapshot and returns what verification finds.
template <typename Damage>
std::vector<log::Damage> After(Damage damage) {
  io::FaultFileSystem fs;
  WriteSnapshot(&fs, "/s", Compression::kNone);
  damage(&fs);
  uint64_t files = 0;
  uint64_t bytes = 0;
  const auto found = VerifySnapshot(&fs, "/s", &files, &bytes);
  CHECK_OK(found);
  return found.ok() ? found.value() : std::vector<log::Damage>{};
}

void CheckDamage(const std::vector<log::Damage>& found, const std::string& file, uint64_t offset,
                 const std::string& what) {
  REQUIRE_EQ(found.size(), 1u);
  CHECK_EQ(found[0].kind, "snapshot");
  CHECK_EQ(found[0].file, file);
  CHECK_EQ(found[0].offset, offset);
  CHECK_EQ(found[0].what, what);
}

TEST("damage of a directory is found with file, offset and kind") {
  CheckDamage(After([](io::FaultFileSystem* fs) { CHECK_OK(fs->Remove("/s/flow-00001")); }),
              "/s/flow-00001", 0, "missing");
  CheckDamage(After([](io::FaultFileSystem* fs) { fs->TruncateRaw("/s/flow-00001", 3); }),
              "/s/flow-00001", 3, "short");
  CheckDamage(After([](io::FaultFileSystem* fs) { fs->PutRaw("/s/flow-00001", ""); }),
              "/s/flow-00001", 0, "short");
  CheckDamage(After([](io::FaultFileSystem* fs) { fs->PutRaw("/s/SNAPSHOT", "abc"); }),
              "/s/SNAPSHOT", 3, "short");
  CheckDamage(After([](io::FaultFileSystem* fs) { fs->FlipBits("/s/SNAPSHOT", 60, 1); }),
              "/s/SNAPSHOT", 0, "body_crc");
  const uint64_t size = [] {
    io::FaultFileSystem fs;
    return WriteSnapshot(&fs, "/s", Compression::kNone).flows[0].file_bytes;
  }();
  CheckDamage(After([&](io::FaultFileSystem* fs) {
                fs->PutRaw("/s/flow-00000", fs->ReadRaw("/s/flow-00000") + "x");
              }),
              "/s/flow-00000", size, "token");
  CheckDamage(After([](io::FaultFileSystem* fs) { fs->FlipBits("/s/flow-00000", 200, 4); }),
              "/s/flow-00000", kFlowHeaderBytes + kChunkHeaderBytes, "body_crc");
  const auto both = After([](io::FaultFileSystem* fs) {
    fs->FlipBits("/s/flow-00000", 200, 4);
    fs->FlipBits("/s/flow-00001", 0, 4);
  });
  CHECK_EQ(both.size(), 2u);
}

TEST("flow files that changed places are not taken") {
  const auto found = After([](io::FaultFileSystem* fs) {
    const std::string first = fs->ReadRaw("/s/flow-00000");
    fs->PutRaw("/s/flow-00000", fs->ReadRaw("/s/flow-00001"));
    fs->PutRaw("/s/flow-00001", first);
  });
  CHECK_EQ(found.size(), 2u);
}

TEST("a flow of the same length from another snapshot is not taken") {
  io::FaultFileSystem fs;
  const Token token = WriteSnapshot(&fs, "/s", Compression::kNone);
  const Entries entries = SampleEntries(0);
  const auto put = [&](const FlowHeader& header) {
    FlowSummary summary;
    fs.PutRaw("/s/flow-00000", WriteFlow(header, entries, &summary));
    CHECK_EQ(summary.file_bytes, token.flows[0].file_bytes);
    return summary;
  };
  const FlowHeader expected = ExpectedHeader(token, 0);
  FlowHeader other = expected;
  other.cluster.bytes[0] ^= 1;
  FlowSummary summary = put(other);
  // A header with its own CRC at its end never changes the CRC of the whole: it is compared itself.
  CHECK(summary == token.flows[0]);
  Status status = VerifyFlowFile(&fs, "/s/flow-00000", expected, summary);
  CHECK(status.Is(Code::kCorrupt));
  CHECK_EQ(status.offset(), kFlowHeaderClusterId);
  other = expected;
  other.position.seq += 1;
  summary = put(other);
  status = VerifyFlowFile(&fs, "/s/flow-00000", expected, summary);
  CHECK_EQ(What(status), "token");
  CHECK_EQ(status.offset(), kFlowHeaderPosition);
  CHECK_EQ(status.file(), "/s/flow-00000");
}

TEST("a flow with other entries of the same length is told by its footer, before its body") {
  io::FaultFileSystem fs;
  const Token token = WriteSnapshot(&fs, "/s", Compression::kNone);
  const FlowHeader expected = ExpectedHeader(token, 0);
  Entries entries = SampleEntries(0);
  entries[5].value[7] ^= 1;
  FlowSummary summary;
  fs.PutRaw("/s/flow-00000", WriteFlow(expected, entries, &summary));
  CHECK_OK(VerifyFlowFile(&fs, "/s/flow-00000", expected, summary));
  const Status status = VerifyFlowFile(&fs, "/s/flow-00000", expected, token.flows[0]);
  CHECK_EQ(What(status), "token");
  CHECK_EQ(status.offset(), summary.file_bytes - kFooterBytes);
}

TEST("an I/O error is no damage") {
  for (const char* const path : {"SNAPSHOT", "flow-00001"}) {
    io::FaultFileSystem fs;
    WriteSnapshot(&fs, "/s", Compression::kNone);
    io::FaultRule rule;
    rule.kinds = static_cast<uint32_t>(io::OperationKind::kRead);
    rule.path_contains = path;
    fs.AddRule(rule);
    uint64_t files = 0;
    uint64_t bytes = 0;
    CHECK(VerifySnapshot(&fs, "/s", &files, &bytes).status().Is(Code::kIo));
    CHECK_EQ(fs.FaultsStruck(), 1u);
  }
}

TEST("a flow file is written in large pieces, synced, and never over another") {
  io::FaultFileSystem fs;
  Seeded random(5);
  Entries entries;
  for (int i = 0; i < 30; ++i)
    entries.push_back({std::to_string(100 + i), random.Bytes(99000), 1, 0});
  const FlowHeader header = SampleHeader(Compression::kLz4);
  const auto writer = NewWriter(header, entries);
  const Result<FlowSummary> summary = WriteFlowFile(&fs, "/flow", writer.get(), nullptr);
  REQUIRE_OK(summary);
  CHECK_EQ(fs.ReadRaw("/flow"), WriteFlow(header, entries));
  const std::vector<io::Operation> trace = fs.Trace();
  REQUIRE(trace.size() > 3);
  size_t writes = 0;
  for (size_t i = 0; i < trace.size(); ++i) {
    if (trace[i].kind != io::OperationKind::kWrite) continue;
    ++writes;
    const bool last = trace[i].offset + trace[i].size == summary.value().file_bytes;
    CHECK(last || trace[i].size >= 256 * 1024);
  }
  CHECK_GT(writes, 1u);
  CHECK(trace.back().kind == io::OperationKind::kSync);
  const auto again = NewWriter(header, entries);
  CHECK(!WriteFlowFile(&fs, "/flow", again.get(), nullptr).ok());
}

TEST("writing stops when it is cancelled, when the disk is full and when a sync fails") {
  const FlowHeader header = SampleHeader(Compression::kNone);
  Entries entries;
  for (int i = 0; i < 9; ++i)
    entries.push_back({std::to_string(i), std::string(1 << 19, 'v'), 1, 0});
  io::FaultFileSystem fs;
  int asked = 0;
  const auto cancelled = NewWriter(header, entries);
  const Status stopped =
      WriteFlowFile(&fs, "/a", cancelled.get(), [&] { return ++asked == 3; }).status();
  CHECK(stopped.Is(Code::kClosed));
  CHECK_EQ(asked, 3);
  fs.SetCapacity(fs.UsedBytes() + (1 << 20));
  const auto full = NewWriter(header, entries);
  CHECK(WriteFlowFile(&fs, "/b", full.get(), nullptr).status().Is(Code::kNoSpace));
  fs.SetCapacity(io::kForever);
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kSync);
  fs.AddRule(rule);
  const auto unsynced = NewWriter(header, entries);
  CHECK(WriteFlowFile(&fs, "/c", unsynced.get(), nullptr).status().Is(Code::kIo));
  CHECK_EQ(fs.FaultsStruck(), 1u);
}

TEST("after a crash at any operation a token means that every flow is complete") {
  uint64_t operations = 0;
  {
    io::FaultFileSystem fs;
    WriteSnapshot(&fs, "/s", Compression::kNone);
    operations = fs.operations();
    const auto last = fs.ImageAllLost();
    CHECK_OK(ReadToken(last.get(), "/s"));
  }
  uint64_t with = 0;
  uint64_t without = 0;
  for (uint64_t n = 0; n <= operations; ++n) {
    io::FaultFileSystem fs;
    fs.CrashAfter(n);
    CHECK_EQ(WriteSnapshotUntilError(&fs, "/s", Compression::kNone).ok(), n == operations);
    for (uint64_t seed = 0; seed < 40 && !check::Failed(); ++seed) {
      const auto disk = fs.ImageOfSeed(seed);
      const Result<Token> token = ReadToken(disk.get(), "/s");
      if (token.status().Is(Code::kNotAStore)) {
        ++without;
        continue;
      }
      REQUIRE_OK(token);
      ++with;
      uint64_t files = 0;
      uint64_t bytes = 0;
      const auto damage = VerifySnapshot(disk.get(), "/s", &files, &bytes);
      REQUIRE_OK(damage);
      REQUIRE_EQ(damage.value().size(), 0u);
      for (uint32_t flow = 0; flow < 2; ++flow) {
        Entries read;
        REQUIRE_OK(ReadFile(disk.get(), "/s/" + io::FlowName(flow),
                            ExpectedHeader(token.value(), flow), &read));
        REQUIRE(read == SampleEntries(flow));
      }
    }
  }
  CHECK_GT(with, 0u);
  CHECK_GT(without, 0u);
}

}  // namespace
}  // namespace gapless::snapshot::test
