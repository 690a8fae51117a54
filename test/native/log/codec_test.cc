// Golden bytes and round trips of positions, records, bodies, meta state, headers, marks, indexes.
#include "base/coding.h"
#include "base/hash.h"
#include "base/hex.h"
#include "log/meta_state.h"
#include "log_fixture.h"

namespace gapless::log::test {
namespace {

Position SomePosition(uint64_t seed) {
  return Position{Epoch{3, 1}, 42 + seed, 4096 + 8 * seed, 0x9f3c0a5e11d27b60 + seed};
}

NodeId SomeNode(uint8_t seed) {
  NodeId node;
  node.bytes.fill(seed);
  return node;
}

MetaState SomeMeta() {
  MetaState state;
  state.clock = 77;
  state.position = SomePosition(0);
  state.epochs.push_back(EpochEntry{Epoch{1, 0}, Position{}, 5, SomeNode(1), 1000, 1});
  state.epochs.push_back(EpochEntry{Epoch{3, 1}, SomePosition(1), 6, SomeNode(2), 2000, 2});
  state.cursors.push_back(CursorEntry{"billing", SomePosition(2)});
  state.cursors.push_back(CursorEntry{"indexer", SomePosition(3)});
  state.slots.push_back(SlotEntry{SomeNode(3), 512});
  state.padded.push_back(PaddedRange{SomePosition(4), SomePosition(5)});
  return state;
}

TEST("a position has the bytes and the text of the format document") {
  char bytes[kPositionBytes];
  EncodePosition(SomePosition(0), bytes);
  CHECK_EQ(HexEncode(Slice(bytes, sizeof bytes)),
           "03000000010000002a000000000000000010000000000000607bd2115e0a3c9f");
  CHECK(DecodePosition(bytes) == SomePosition(0));
  CHECK_EQ(ToText(SomePosition(0)), "3.1:42:4096:9f3c0a5e11d27b60");
  CHECK_EQ(ToText(Position{}), "0.0:0:0:0000000000000000");
}

TEST("a sealed record header stands as the format document says") {
  const TestRecord record = MakeRecord(SomePosition(0), 0x1122334455667788, "body!");
  const char* at = record.header.data();
  CHECK_EQ(LoadU32(at + 4), Crc32c(Slice("body!")));
  CHECK_EQ(LoadU32(at + 8), 5);
  CHECK_EQ(at[12], char{1});
  CHECK_EQ(LoadU32(at + 16), 1);
  CHECK_EQ(LoadU64(at + 24), 43);
  CHECK_EQ(LoadU32(at + 32), 1);
  CHECK_EQ(LoadU64(at + 40), 0x1122334455667788);
  std::string chained(8, '\0');
  StoreU64(chained.data(), SomePosition(0).chain);
  chained += record.header.substr(8, 40) + record.header.substr(4, 4);
  CHECK_EQ(LoadU64(at + 48), Murmur3_128(chained.data(), chained.size(), 0).low);
  std::string covered(reinterpret_cast<const char*>(TestCluster().bytes.data()), 16);
  AppendLe<uint64_t>(&covered, 4096);
  covered += record.header.substr(4);
  CHECK_EQ(LoadU32(at), Crc32c(covered));
  CHECK_EQ(HexEncode(record.header.substr(4, 44)),
           "96bba8d10500000001000000010000000000000"
           "02b0000000000000001000000000000008877665544332211");
  CHECK_EQ(record.after.offset, 4096 + 64);
  CHECK_EQ(record.after.seq, 43);
}

TEST("every flipped bit and every truncation of a record is found") {
  const Position before = SomePosition(0);
  const std::string bytes = MakeRecord(before, 99, BodyOf(1, 21)).Bytes();
  RecordView view;
  CHECK(CheckRecord(TestCluster(), before, 98, bytes, &view) == RecordCheck::kOk);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    CHECK(CheckRecord(TestCluster(), before, 98, damaged, &view) != RecordCheck::kOk);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Slice part(bytes.data(), size);
    CHECK(CheckRecord(TestCluster(), before, 98, part, &view) == RecordCheck::kShort);
  }
}

TEST("a record is valid only at its offset, in its cluster, behind its predecessor") {
  const Position before = SomePosition(0);
  const std::string bytes = MakeRecord(before, 99, BodyOf(1, 21)).Bytes();
  RecordView view;
  Position other = before;
  other.offset += 8;
  CHECK(CheckRecord(TestCluster(), other, 98, bytes, &view) == RecordCheck::kHeaderCrc);
  ClusterId cluster = TestCluster();
  cluster.bytes[3] ^= 1;
  CHECK(CheckRecord(cluster, before, 98, bytes, &view) == RecordCheck::kHeaderCrc);
  other = before;
  other.seq += 1;
  CHECK(CheckRecord(TestCluster(), other, 98, bytes, &view) == RecordCheck::kSequence);
  other = before;
  other.chain ^= 1;
  CHECK(CheckRecord(TestCluster(), other, 98, bytes, &view) == RecordCheck::kChain);
  CHECK(CheckRecord(TestCluster(), before, 99, bytes, &view) == RecordCheck::kTimestamp);
}

TEST("what a newer version may write is an unknown format, once its checksums hold") {
  const auto check = [](RecordHeader fields, const std::string& body) {
    std::string bytes(kRecordHeaderBytes, '\0');
    fields.body_bytes = static_cast<uint32_t>(body.size());
    fields.body_crc = Crc32c(body);
    fields.first_seq = 1;
    fields.timestamp = 1;
    SealHeader(TestCluster(), Position{}, &fields, bytes.data());
    bytes += body;
    bytes.resize(AlignUp8(bytes.size()), '\0');
    RecordView view;
    return CheckRecord(TestCluster(), Position{}, 0, bytes, &view);
  };
  RecordHeader fields;
  CHECK(check(fields, "") == RecordCheck::kOk);  // a noop
  CHECK(check(fields, "x") == RecordCheck::kFormat);
  fields.operations = 1;
  CHECK(check(fields, "") == RecordCheck::kFormat);
  fields.operations = 0;
  fields.flags = 1;
  CHECK(check(fields, "") == RecordCheck::kFormat);
  fields.flags = 0;
  fields.kind = static_cast<RecordKind>(7);
  CHECK(check(fields, "") == RecordCheck::kFormat);
  fields.kind = RecordKind::kBatch;
  CHECK(check(fields, "x") == RecordCheck::kFormat);
  fields.operations = kOperationsMax + 1;
  CHECK(check(fields, "x") == RecordCheck::kFormat);
  fields.kind = RecordKind::kDigest;
  fields.operations = 0;
  CHECK(check(fields, std::string(16, 'd')) == RecordCheck::kOk);
  CHECK(check(fields, std::string(15, 'd')) == RecordCheck::kFormat);
}

TEST("a batch body is read back, and malformed ones are refused") {
  std::string body = PutBody("key", "value");
  body += std::string("\x01\x01\x01\x00\x02\x00\x00\x00", 8);
  AppendLe<uint64_t>(&body, 1234);
  body += "kvv";
  body += std::string("\x02\x00\x01\x00\x00\x00\x00\x00", 8) + "d";
  body += std::string("\x03\x00\x01\x00\x01\x00\x00\x00", 8) + "ab";
  body += std::string("\x03\x02\x01\x00\x00\x00\x00\x00", 8) + "z";
  uint32_t count = 0;
  REQUIRE_OK(CheckBatchBody(body, &count));
  CHECK_EQ(count, 5);
  BatchReader reader(body);
  Operation operation;
  REQUIRE(reader.Next(&operation));
  CHECK_EQ(operation.value.View(), "value");
  REQUIRE(reader.Next(&operation));
  CHECK_EQ(operation.expires_at_ms, 1234);
  REQUIRE(reader.Next(&operation));
  CHECK(operation.kind == OpKind::kDel);
  REQUIRE(reader.Next(&operation));
  CHECK_EQ(operation.value.View(), "b");
  REQUIRE(reader.Next(&operation));
  CHECK(operation.unbounded);
  CHECK(!reader.Next(&operation));
  CHECK(!reader.malformed());
  for (size_t size = 1; size < body.size(); ++size) {
    BatchReader part(Slice(body.data(), size));
    while (part.Next(&operation)) {
    }
    const bool at_operation_end = size == 16 || size == 35 || size == 44 || size == 54;
    CHECK_EQ(part.malformed(), !at_operation_end);
  }
  for (const char* bad : {"\x00", "\x04", "\x01\x04", "\x01\x02", "\x02\x01"}) {
    std::string bytes(9, '\0');
    std::memcpy(bytes.data(), bad, std::strlen(bad));
    bytes[2] = 1;
    CHECK(CheckBatchBody(bytes, &count).Is(Code::kUsage));
  }
  CHECK(CheckBatchBody("", &count).Is(Code::kUsage));
  CHECK_OK(CheckBatchBody(PutBody(std::string(kKeyBytesMax, 'k'), ""), &count));
  CHECK(CheckBatchBody(PutBody(std::string(kKeyBytesMax + 1, 'k'), ""), &count)
            .Is(Code::kKeyTooLarge));
}

TEST("control bodies are read back exactly") {
  const EpochBody epoch{SomeNode(9), 77, 2, SomePosition(1)};
  EpochBody epoch_back;
  REQUIRE(DecodeEpochBody(EncodeEpochBody(epoch), &epoch_back));
  CHECK_EQ(EncodeEpochBody(epoch).size(), 64);
  CHECK(epoch_back.node == epoch.node && epoch_back.before == epoch.before);
  CHECK_EQ(epoch_back.random, 77);
  CHECK_EQ(epoch_back.cause, 2);
  const CursorBody cursor{SomePosition(2), "indexer"};
  CursorBody cursor_back;
  REQUIRE(DecodeCursorBody(EncodeCursorBody(cursor), &cursor_back));
  CHECK_EQ(cursor_back.name, "indexer");
  CHECK(!DecodeCursorBody(EncodeCursorBody(cursor) + "x", &cursor_back));
  const ConfigBody config{1, SomeNode(4)};
  ConfigBody config_back;
  REQUIRE(DecodeConfigBody(EncodeConfigBody(config), &config_back));
  CHECK(config_back.node == config.node);
  CHECK(!DecodeConfigBody(EncodeConfigBody(ConfigBody{3, SomeNode(4)}), &config_back));
}

TEST("meta state is read back, and every flipped byte and truncation is refused") {
  const MetaState state = SomeMeta();
  const std::string bytes = EncodeMetaState(state);
  Result<MetaState> back = DecodeMetaState(bytes, "MANIFEST-000001", 100);
  REQUIRE_OK(back);
  CHECK(back.value() == state);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    const Result<MetaState> refused = DecodeMetaState(damaged, "MANIFEST-000001", 100);
    CHECK(refused.status().Is(Code::kCorrupt));
    CHECK_GE(refused.status().offset(), 100);
    CHECK(DecodeMetaState(Slice(bytes.data(), at), "m", 0).status().Is(Code::kCorrupt));
  }
  std::string newer = bytes;
  newer[0] = 2;
  StoreU32(newer.data() + newer.size() - 4, Crc32c(Slice(newer.data(), newer.size() - 4)));
  CHECK(DecodeMetaState(newer, "m", 0).status().Is(Code::kFormatUnsupported));
}

