// What happens to a run on a bad disk: every flipped byte, every truncation, files in each other's
// place, errors of reading and writing.
#include <functional>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "run_model.h"
#include "table/run_file.h"

namespace gapless::table {
namespace {

constexpr char kPath[] = "/run-000007";
constexpr uint64_t kNumber = 7;

// More than one page, versions, range deletes, and blocks of both kinds.
RunModel SmallModel() {
  RunModel model;
  for (uint64_t i = 0; i < 90; ++i) {
    const std::string key = "key-" + std::to_string(100 + i * 7);
    model.Put(key, 1000 + i, std::string(i % 40, static_cast<char>('a' + i % 3)), i % 5);
    if (i % 4 == 0) model.Delete(key, 500 + i);
    if (i % 8 == 0) model.Put(key, 100 + i, std::string(60, 'z'));
  }
  model.ranges = {{"a", "b", false, {900, 4}}, {"x", "", true, {8}}};
  return model;
}

bool TypedDamage(const Status& status, uint64_t file_bytes) {
  const bool code = status.Is(Code::kCorrupt) || status.Is(Code::kFormatUnsupported);
  return code && status.file() == kPath && status.offset() >= 0 &&
         static_cast<uint64_t>(status.offset()) <= file_bytes;
}

// Opened anew, with nothing cached: each thing that is read is either what the model says or a
// typed error. Returns the first error.
class Examiner {
 public:
  Examiner(io::FaultFileSystem* fs, const RunModel& model, const RunInfo& info)
      : place_(fs, "/", 1 << 20), model_(model), info_(info) {
    place_.options.block_bytes = 96;
  }

  Status Open() {
    const auto run = Run::Open(place_.options, info_, &place_.cache);
    if (!run.ok()) return run.status();
    run_ = run.value();
    return Status::Ok();
  }
  Status Stream() const {
    const std::unique_ptr<CellStream> stream = Run::NewStream(run_);
    auto wanted = model_.cells.begin();
    Cell cell;
    while (true) {
      const Result<bool> more = stream->Next(&cell);
      if (!more.ok()) return more.status();
      CHECK_EQ(more.value(), wanted != model_.cells.end());
      if (!more.value() || check::Failed()) return Status::Ok();
      CHECK(RunModel::Same(cell, *wanted++));
    }
  }
  Status Iterate(bool forward) const {
    auto wanted = model_.At(UINT64_MAX);
    if (!forward) std::reverse(wanted.begin(), wanted.end());
    const std::unique_ptr<CellIterator> it = run_->NewIterator(UINT64_MAX);
    size_t at = 0;
    for (forward ? it->SeekToFirst() : it->SeekToLast(); it->Valid();
         forward ? it->Next() : it->Prev()) {
      CHECK(at < wanted.size() && RunModel::Same(it->cell(), *wanted[at]));
      if (check::Failed()) break;
      ++at;
    }
    if (it->status().ok()) CHECK_EQ(at, wanted.size());
    return it->status();
  }
  Status Gets() const {
    Status first;
    for (const auto& entry : model_.cells) {
      Cell cell;
      const std::string& key = entry.first.first;
      const Result<Lookup> got = run_->Get(HashKey(key), key, entry.first.second, &cell);
      if (!got.ok() && first.ok()) first = got.status();
      if (got.ok()) CHECK(got.value() == Lookup::kFound && RunModel::Same(cell, entry));
      if (check::Failed()) break;
    }
    return first;
  }
  Result<std::vector<RunDamage>> Verify() const { return run_->Verify(); }

