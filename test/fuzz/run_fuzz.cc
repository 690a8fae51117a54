// A run as a broken writer or a hostile copy may make it: whatever the bytes, opening and reading
// end, with cells in order or with a typed error, and never leave the memory that they own. Blocks
// are also fed to their parsers alone.
#include <algorithm>
#include <memory>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "fuzz.h"
#include "io/fault_file_system.h"
#include "table/block_data.h"
#include "table/block_index.h"
#include "table/filter.h"
#include "table/read_gate.h"
#include "table/run.h"
#include "table/run_file.h"
#include "table/run_ranges.h"

namespace gapless::fuzz {
namespace {

using namespace table;  // NOLINT: one room is fuzzed here

enum Kind : uint8_t { kFile, kFileToo, kFileAlso, kData, kIndex, kRanges, kExtent, kKinds };

constexpr uint64_t kNumber = 3;
constexpr uint32_t kShard = 1;
constexpr char kPath[] = "/run-000003";
// More entries than any input of the driver can hold.
constexpr uint64_t kStepsMax = 1 << 20;

RunOptions Options(io::FileSystem* fs) {
  RunOptions options;
  options.fs = fs;
  options.directory = "/";
  options.cluster.fill(0x5A);
  options.block_bytes = 64;
  return options;
}

// Makes every checksum right, as far as the lengths lead.
void Repair(std::string* file) {
  if (file->size() < kRunHeaderBytes + kRunFooterBytes) return;
  const uint32_t seed = BlockCrcSeed(Options(nullptr).cluster, kNumber);
  char* const bytes = file->data();
  StoreU32(bytes + kRunHeaderCrc, Crc32c(0, bytes, kRunHeaderCrc));
  const size_t end = file->size() - kRunFooterBytes;
  for (size_t at = kRunHeaderBytes; end - at >= kBlockHeaderBytes;) {
    const size_t stored = LoadU32(bytes + at);
    if (stored > end - at - kBlockHeaderBytes) break;
    const Slice content(bytes + at + kBlockHeaderBytes, stored);
    StoreU32(bytes + at + kBlockCrc, BlockCrc(seed, at, bytes + at, content));
    at += kBlockHeaderBytes + stored;
  }
  StoreU32(bytes + end + kRunFooterCrc, FooterCrc(seed, end, bytes + end));
}

void CheckTyped(const Status& status) {
  if (status.ok()) return;
  FUZZ_CHECK(status.Is(Code::kCorrupt) || status.Is(Code::kFormatUnsupported));
  FUZZ_CHECK(status.file() == kPath && status.offset() >= 0);
}

// What a manifest that agrees with the footer and the top block would say.
RunInfo InfoOf(Slice file) {
  RunInfo info;
  info.number = kNumber;
  info.shard = kShard;
  info.bytes = file.size();
  if (file.size() < kRunHeaderBytes + kRunFooterBytes) return info;
  const char* const footer = file.data() + file.size() - kRunFooterBytes;
  info.cells = LoadU64(footer + kRunFooterCells);
  info.deletions = LoadU64(footer + kRunFooterDeletions);
  info.range_deletes = LoadU64(footer + kRunFooterRangeDeletes);
  info.raw_bytes = LoadU64(footer + kRunFooterRawBytes);
  info.min_seq = LoadU64(footer + kRunFooterMinSeq);
  info.max_seq = LoadU64(footer + kRunFooterMaxSeq);
  const uint64_t top = LoadU64(footer + kRunFooterTopPosition);
  const uint64_t top_bytes = LoadU32(footer + kRunFooterTopBytes);
  if (top > file.size() || top_bytes > file.size() - top || top_bytes < kBlockHeaderBytes) {
    return info;
  }
  const Slice raw = file.Sub(top + kBlockHeaderBytes, top_bytes - kBlockHeaderBytes);
  if (IndexBlock::Check(raw).text == nullptr) {
    (void)DecodeExtent(IndexBlock(raw).extra(), &info.extent);
  }
  return info;
}

// Returns whether the stream came to its end.
bool Stream(const std::shared_ptr<const table::Run>& run, std::vector<std::string>* keys) {
  const std::unique_ptr<CellStream> stream = table::Run::NewStream(run);
  std::string last;
  uint64_t last_seq = 0;
  for (uint64_t cells = 0;; ++cells) {
    Cell cell;
    const Result<bool> more = stream->Next(&cell);
    CheckTyped(more.status());
    if (!more.ok()) return false;
    if (!more.value()) {
      FUZZ_CHECK(cells == run->info().cells);
      return true;
    }
    const int order = Slice(last).Compare(cell.key);
    FUZZ_CHECK(cells == 0 || order < 0 || (order == 0 && cell.seq < last_seq));
    last = cell.key.ToString();
    last_seq = cell.seq;
    FUZZ_CHECK(cell.value.ToString().size() <= kDataRawBytesMax);
    if (keys->size() < 64) keys->push_back(last);
  }
}

uint64_t Walk(CellIterator* it, bool forward) {
  uint64_t steps = 0;
  uint64_t sum = 0;
  for (forward ? it->SeekToFirst() : it->SeekToLast(); it->Valid();
       forward ? it->Next() : it->Prev()) {
    sum += it->cell().key.ToString().size() + it->cell().value.ToString().size();
    FUZZ_CHECK(++steps < kStepsMax);
  }
  FUZZ_CHECK(sum < UINT64_MAX);
  CheckTyped(it->status());
  return steps;
}

void ReadRun(const std::shared_ptr<const table::Run>& run) {
  std::vector<std::string> keys = {"", "key-110", "zz"};
  const bool whole = Stream(run, &keys);
  const Result<std::vector<RunDamage>> damage = run->Verify();
  FUZZ_CHECK(damage.ok());
  // An index may lead astray where every checksum is right: Verify has to see that.
  const bool sound = damage.value().empty();
  FUZZ_CHECK(whole || !sound);
  for (const uint64_t at_seq : {uint64_t{15}, UINT64_MAX}) {
    const std::unique_ptr<CellIterator> it = run->NewIterator(at_seq);
    const uint64_t forward = Walk(it.get(), true);
    const uint64_t backward = Walk(it.get(), false);
    FUZZ_CHECK(!whole || forward == backward);
    for (const std::string& key : keys) {
      it->Seek(key);
      FUZZ_CHECK(!sound || !it->Valid() || Slice(key).Compare(it->cell().key) <= 0);
      CheckTyped(it->status());
      it->SeekForPrev(key);
      FUZZ_CHECK(!sound || !it->Valid() || it->cell().key.Compare(key) <= 0);
      CheckTyped(it->status());
      Cell cell;
      const Result<Lookup> got = run->Get(HashKey(key), key, at_seq, &cell);
      CheckTyped(got.status());
      const bool found = got.ok() && got.value() == Lookup::kFound;
      it->Seek(key);
      const bool there = it->Valid() && it->cell().key == Slice(key);
      FUZZ_CHECK(!sound || found == there);
      if (sound && found) FUZZ_CHECK(cell.seq == it->cell().seq && cell.value == it->cell().value);
    }
  }
}

void ReadFile(Slice bytes) {
  io::FaultFileSystem fs;
  fs.PutRaw(kPath, bytes);
  ReadGate gate;
  BlockCache cache(&gate, 1 << 16);
  uint64_t visible = 0;
  const uint32_t slot = gate.Enter(&visible);
  const auto run = table::Run::Open(Options(&fs), InfoOf(bytes), &cache);
  CheckTyped(run.status());
  if (run.ok()) ReadRun(run.value());
  gate.Leave(slot);
}

void ReadData(Slice raw) {
  if (DataBlock::Check(raw, {}).text != nullptr) return;
  const DataBlock block(raw);
  for (uint32_t i = 0; i < block.count(); ++i) {
    const DataEntry entry = block.At(i);
    const std::string key = block.common().ToString() + entry.suffix.ToString();
    FUZZ_CHECK(key.size() <= kRunKeyBytesMax);
    FUZZ_CHECK(entry.value.ToString().size() < raw.size());
    const uint32_t low = block.LowerBound(key);
    FUZZ_CHECK(low <= i && (low == i || block.AgainAt(i)));
    const uint32_t found = block.Find(uint64_t{block.TagAt(i)} << 56, key);
    FUZZ_CHECK(found <= i);
  }
}

void ReadIndex(Slice raw) {
  if (IndexBlock::Check(raw).text != nullptr) return;
  const IndexBlock block(raw);
  for (uint32_t i = 0; i < block.count(); ++i) {
    const std::string key = block.KeyAt(i);
    const uint32_t found = block.Search(key);
    FUZZ_CHECK(found <= i && block.CompareAt(found, key) == 0);
    FUZZ_CHECK(block.Search(key + "x") > i);
    FUZZ_CHECK(block.PositionAt(i) + block.BytesAt(i) >= block.BytesAt(i) ||
               i + 1 == block.count());
  }
  const size_t filter = block.extra().size();
  if (filter > 0 && filter % kFilterLineBytes == 0) (void)FilterMayContain(block.extra(), filter);
}

void ReadRanges(Slice raw) {
  std::vector<RangeFragment> fragments;
  if (DecodeRanges(raw, &fragments).text != nullptr) return;
  FUZZ_CHECK(Slice(EncodeRanges(fragments)) == raw);
}

void ReadExtent(Slice raw) {
  Extent extent;
  if (DecodeExtent(raw, &extent).text != nullptr) return;
  FUZZ_CHECK(raw.size() % 8 != 0 || Slice(EncodeExtent(extent)) == raw);
}

void Run(Slice input) {
  const uint8_t mode = TakeMode(&input);
  switch (static_cast<Kind>(mode % 8)) {
    case kFile:
      return ReadFile(input);
    case kFileToo:
    case kFileAlso:
    case kKinds: {
      std::string repaired = input.ToString();
      Repair(&repaired);
      return ReadFile(repaired);
    }
    case kData:
      return ReadData(input);
    case kIndex:
      return ReadIndex(input);
    case kRanges:
      return ReadRanges(input);
    case kExtent:
      return ReadExtent(input);
  }
}

std::string Of(Kind kind, const std::string& bytes) {
  return std::string(1, static_cast<char>(kind)) + bytes;
}

std::string File(Compression compression, uint64_t keys) {
  io::FaultFileSystem fs;
  RunOptions options = Options(&fs);
  options.compression = compression;
  const auto writer = RunWriter::Create(options, kNumber, kShard, 0);
  if (!writer.ok()) return "";
  bool ok = writer.value()->AddRange({"a", "b", false, {9, 4}}).ok();
  ok = ok && writer.value()->AddRange({"x", "", true, {2}}).ok();
  for (uint64_t i = 0; ok && i < keys; ++i) {
    const std::string key = "key-" + std::to_string(100 + i);
    const std::string value(i % 50, 'v');
    Cell cell;
    cell.key = key;
    cell.seq = 20 + i;
    cell.deleted = i % 5 == 4;
    if (!cell.deleted) cell.value = value;
    cell.expires_at_ms = i % 3 == 0 ? 1800000000000 : 0;
    ok = writer.value()->Add(cell).ok();
    for (; ok && i % 7 == 0 && cell.seq > 12; ok = writer.value()->Add(cell).ok()) cell.seq -= 4;
  }
  return ok && writer.value()->Finish().ok() ? fs.ReadRaw(kPath) : "";
}

// The raw contents of the blocks of a file without compression.
std::vector<std::string> Blocks(const std::string& file) {
  std::vector<std::string> inputs;
  for (size_t at = kRunHeaderBytes; at + kRunFooterBytes < file.size();) {
    const size_t stored = LoadU32(file.data() + at);
    const std::string raw = file.substr(at + kBlockHeaderBytes, stored);
    const auto type = static_cast<BlockType>(file[at + kBlockType]);
    if (type == BlockType::kData) inputs.push_back(Of(kData, raw));
    if (type == BlockType::kRanges) inputs.push_back(Of(kRanges, raw));
    if (type == BlockType::kPage || type == BlockType::kTop) inputs.push_back(Of(kIndex, raw));
    at += kBlockHeaderBytes + stored;
  }
  return inputs;
}

std::vector<std::string> Seeds() {
  const std::string small = File(Compression::kNone, 6);
  std::vector<std::string> seeds = Blocks(File(Compression::kNone, 20));
  seeds.push_back(Of(kFile, small));
  seeds.push_back(Of(kFileToo, small));
  seeds.push_back(Of(kFileToo, File(Compression::kLz4, 30)));
  seeds.push_back(Of(kFileToo, File(Compression::kNone, 120)));
  seeds.push_back(Of(kExtent, EncodeExtent({"a", "key", false})));
  seeds.push_back(Of(kExtent, EncodeExtent({"", "", true})));
  return seeds;
}

const Registration kTarget({"run", Run, Seeds});

}  // namespace
}  // namespace gapless::fuzz