TEST(
    "meta state with something in the reserved bytes of an epoch is refused under a right "
    "checksum") {
  const MetaState state = SomeMeta();
  std::string bytes = EncodeMetaState(state);
  constexpr size_t kFirstCause = 64 + 4 + 72;  // head, count, fields in front of it
  REQUIRE(static_cast<uint8_t>(bytes[kFirstCause]) == state.epochs.front().cause);
  bytes[kFirstCause + 7] = 1;
  StoreU32(bytes.data() + bytes.size() - 4, Crc32c(Slice(bytes.data(), bytes.size() - 4)));
  CHECK(DecodeMetaState(bytes, "m", 0).status().Is(Code::kCorrupt));
}

TEST("meta state follows the records") {
  MetaState state;
  Position at;
  uint64_t time = 0;
  const auto apply = [&](RecordKind kind, const std::string& body, Epoch epoch) {
    const TestRecord record = MakeRecord(at, ++time << 16, body, kind, epoch);
    state.Advance(RecordView{record.fields, record.body, Slice()}, at, record.after);
    at = record.after;
  };
  apply(RecordKind::kEpoch, EncodeEpochBody(EpochBody{SomeNode(1), 5, 1, at}), Epoch{1, 0});
  apply(RecordKind::kBatch, PutBody("a", "b"), Epoch{1, 0});
  apply(RecordKind::kCursor, EncodeCursorBody(CursorBody{at, "b"}), Epoch{1, 0});
  apply(RecordKind::kCursor, EncodeCursorBody(CursorBody{at, "a"}), Epoch{1, 0});
  const Position moved = at;
  apply(RecordKind::kCursor, EncodeCursorBody(CursorBody{moved, "b"}), Epoch{1, 0});
  const uint64_t slot_at = at.offset;
  apply(RecordKind::kConfig, EncodeConfigBody(ConfigBody{1, SomeNode(7)}), Epoch{1, 0});
  apply(RecordKind::kConfig, EncodeConfigBody(ConfigBody{1, SomeNode(8)}), Epoch{1, 0});
  apply(RecordKind::kConfig, EncodeConfigBody(ConfigBody{2, SomeNode(8)}), Epoch{1, 0});
  const Position second = at;
  apply(RecordKind::kEpoch, EncodeEpochBody(EpochBody{SomeNode(2), 6, 2, at}), Epoch{2, 0});
  CHECK(state.position == at);
  CHECK_EQ(state.clock, time << 16);
  REQUIRE_EQ(state.cursors.size(), 2);
  CHECK_EQ(state.cursors[0].name, "a");
  CHECK(state.cursors[1].position == moved);
  REQUIRE_EQ(state.slots.size(), 1);
  CHECK_EQ(state.slots[0].created_at, slot_at);
  REQUIRE_EQ(state.epochs.size(), 2);
  CHECK(state.epochs[1].before == second);
  CHECK_EQ(state.epochs[1].time_ms, time);
  REQUIRE(state.Find(Epoch{2, 0}) != nullptr);
  CHECK(state.Find(Epoch{1, 1}) == nullptr);
}

