// Measures one run by hand: GAPLESS_RUN_BENCH=<keys> in the environment of the room's executable
// registers it, with --filter bench to run nothing else. Not a test.
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/hash.h"
#include "run_model.h"

namespace gapless::table {
namespace {

// Time of this thread alone, so that a busy machine does not count.
double Now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

class Lap {
 public:
  void Print(const char* what, uint64_t count) {
    std::printf("%-44s %7.0f ns each\n", what, (Now() - start_) / static_cast<double>(count));
    start_ = Now();
  }

 private:
  double start_ = Now();
};

std::string KeyOf(uint64_t number) {
  char key[17];
  std::snprintf(key, sizeof(key), "%016llx",
                static_cast<unsigned long long>(number * 0x9e3779b97f4a7c15));
  return std::string(key, 16);
}

// Keys that the processor has at hand, as those of a caller are.
void Gets(const Run& run, const std::vector<std::string>& keys, uint64_t count, const char* what) {
  constexpr uint64_t kAtOnce = 64;
  Random random(11);
  uint64_t found = 0;
  double spent = 0;
  std::vector<std::string> some(kAtOnce);
  for (uint64_t i = 0; i < count; i += kAtOnce) {
    for (std::string& key : some) key = keys[random.Below(keys.size())];
    const double start = Now();
    for (const std::string& key : some) {
      Cell cell;
      const Result<Lookup> got = run.Get(HashKey(key), key, UINT64_MAX, &cell);
      if (got.ok() && got.value() == Lookup::kFound) found += 1 + (cell.value.empty() ? 1 : 0);
    }
    spent += Now() - start;
  }
  std::printf("%-44s %7.0f ns each, %llu found\n", what, spent / static_cast<double>(count),
              static_cast<unsigned long long>(found));
}

void Walks(const Run& run, uint64_t count, const char* what) {
  Lap lap;
  const auto it = run.NewIterator(UINT64_MAX);
  uint64_t sum = 0;
  for (it->SeekToFirst(); it->Valid(); it->Next()) sum += it->cell().value.size();
  lap.Print(what, count);
  for (it->SeekToLast(); it->Valid(); it->Prev()) sum += it->cell().value.size();
  lap.Print("  backward", count);
  if (sum == 0) std::printf("nothing\n");
}

void Bench(uint64_t count, Compression compression) {
  const check::TempDir dir;
  RunPlace place(io::PosixFileSystem(), dir.path(), uint64_t{256} << 20);
  place.options.block_bytes = 4096;
  place.options.compression = compression;
  std::vector<std::string> keys(count);
  for (uint64_t i = 0; i < count; ++i) keys[i] = KeyOf(i);
  std::vector<std::string> sorted = keys;
  std::sort(sorted.begin(), sorted.end());
  const std::string value(100, 'v');
  Lap lap;
  auto writer = RunWriter::Create(place.options, 1, 0, 0);
  for (uint64_t i = 0; i < count; ++i) {
    Cell cell;
    cell.key = sorted[i];
    cell.value = value;
    cell.seq = 1000000 + i * 7919 % count;
    (void)writer.value()->Add(cell);
  }
  const Result<RunInfo> info = writer.value()->Finish();
  lap.Print("write", count);
  auto run = Run::Open(place.options, info.value(), &place.cache);
  std::printf("%llu bytes, open holds %llu\n", static_cast<unsigned long long>(info.value().bytes),
              static_cast<unsigned long long>(run.value()->memory_bytes()));
  lap = Lap();
  const auto stream = Run::NewStream(run.value());
  Cell cell;
  while (stream->Next(&cell).value()) {
  }
  lap.Print("stream", count);
  Walks(*run.value(), count, "iterate, nothing cached");
  Gets(*run.value(), keys, count, "get, filling the cache");
  for (const std::string& key : keys) {
    (void)run.value()->Get(HashKey(key), key, UINT64_MAX, &cell);
  }
  Gets(*run.value(), keys, count, "get, cached");
  for (std::string& key : keys) key[15] = 'x';
  Gets(*run.value(), keys, count, "get, absent");
  Walks(*run.value(), count, "iterate, cached");
  const auto it = run.value()->NewIterator(UINT64_MAX);
  lap = Lap();
  for (uint64_t i = 0; i < count / 10; ++i) it->Seek(keys[i * 7919 % count]);
  lap.Print("seek, cached", count / 10);
  lap = Lap();
  CHECK(run.value()->Verify().value().empty());
  lap.Print("verify", count);
}

void BenchAll() {
  const uint64_t count = std::strtoull(std::getenv("GAPLESS_RUN_BENCH"), nullptr, 10);
  Bench(count, Compression::kNone);
  Bench(count, Compression::kLz4);
}

const bool kRegistered = [] {
  if (std::getenv("GAPLESS_RUN_BENCH") == nullptr) return false;
  const check::Registration registration("bench of a run", __FILE__, __LINE__, BenchAll);
  return true;
}();

}  // namespace
}  // namespace gapless::table