 private:
  RunPlace place_;
  const RunModel& model_;
  const RunInfo info_;
  std::shared_ptr<const Run> run_;
};

RunInfo WriteSmall(io::FaultFileSystem* fs, const RunModel& model,
                   Compression compression = Compression::kNone) {
  RunPlace place(fs, "/");
  place.options.block_bytes = 96;
  place.options.compression = compression;
  const Result<RunInfo> info = model.Write(place.options, kNumber);
  CHECK_OK(info);
  return info.ok() ? info.value() : RunInfo{};
}

void ExamineFlip(io::FaultFileSystem* fs, const RunModel& model, const RunInfo& info) {
  Examiner examiner(fs, model, info);
  const Status opened = examiner.Open();
  if (!opened.ok()) {
    CHECK(TypedDamage(opened, info.bytes));
    return;
  }
  for (const Status& status :
       {examiner.Stream(), examiner.Iterate(true), examiner.Iterate(false), examiner.Gets()}) {
    if (!status.ok()) CHECK(TypedDamage(status, info.bytes));
  }
  const auto damage = examiner.Verify();
  REQUIRE_OK(damage);
  REQUIRE_EQ(damage.value().size(), 1);
  CHECK_LE(damage.value()[0].offset, info.bytes);
  CHECK(!damage.value()[0].what.empty());
}

TEST("every flipped byte of a run is found, and nothing wrong is read before") {
  const RunModel model = SmallModel();
  for (const Compression compression : {Compression::kNone, Compression::kLz4}) {
    io::FaultFileSystem fs;
    const RunInfo info = WriteSmall(&fs, model, compression);
    for (uint64_t at = 0; at < info.bytes && !check::Failed(); ++at) {
      const auto mask = static_cast<uint8_t>(1u << (at % 8));
      fs.FlipBits(kPath, at, mask);
      ExamineFlip(&fs, model, info);
      fs.FlipBits(kPath, at, mask);
    }
    Examiner examiner(&fs, model, info);
    CHECK_OK(examiner.Open());
    CHECK(examiner.Verify().value().empty());
  }
}

// Makes every checksum right again, as far as the lengths lead.
void Seal(std::string* file) {
  std::array<uint8_t, 16> cluster;
  cluster.fill(0xC7);
  const uint32_t seed = BlockCrcSeed(cluster, kNumber);
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

// Reads all there is, whatever it says.
void ReadAll(const std::shared_ptr<const Run>& run, const RunModel& model) {
  const std::unique_ptr<CellStream> stream = Run::NewStream(run);
  Cell cell;
  for (Result<bool> more = true; more.ok() && more.value();) more = stream->Next(&cell);
  const std::unique_ptr<CellIterator> it = run->NewIterator(1020);
  uint64_t steps = 0;
  for (it->SeekToFirst(); it->Valid() && steps < 1000; ++steps) it->Next();
  CHECK_LT(steps, 1000);
  for (it->SeekToLast(); it->Valid() && steps < 2000; ++steps) it->Prev();
  CHECK_LT(steps, 2000);
  for (const auto& entry : model.cells) {
    const std::string& key = entry.first.first;
    (void)run->Get(HashKey(key), key, 600, &cell);
    it->SeekForPrev(key);
  }
}

TEST("a flipped byte under right checksums crashes nothing, and Verify finds what leads astray") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  const std::string sound = fs.ReadRaw(kPath);
  uint64_t unseen = 0;
  for (uint64_t at = 0; at < info.bytes && !check::Failed(); ++at) {
    std::string bytes = sound;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    Seal(&bytes);
    if (bytes == sound) continue;
    fs.PutRaw(kPath, bytes);
    RunPlace place(&fs, "/", 1 << 20);
    const auto run = Run::Open(place.options, info, &place.cache);
    if (!run.ok()) {
      CHECK(TypedDamage(run.status(), info.bytes));
      continue;
    }
    ReadAll(run.value(), model);
    const auto damage = run.value()->Verify();
    REQUIRE_OK(damage);
    unseen += damage.value().empty() ? 1 : 0;
  }
  // Another value or expiry is as good as the true one; a filter may hold more than it must.
  CHECK_LT(unseen, sound.size() / 2);
}

// The file position of the first block of a type.
size_t FirstOf(const std::string& file, BlockType type) {
  size_t at = kRunHeaderBytes;
  while (file[at + kBlockType] != static_cast<char>(type)) {
    at += kBlockHeaderBytes + LoadU32(file.data() + at);
  }
  return at;
}

TEST("Verify finds a filter or a tag that would hide a key") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  const std::string sound = fs.ReadRaw(kPath);
  const size_t page = FirstOf(sound, BlockType::kPage);
  const size_t page_raw = page + kBlockHeaderBytes;
  const size_t data_raw = kRunHeaderBytes + kBlockHeaderBytes;
  const size_t tags = data_raw + kDataHeadBytes + 2 * LoadU32(sound.data() + data_raw);
  const std::vector<std::function<uint64_t(std::string*)>> changes = {
      [page, page_raw](std::string* file) {
        const size_t filter = LoadU32(file->data() + page_raw + kIndexExtraBytes);
        std::fill_n(file->begin() + static_cast<long>(page_raw + kIndexHeadBytes), filter, '\0');
        return page;
      },
      [tags](std::string* file) {
        (*file)[tags] = static_cast<char>((*file)[tags] ^ 1);
        return kRunHeaderBytes;
      },
  };
  for (const auto& change : changes) {
    std::string bytes = sound;
    const uint64_t at = change(&bytes);
    Seal(&bytes);
    fs.PutRaw(kPath, bytes);
    Examiner examiner(&fs, model, info);
    REQUIRE_OK(examiner.Open());
    const auto damage = examiner.Verify();
    REQUIRE_OK(damage);
    REQUIRE_EQ(damage.value().size(), 1);
    CHECK_EQ(damage.value()[0].what, "order");
    CHECK_EQ(damage.value()[0].offset, at);
  }
}

TEST("every truncation of a run is refused, also where its manifest agrees with it") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  const std::string sound = fs.ReadRaw(kPath);
  for (uint64_t size = 0; size < sound.size() && !check::Failed(); ++size) {
    fs.PutRaw(kPath, Slice(sound).Sub(0, size));
    RunInfo shorter = info;
    shorter.bytes = size;
    for (const RunInfo& said : {info, shorter}) {
      Examiner examiner(&fs, model, said);
      const Status status = examiner.Open();
      CHECK(status.Is(Code::kCorrupt) && TypedDamage(status, size));
    }
  }
  fs.PutRaw(kPath, sound + "more");
  Examiner examiner(&fs, model, info);
  CHECK(examiner.Open().Is(Code::kCorrupt));
}

