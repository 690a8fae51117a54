// The ring, alone: sizes around the capacity, wraparound, overtaken readers, generations, and one
// producer against several readers that check every byte.
#include "ring/ring.h"

#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/thread.h"
#include "check.h"
#include "ring/words.h"

namespace gapless::ring {
namespace {

constexpr size_t kHeader = 56;

// Memory as a SharedArrayBuffer gives it: zeroed and aligned.
class Memory {
 public:
  explicit Memory(uint64_t capacity) : words_((RingBytes(capacity) + 7) / 8), capacity_(capacity) {}
  void* data() { return words_.data(); }
  size_t bytes() const { return RingBytes(capacity_); }
  uint64_t Load(size_t at) { return LoadWord(words_.data(), at, std::memory_order_acquire); }

 private:
  std::vector<uint64_t> words_;
  uint64_t capacity_;
};

// The byte that stands at a log offset: no two neighbouring laps agree.
char PatternAt(uint64_t offset) {
  return static_cast<char>((offset / 8 * 0x9E3779B97F4A7C15ULL) >> (offset % 8 * 8));
}
std::string Pattern(uint64_t offset, size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) text[i] = PatternAt(offset + i);
  return text;
}

// A record of `bytes` (a multiple of 8, at least a header) whose bytes are the pattern.
void AppendPattern(Producer* producer, uint64_t offset, size_t bytes) {
  const std::string record = Pattern(offset, bytes);
  producer->Append(offset, Slice(record.data(), kHeader),
                   Slice(record.data() + kHeader, bytes - kHeader));
}

struct Got {
  ReadOutcome outcome;
  std::string bytes;
};
Got Read(Memory* memory, uint64_t generation, uint64_t offset, size_t max) {
  std::string buffer(max, '#');
  size_t count = 0;
  const ReadOutcome outcome = Consumer(memory->data(), memory->bytes())
                                  .Read(generation, offset, buffer.data(), max, &count);
  buffer.resize(count);
  return {outcome, buffer};
}

bool InvariantHolds(Memory* memory, uint64_t capacity) {
  const uint64_t oldest = memory->Load(kOldestAt);
  const uint64_t next = memory->Load(kNextAt);
  return oldest <= next && next - oldest <= capacity;
}

TEST("a record is read as it was appended, with its padding") {
  Memory memory(256);
  Producer producer;
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 4096, 7));
  const std::string header(kHeader, 'h');
  producer.Append(4096, header, Slice("abcde"));
  CHECK_EQ(Read(&memory, 7, 4096, 256).outcome, ReadOutcome::kNothing);
  producer.SetShippingEnd(4096 + 64);
  const Got got = Read(&memory, 7, 4096, 256);
  CHECK_EQ(got.outcome, ReadOutcome::kOk);
  CHECK_EQ(got.bytes, header + std::string("abcde\0\0\0", 8));
  producer.Detach();
}

TEST("records of the capacity and less stay whole, a larger one empties the ring") {
  constexpr uint64_t kCapacity = 512;
  for (const size_t bytes : {kCapacity - 8, kCapacity, kCapacity + 8, 3 * kCapacity + 16}) {
    for (const uint64_t start : {uint64_t{0}, uint64_t{8}, uint64_t{1000}, uint64_t{1} << 53}) {
      Memory memory(kCapacity);
      Producer producer;
      REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), start, 1));
      AppendPattern(&producer, start, 64);
      AppendPattern(&producer, start + 64, bytes);
      const uint64_t end = start + 64 + bytes;
      producer.SetShippingEnd(end);
      CHECK(InvariantHolds(&memory, kCapacity));
      CHECK_EQ(memory.Load(kNextAt), end);
      const Got got = Read(&memory, 1, start + 64, bytes);
      if (bytes <= kCapacity) {
        CHECK_EQ(got.outcome, ReadOutcome::kOk);
        CHECK_EQ(got.bytes, Pattern(start + 64, bytes));
      } else {
        CHECK_EQ(got.outcome, ReadOutcome::kOvertaken);
        CHECK_EQ(memory.Load(kOldestAt), end);
      }
      AppendPattern(&producer, end, 72);
      producer.SetShippingEnd(end + 72);
      CHECK_EQ(Read(&memory, 1, end, 72).bytes, Pattern(end, 72));
      producer.Detach();
    }
  }
}

