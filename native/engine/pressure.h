// Back-pressure: how far writers may run ahead of flushing, and flushing ahead of merging. Pure
// arithmetic, and a token bucket on the injected clock; upkeep.h says who asks.
//
// One chain, each link slowed before it is stopped (docs/ARCHITECTURE.md "Back-pressure"):
//   merging behind    a shard has more than 8 runs in level 0: each 256 KiB of a flush waits a
//                     little, the longer the more runs there are; beyond 16 it waits for a merge
//   flushing behind   the memtables that take writes may fill only as far as the sealed ones have
//                     been written, and never beyond memtableBytes together with them
//   memtables full    commits wait, unsequenced, in the order in which they came
#pragma once

#include <cstdint>

namespace gapless::engine {

inline constexpr uint64_t kLevel0Slow = 8;
inline constexpr uint64_t kLevel0Stop = 16;
inline constexpr uint64_t kSlowStepUs = 2000;  // for each run beyond kLevel0Slow

// At this size the memtables that take writes are sealed, if nothing sealed waits.
constexpr uint64_t SealBytes(uint64_t memtable_bytes) { return memtable_bytes / 2; }

// How large the memtables that take writes may become: half of what is not sealed is given at once,
// the other half bit by bit as the sealed ones are written (`flushed` of `sealed` bytes).
uint64_t ActiveLimit(uint64_t memtable_bytes, uint64_t sealed, uint64_t flushed);

// What a piece of a flush waits while a shard has so many runs in level 0.
constexpr uint64_t FlushDelayUs(uint64_t level0_runs) {
  return level0_runs <= kLevel0Slow ? 0 : (level0_runs - kLevel0Slow) * kSlowStepUs;
}

// Bytes a second, with a quarter of a second saved up at most. One thread.
class TokenBucket {
 public:
  explicit TokenBucket(uint64_t bytes_per_second) : rate_(bytes_per_second) {}  // 0: no limit
  // Takes `bytes` and returns how long to wait behind that.
  uint64_t TakeUs(uint64_t now_us, uint64_t bytes);

 private:
  const uint64_t rate_;
  uint64_t free_at_us_ = 0;  // when everything taken so far has been earned
};

// 250 ms, doubling to 5 s.
class Backoff {
 public:
  uint64_t NextUs();
  void Reset() { next_us_ = kFirstUs; }

 private:
  static constexpr uint64_t kFirstUs = 250000;
  static constexpr uint64_t kMostUs = 5000000;
  uint64_t next_us_ = kFirstUs;
};

}  // namespace gapless::engine