TEST("a file that is cut while it is open is found to be short") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  Examiner examiner(&fs, model, info);
  REQUIRE_OK(examiner.Open());
  fs.TruncateRaw(kPath, 1000);
  for (const Status& status : {examiner.Stream(), examiner.Iterate(false), examiner.Gets()}) {
    CHECK(status.Is(Code::kCorrupt) && TypedDamage(status, info.bytes));
  }
  REQUIRE_OK(examiner.Verify());
  CHECK_EQ(examiner.Verify().value().size(), 1);
}

TEST("a run of another number, shard or cluster is not taken for this one") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  RunPlace place(&fs, "/");
  place.options.block_bytes = 96;
  REQUIRE_OK(model.Write(place.options, 8, 1));
  REQUIRE_OK(model.Write(place.options, 9, 2));
  place.options.cluster.fill(0xC8);
  REQUIRE_OK(model.Write(place.options, 10, 1));
  for (const char* other : {"/run-000008", "/run-000009", "/run-000010"}) {
    const std::string bytes = fs.ReadRaw(other);
    REQUIRE_EQ(bytes.size(), info.bytes);
    fs.PutRaw(kPath, bytes);
    Examiner examiner(&fs, model, info);
    const Status status = examiner.Open();
    CHECK(status.Is(Code::kCorrupt) && TypedDamage(status, info.bytes));
  }
}

TEST("a block of another run, or of another place, is no block") {
  RunModel model;
  for (uint64_t i = 0; i < 40; ++i) model.Put(std::to_string(100 + i), 5, std::string(50, 'v'));
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  const std::string sound = fs.ReadRaw(kPath);
  RunPlace place(&fs, "/");
  place.options.block_bytes = 96;
  REQUIRE_OK(model.Write(place.options, 8, 1));
  const size_t first = kBlockHeaderBytes + LoadU32(sound.data() + kRunHeaderBytes);
  const std::string foreign = fs.ReadRaw("/run-000008");
  fs.WriteRaw(kPath, kRunHeaderBytes, Slice(foreign).Sub(kRunHeaderBytes, first));
  Examiner foreigner(&fs, model, info);
  REQUIRE_OK(foreigner.Open());
  CHECK(foreigner.Stream().Is(Code::kCorrupt));
  std::string swapped = sound;
  swapped.replace(kRunHeaderBytes, first, sound, kRunHeaderBytes + first, first);
  swapped.replace(kRunHeaderBytes + first, first, sound, kRunHeaderBytes, first);
  REQUIRE(swapped != sound);
  fs.PutRaw(kPath, swapped);
  Examiner swapper(&fs, model, info);
  REQUIRE_OK(swapper.Open());
  const Status status = swapper.Stream();
  CHECK(status.Is(Code::kCorrupt));
  CHECK_EQ(status.offset(), kRunHeaderBytes);
}

TEST("what the manifest says of a run must be so") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  const std::vector<std::function<void(RunInfo*)>> changes = {
      [](RunInfo* said) { said->cells++; },
      [](RunInfo* said) { said->deletions++; },
      [](RunInfo* said) { said->range_deletes++; },
      [](RunInfo* said) { said->raw_bytes++; },
      [](RunInfo* said) { said->min_seq++; },
      [](RunInfo* said) { said->max_seq++; },
      [](RunInfo* said) { said->shard++; },
      [](RunInfo* said) { said->extent.lower += "x"; },
  };
  for (const auto& change : changes) {
    RunInfo said = info;
    change(&said);
    Examiner examiner(&fs, model, said);
    const Status status = examiner.Open();
    CHECK(status.Is(Code::kCorrupt) && TypedDamage(status, info.bytes));
  }
  RunInfo said = info;
  said.level = 5;  // stands in the manifest alone
  Examiner examiner(&fs, model, said);
  CHECK_OK(examiner.Open());
}