TEST("the ring keeps exactly the newest bytes while it wraps") {
  constexpr uint64_t kCapacity = 1024;
  Memory memory(kCapacity);
  Producer producer;
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 0, 1));
  uint64_t offset = 0;
  for (size_t round = 0; round < 400; ++round) {
    const size_t bytes = kHeader + 8 * (round * 7 % 90);
    AppendPattern(&producer, offset, bytes);
    offset += bytes;
    producer.SetShippingEnd(offset);
    REQUIRE(InvariantHolds(&memory, kCapacity));
    const uint64_t oldest = offset > kCapacity ? offset - kCapacity : 0;
    REQUIRE_EQ(memory.Load(kOldestAt), oldest);
    REQUIRE_EQ(Read(&memory, 1, oldest, kCapacity).bytes, Pattern(oldest, offset - oldest));
    if (oldest > 0) {
      REQUIRE_EQ(Read(&memory, 1, oldest - 8, 64).outcome, ReadOutcome::kOvertaken);
    }
  }
  producer.Detach();
}

TEST("no reader passes the shipping end, nor reads in the future or at half a word") {
  Memory memory(1024);
  Producer producer;
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 0, 3));
  AppendPattern(&producer, 0, 64);
  AppendPattern(&producer, 64, 64);
  producer.SetShippingEnd(64);
  CHECK_EQ(Read(&memory, 3, 0, 1024).bytes, Pattern(0, 64));
  CHECK_EQ(Read(&memory, 3, 64, 1024).outcome, ReadOutcome::kNothing);
  producer.SetShippingEnd(8);  // never goes back
  CHECK_EQ(Read(&memory, 3, 0, 1024).bytes.size(), 64u);
  producer.SetShippingEnd(4096);  // ahead of what was appended here: next still bounds
  CHECK_EQ(Read(&memory, 3, 0, 1024).bytes.size(), 128u);
  CHECK_EQ(Read(&memory, 3, 128, 64).outcome, ReadOutcome::kNothing);
  CHECK_EQ(Read(&memory, 3, 800, 64).outcome, ReadOutcome::kNothing);
  CHECK_EQ(Read(&memory, 3, 4, 64).outcome, ReadOutcome::kOvertaken);
  CHECK_EQ(Read(&memory, 3, 0, 20).bytes, Pattern(0, 16));
  CHECK_EQ(Read(&memory, 3, 0, 7).outcome, ReadOutcome::kNothing);
  producer.Detach();
}

TEST("readers of an ended generation leave, and a new one may begin in the same memory") {
  Memory memory(1024);
  Producer producer;
  CHECK_EQ(Read(&memory, 1, 0, 64).outcome, ReadOutcome::kEnded);
  CHECK_EQ(Read(&memory, 0, 0, 64).outcome, ReadOutcome::kEnded);
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 0, 5));
  AppendPattern(&producer, 0, 64);
  producer.SetShippingEnd(64);
  CHECK_EQ(Read(&memory, 4, 0, 64).outcome, ReadOutcome::kEnded);
  producer.Detach();
  producer.Detach();
  CHECK_EQ(memory.Load(kGenerationAt), 6u);
  CHECK_EQ(Read(&memory, 5, 0, 64).outcome, ReadOutcome::kEnded);
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 800, 9));
  CHECK_EQ(Read(&memory, 5, 0, 64).outcome, ReadOutcome::kEnded);
  CHECK_EQ(Read(&memory, 9, 0, 64).outcome, ReadOutcome::kOvertaken);
  CHECK_EQ(Read(&memory, 9, 800, 64).outcome, ReadOutcome::kNothing);
  CHECK_EQ(memory.Load(kShippingAt), 0u);
  producer.Detach();
}

TEST("memory that cannot be a ring is refused") {
  Memory memory(1024);
  Producer producer;
  CHECK(producer.Attach(nullptr, memory.bytes(), 0, 1).Is(Code::kUsage));
  CHECK(producer.Attach(memory.data(), memory.bytes() - 8, 0, 1).Is(Code::kUsage));
  CHECK(producer.Attach(memory.data(), kDataAt, 0, 1).Is(Code::kUsage));
  CHECK(producer.Attach(memory.data(), 32, 0, 1).Is(Code::kUsage));
  CHECK(producer.Attach(memory.data(), memory.bytes(), 4, 1).Is(Code::kUsage));
  CHECK(producer.Attach(memory.data(), memory.bytes(), 0, 0).Is(Code::kUsage));
  auto* unaligned = static_cast<unsigned char*>(memory.data()) + 4;
  CHECK(producer.Attach(unaligned, RingBytes(512), 0, 1).Is(Code::kUsage));
  CHECK(!producer.attached());
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 0, 1));
  CHECK(producer.Attach(memory.data(), memory.bytes(), 0, 2).Is(Code::kUsage));
  producer.Detach();
}