TEST("a segment header has the bytes of the format document and finds every flip") {
  char bytes[kSegmentHeaderBytes];
  const SegmentHeader header{TestCluster(), SomePosition(0), 99, true};
  EncodeSegmentHeader(header, bytes);
  CHECK_EQ(HexEncode(Slice(bytes, 72)),
           "47504c534c4f4731010000000100000"
           "0a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
           "03000000010000002a000000000000000010000000000000607bd2115e0a3c9f6300000000000000");
  SegmentHeader back;
  CHECK(DecodeSegmentHeader(TestCluster(), Slice(bytes, sizeof bytes), &back) == HeaderCheck::kOk);
  CHECK(back.start == header.start && back.padded);
  CHECK_EQ(back.clock, 99);
  for (size_t at = 0; at < sizeof bytes; ++at) {
    bytes[at] = static_cast<char>(bytes[at] ^ 8);
    CHECK(DecodeSegmentHeader(TestCluster(), Slice(bytes, sizeof bytes), &back) !=
          HeaderCheck::kOk);
    bytes[at] = static_cast<char>(bytes[at] ^ 8);
  }
  ClusterId other;
  CHECK(DecodeSegmentHeader(other, Slice(bytes, sizeof bytes), &back) == HeaderCheck::kCluster);
  CHECK(DecodeSegmentHeader(TestCluster(), Slice(bytes, 127), &back) == HeaderCheck::kShort);
}