TEST("a missing file is an error of the disk") {
  io::FaultFileSystem fs;
  const RunModel model = SmallModel();
  const RunInfo info = WriteSmall(&fs, model);
  REQUIRE_OK(fs.Remove(kPath));
  Examiner examiner(&fs, model, info);
  const Status status = examiner.Open();
  CHECK(status.Is(Code::kIo));
  CHECK_EQ(status.sys_errno(), 2);
}

io::FaultRule FailRead(uint64_t skip) {
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kRead);
  rule.skip = skip;
  return rule;
}

TEST("an error of reading is typed on every path, and what is read later is right") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  bool struck = true;
  for (uint64_t skip = 0; struck && !check::Failed(); ++skip) {
    struck = false;
    const std::vector<std::function<Status(Examiner*)>> paths = {
        [](Examiner* examiner) { return examiner->Stream(); },
        [](Examiner* examiner) { return examiner->Iterate(true); },
        [](Examiner* examiner) { return examiner->Iterate(false); },
        [](Examiner* examiner) { return examiner->Gets(); },
        [](Examiner* examiner) { return examiner->Verify().status(); },
    };
    for (const auto& path : paths) {
      fs.ClearRules();
      const uint64_t before = fs.FaultsStruck();
      fs.AddRule(FailRead(skip));
      Examiner examiner(&fs, model, info);
      Status status = examiner.Open();
      const bool opened = status.ok();
      if (opened) status = path(&examiner);
      const bool failed = fs.FaultsStruck() > before;
      struck = struck || failed;
      CHECK_EQ(status.Is(Code::kIo), failed);
      CHECK_EQ(status.ok(), !failed);
      if (failed) CHECK_EQ(status.file(), kPath);
      fs.ClearRules();
      if (opened) CHECK_OK(path(&examiner));
    }
  }
}

TEST("an iterator whose read failed is not valid until it finds its place again") {
  const RunModel model = SmallModel();
  io::FaultFileSystem fs;
  const RunInfo info = WriteSmall(&fs, model);
  RunPlace place(&fs, "/", 0);
  const auto run = Run::Open(place.options, info, &place.cache);
  REQUIRE_OK(run);
  const auto it = run.value()->NewIterator(UINT64_MAX);
  it->SeekToFirst();
  REQUIRE(it->Valid());
  const std::string first = it->cell().key.ToString();
  fs.AddRule(FailRead(0));
  while (it->Valid()) it->Next();
  CHECK(it->status().Is(Code::kIo));
  it->Seek(first);
  REQUIRE(it->Valid() && it->status().ok());
  CHECK_EQ(it->cell().key.View(), first);
}

TEST("a write, sync or creation that fails is typed, and leaves no file") {
  const RunModel model = RandomRun(3, 9000, 2);
  for (const int sys_errno : {5, 28}) {
    bool struck = true;
    for (uint64_t skip = 0; struck; ++skip) {
      io::FaultFileSystem fs;
      RunPlace place(&fs, "/");
      io::FaultRule rule;
      rule.skip = skip;
      rule.sys_errno = sys_errno;
      rule.short_bytes = skip == 0 ? 0 : 100;  // not of the creation
      fs.AddRule(rule);
      const Result<RunInfo> info = model.Write(place.options, kNumber);
      struck = fs.FaultsStruck() > 0;
      CHECK_EQ(info.ok(), !struck);
      if (!struck) break;
      CHECK(info.status().Is(sys_errno == 28 ? Code::kNoSpace : Code::kIo));
      CHECK_EQ(info.status().file(), kPath);
      CHECK(fs.ListAll().empty());
      REQUIRE(skip < 100);
    }
  }
}

TEST("a writer that failed stays failed") {
  io::FaultFileSystem fs;
  RunPlace place(&fs, "/");
  auto writer = RunWriter::Create(place.options, kNumber, 0, 0);
  REQUIRE_OK(writer);
  Cell cell;
  cell.key = "a";
  cell.seq = 2;
  REQUIRE_OK(writer.value()->Add(cell));
  io::FaultRule rule;
  rule.kinds = static_cast<uint32_t>(io::OperationKind::kSyncData);
  fs.AddRule(rule);
  CHECK(writer.value()->Finish().status().Is(Code::kIo));
  CHECK(writer.value()->Finish().status().Is(Code::kIo));
  cell.key = "b";
  CHECK(writer.value()->Add(cell).Is(Code::kIo));
}

}  // namespace
}  // namespace gapless::table