TEST("the notify word changes with every word that somebody may wait for") {
  Memory memory(1024);
  Producer producer;
  std::vector<uint64_t> seen;
  const auto look = [&] { seen.push_back(memory.Load(kNotifyAt)); };
  look();
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 0, 1));
  look();
  AppendPattern(&producer, 0, 64);
  producer.SetShippingEnd(64);
  look();
  producer.SetDurable(64);
  look();
  producer.SetApplied(1, uint64_t{3} << 32 | 1);
  look();
  CHECK_EQ(memory.Load(kDurableAt), 64u);
  CHECK_EQ(memory.Load(kAppliedAt), 1u);
  CHECK_EQ(memory.Load(kEpochAt), uint64_t{3} << 32 | 1);
  producer.Detach();
  look();
  for (size_t i = 1; i < seen.size(); ++i) CHECK_NE(seen[i], seen[i - 1]);
}

// One reader: follows the producer, jumps to the newest half when overtaken, checks every byte.
struct ReaderCounts {
  std::atomic<uint64_t> bytes{0};
  std::atomic<uint64_t> overtaken{0};
};
void FollowUntil(Memory* memory, uint64_t capacity, uint64_t end, size_t max,
                 ReaderCounts* counts) {
  const Consumer consumer(memory->data(), memory->bytes());
  std::string buffer(max, '\0');
  uint64_t offset = 0;
  while (offset < end && !check::Failed()) {
    const uint64_t oldest_before = memory->Load(kOldestAt);
    const uint64_t next = memory->Load(kNextAt);
    CHECK_LE(oldest_before, next);
    CHECK_LE(next, memory->Load(kOldestAt) + capacity);
    size_t got = 0;
    const ReadOutcome outcome = consumer.Read(1, offset, buffer.data(), max, &got);
    if (outcome == ReadOutcome::kOk) {
      for (size_t i = 0; i < got; i += 8) {
        if (std::memcmp(buffer.data() + i, Pattern(offset + i, 8).data(), 8) != 0) {
          CHECK_EQ(Slice(buffer.data() + i, 8).ToString(), Pattern(offset + i, 8));
          return;
        }
      }
      offset += got;
      counts->bytes += got;
    } else if (outcome == ReadOutcome::kOvertaken) {
      ++counts->overtaken;
      offset = memory->Load(kOldestAt);
    } else {
      CHECK_EQ(outcome, ReadOutcome::kNothing);
    }
  }
}

TEST(
    "readers beside a running producer see every byte right or are told that they were overtaken") {
  constexpr uint64_t kCapacity = 4096;
  constexpr uint64_t kTotal = 4 << 20;
  Memory memory(kCapacity);
  Producer producer;
  REQUIRE_OK(producer.Attach(memory.data(), memory.bytes(), 0, 1));
  // Sizes from a header to beyond the capacity; known beforehand, so that readers know the end.
  std::vector<size_t> sizes;
  uint64_t end = 0;
  for (uint64_t state = 1; end < kTotal; end += sizes.back()) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const size_t scale = state >> 60 == 0 ? 700 : 20;
    sizes.push_back(kHeader + 8 * ((state >> 33) % scale));
  }
  ReaderCounts counts[2];
  Thread readers[2];
  for (size_t i = 0; i < 2; ++i) {
    const size_t max = i == 0 ? 512 : kCapacity;
    REQUIRE_OK(readers[i].Start("reader", [&memory, &counts, i, end, max] {
      FollowUntil(&memory, kCapacity, end, max, &counts[i]);
    }));
  }
  uint64_t offset = 0;
  for (const size_t bytes : sizes) {
    AppendPattern(&producer, offset, bytes);
    offset += bytes;
    producer.SetShippingEnd(offset);
  }
  for (Thread& reader : readers) reader.Join();
  CHECK_GT(counts[0].bytes + counts[1].bytes, 0u);
  CHECK_GT(counts[0].overtaken + counts[1].overtaken, 0u);
  producer.Detach();
}

}  // namespace
}  // namespace gapless::ring