TEST("a mark proves nothing at another place, under another secret or with a flipped bit") {
  const MarkPlace place{TestSecret(), 4096, 640};
  char bytes[kMarkBytes];
  EncodeMark(place, Mark{4608, 4500}, bytes);
  CHECK_EQ(HexEncode(Slice(bytes, 24)), "474d524b0000000000120000000000009411000000000000");
  Mark mark;
  REQUIRE(DecodeMark(place, bytes, &mark));
  CHECK_EQ(mark.offset, 4608);
  CHECK_EQ(mark.durable, 4500);
  CHECK(!DecodeMark(MarkPlace{TestSecret(), 4096, 648}, bytes, &mark));
  CHECK(!DecodeMark(MarkPlace{TestSecret(), 0, 640}, bytes, &mark));
  CHECK(!DecodeMark(MarkPlace{Id128{}, 4096, 640}, bytes, &mark));
  for (size_t bit = 0; bit < sizeof bytes * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    CHECK(!DecodeMark(place, bytes, &mark));
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
}

TEST("a sidecar index is read back and any damage makes it none") {
  std::vector<IndexEntry> entries;
  for (uint64_t i = 0; i < 5; ++i) entries.push_back(IndexEntry{SomePosition(i), 128 + i, i});
  const std::string bytes = EncodeSegmentIndex(4096, entries);
  std::vector<IndexEntry> back;
  REQUIRE(DecodeSegmentIndex(bytes, 4096, &back));
  REQUIRE_EQ(back.size(), 5);
  CHECK(back[4].before == SomePosition(4));
  CHECK(!DecodeSegmentIndex(bytes, 4104, &back));
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    CHECK(!DecodeSegmentIndex(damaged, 4096, &back));
    CHECK(!DecodeSegmentIndex(Slice(bytes.data(), at), 4096, &back));
  }
  REQUIRE(FindIndexEntry(entries, 4096 + 20) != nullptr);
  CHECK_EQ(FindIndexEntry(entries, 4096 + 20)->before.offset, 4096 + 16);
  CHECK(FindIndexEntry(entries, 4095) == nullptr);
}

}  // namespace
}  // namespace gapless::log::test
