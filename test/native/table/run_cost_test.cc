// What reading a run costs: reads of the file, false positives, memory; and many readers at once.
#include <atomic>
#include <thread>

#include "base/hash.h"
#include "run_model.h"
#include "table/filter.h"

namespace gapless::table {
namespace {

struct Reads {
  std::atomic<uint64_t> calls_made{0};
  std::atomic<uint64_t> bytes_read{0};
  uint64_t calls() const { return calls_made; }
  uint64_t bytes() const { return bytes_read; }
};

class CountingFile final : public io::File {
 public:
  CountingFile(std::unique_ptr<io::File> file, Reads* reads)
      : file_(std::move(file)), reads_(reads) {}
  Status ReadAt(uint64_t offset, void* to, size_t size, size_t* got) override {
    reads_->calls_made++;
    reads_->bytes_read += size;
    return file_->ReadAt(offset, to, size, got);
  }
  Status WriteAt(uint64_t offset, const io::IoVec* parts, size_t count) override {
    return file_->WriteAt(offset, parts, count);
  }
  Status SyncData() override { return file_->SyncData(); }
  Status Sync() override { return file_->Sync(); }
  Status Truncate(uint64_t size) override { return file_->Truncate(size); }
  Status Allocate(uint64_t offset, uint64_t size) override { return file_->Allocate(offset, size); }
  Result<uint64_t> Size() override { return file_->Size(); }
  const std::string& path() const override { return file_->path(); }

 private:
  const std::unique_ptr<io::File> file_;
  Reads* const reads_;
};

// Counts the reads of all files; the rest goes through.
class CountingFileSystem final : public io::FileSystem {
 public:
  Result<std::unique_ptr<io::File>> Open(const std::string& path, io::OpenMode mode) override {
    Result<std::unique_ptr<io::File>> file = fs_.Open(path, mode);
    if (!file.ok()) return file.status();
    return std::unique_ptr<io::File>(
        std::make_unique<CountingFile>(std::move(file.value()), &reads));
  }
  Status CreateDirectory(const std::string& path) override { return fs_.CreateDirectory(path); }
  Status Rename(const std::string& from, const std::string& to) override {
    return fs_.Rename(from, to);
  }
  Status Remove(const std::string& path) override { return fs_.Remove(path); }
  Status RemoveDirectory(const std::string& path) override { return fs_.RemoveDirectory(path); }
  Status SyncDirectory(const std::string& path) override { return fs_.SyncDirectory(path); }
  Result<std::vector<std::string>> List(const std::string& path) override { return fs_.List(path); }
  Result<bool> Exists(const std::string& path) override { return fs_.Exists(path); }
  Result<bool> IsDirectory(const std::string& path) override { return fs_.IsDirectory(path); }
  Result<uint64_t> FileSize(const std::string& path) override { return fs_.FileSize(path); }
  Result<io::FileIdentity> Identify(const std::string& path) override { return fs_.Identify(path); }
  Result<uint64_t> FreeBytes(const std::string& path) override { return fs_.FreeBytes(path); }
  Result<std::unique_ptr<io::FileLock>> Lock(const std::string& path, io::LockMode mode) override {
    return fs_.Lock(path, mode);
  }

  Reads reads;

 private:
  io::FaultFileSystem fs_;
};

constexpr uint64_t kKeys = 50000;

std::string KeyOf(uint64_t number) { return "user:" + std::to_string(100000000 + number * 1717); }

// kKeys keys with values of 100 bytes, opened with an empty cache.
struct Measured {
  explicit Measured(uint64_t cache_bytes) : place(&fs, "/", cache_bytes) {
    place.options.block_bytes = 4096;
    for (uint64_t i = 0; i < kKeys; ++i) model.Put(KeyOf(i), i + 1, std::string(100, 'v'));
    info = model.Write(place.options, 1).value();
    run = Run::Open(place.options, info, &place.cache).value();
    opening = fs.reads.calls();
    Reset();
  }
  void Reset() {
    fs.reads.calls_made = 0;
    fs.reads.bytes_read = 0;
  }

  CountingFileSystem fs;
  RunPlace place;
  RunModel model;
  RunInfo info;
  std::shared_ptr<const Run> run;
  uint64_t opening = 0;
};

TEST("one key in a hundred that is not there passes a filter") {
  for (const uint64_t keys : {100, 1000, 20000}) {
    uint64_t asked = 0;
    uint64_t passed = 0;
    for (uint64_t round = 0; round < 40000 / keys + 4; ++round) {
      std::vector<uint64_t> hashes;
      for (uint64_t i = 0; i < keys; ++i) hashes.push_back(HashKey(KeyOf(round * keys + i)));
      std::string filter;
      AppendFilter(hashes, &filter);
      CHECK_LE(filter.size(), keys * 10 / 8 + 64);
      for (const uint64_t hash : hashes) CHECK(FilterMayContain(filter, hash));
      for (uint64_t i = 0; i < keys; ++i, ++asked) {
        const uint64_t hash = HashKey("absent:" + std::to_string(round * keys + i));
        passed += FilterMayContain(filter, hash) ? 1 : 0;
      }
    }
    CHECK_LT(passed * 1000, asked * 16);
    CHECK_GT(passed * 1000, asked * 3);
  }
}

TEST("keys of one shard pass a filter no more often than others") {
  std::vector<uint64_t> hashes;
  uint64_t next = 0;
  const auto take = [&next] {
    while (true) {
      const uint64_t hash = HashKey(KeyOf(next++));
      if ((hash >> 24 & 0xffffff) * 64 >> 24 == 17) return hash;
    }
  };
  for (int i = 0; i < 4000; ++i) hashes.push_back(take());
  std::string filter;
  AppendFilter(hashes, &filter);
  uint64_t passed = 0;
  for (int i = 0; i < 4000; ++i) passed += FilterMayContain(filter, take()) ? 1 : 0;
  CHECK_LT(passed, 80);
}

TEST("a hit reads at most one page and one data block, a miss almost never a data block") {
  Measured measured(0);
  CHECK_LE(measured.opening, 4);
  Cell cell;
  for (uint64_t i = 0; i < kKeys; i += 7) {
    const std::string key = KeyOf(i);
    measured.Reset();
    const Result<Lookup> got = measured.run->Get(HashKey(key), key, UINT64_MAX, &cell);
    REQUIRE(got.ok() && got.value() == Lookup::kFound);
    REQUIRE_EQ(measured.fs.reads.calls(), 2);
    REQUIRE(measured.fs.reads.bytes() < 16 * 1024);
  }
  measured.Reset();
  uint64_t gets = 0;
  for (uint64_t i = 0; i < kKeys; i += 3, ++gets) {
    const std::string key = KeyOf(i) + "x";
    const Result<Lookup> got = measured.run->Get(HashKey(key), key, UINT64_MAX, &cell);
    REQUIRE(got.ok() && got.value() == Lookup::kAbsent);
  }
  CHECK_LT((measured.fs.reads.calls() - gets) * 100, gets * 2);
}

TEST("a key behind the last one, or a point before the first sequence, reads nothing") {
  Measured measured(0);
  Cell cell;
  CHECK(measured.run->Get(HashKey("z"), "z", UINT64_MAX, &cell).value() == Lookup::kAbsent);
  const std::string key = KeyOf(5);
  CHECK(measured.run->Get(HashKey(key), key, 0, &cell).value() == Lookup::kAbsent);
  CHECK_EQ(measured.fs.reads.calls(), 0);
}

TEST("what is cached is not read again") {
  Measured measured(64 << 20);
  Cell cell;
  for (int round = 0; round < 2; ++round) {
    measured.Reset();
    for (uint64_t i = 0; i < kKeys; ++i) {
      const std::string key = KeyOf(i);
      CHECK(measured.run->Get(HashKey(key), key, UINT64_MAX, &cell).value() == Lookup::kFound);
    }
    if (round == 0) CHECK_LT(measured.fs.reads.bytes(), measured.info.bytes);
  }
  CHECK_EQ(measured.fs.reads.calls(), 0);
  const auto it = measured.run->NewIterator(UINT64_MAX);
  for (it->SeekToFirst(); it->Valid();) it->Next();
  for (it->SeekToLast(); it->Valid();) it->Prev();
  CHECK_OK(it->status());
  CHECK_EQ(measured.fs.reads.calls(), 0);
}

TEST("walking reads the file about once, in few large pieces, and leaves the cache alone") {
  for (const bool forward : {true, false}) {
    Measured measured(64 << 20);
    const auto it = measured.run->NewIterator(UINT64_MAX);
    uint64_t cells = 0;
    for (forward ? it->SeekToFirst() : it->SeekToLast(); it->Valid();
         forward ? it->Next() : it->Prev()) {
      ++cells;
    }
    CHECK_EQ(cells, kKeys);
    CHECK_LT(measured.fs.reads.bytes(), measured.info.bytes * 102 / 100);
    CHECK_LT(measured.fs.reads.calls() * 40000, measured.info.bytes);
    CHECK_LT(measured.place.cache.stats().used_bytes, measured.info.bytes / 10);
  }
}

TEST("a stream reads the file once in few large pieces, and leaves the cache alone") {
  Measured measured(64 << 20);
  const auto stream = Run::NewStream(measured.run);
  Cell cell;
  uint64_t cells = 0;
  while (stream->Next(&cell).value()) ++cells;
  CHECK_EQ(cells, kKeys);
  CHECK_LE(measured.fs.reads.bytes(), measured.info.bytes);
  CHECK_LT(measured.fs.reads.calls() * 100000, measured.info.bytes);
  CHECK_EQ(measured.place.cache.stats().used_bytes, 0);
}

TEST("a seek reads one page and one data block") {
  Measured measured(0);
  for (uint64_t i = 0; i < 1000; ++i) {
    const auto it = measured.run->NewIterator(UINT64_MAX);
    const std::string key = KeyOf(i * 41);
    measured.Reset();
    it->Seek(key);
    REQUIRE(it->Valid() && it->cell().key == Slice(key));
    REQUIRE_EQ(measured.fs.reads.calls(), 2);
  }
}

TEST("an open run holds little memory") {
  Measured measured(0);
  CHECK_LT(measured.run->memory_bytes(), 4096);
}

TEST("many threads read one run while its blocks come and go") {
  Measured measured(256 << 10);
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < 4; ++number) {
    threads.emplace_back([&measured, &wrong, number] {
      Random random(number + 1);
      for (int i = 0; i < 2000; ++i) {
        uint64_t visible = 0;
        const uint32_t slot = measured.place.gate.Enter(&visible);
        const std::string key = KeyOf(random.Below(kKeys));
        Cell cell;
        const Result<Lookup> got = measured.run->Get(HashKey(key), key, UINT64_MAX, &cell);
        const bool found =
            got.ok() && got.value() == Lookup::kFound && cell.value == Slice(std::string(100, 'v'));
        wrong += found ? 0 : 1;
        if (i % 20 == 0) {
          const auto it = measured.run->NewIterator(UINT64_MAX);
          int steps = 0;
          for (it->Seek(key); it->Valid() && steps < 200; ++steps) it->Next();
          wrong += it->status().ok() ? 0 : 1;
        }
        measured.place.gate.Leave(slot);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace gapless::table
