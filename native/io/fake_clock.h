// Time and randomness that a test owns: nothing moves unless the test moves it. Any thread.
#pragma once

#include <atomic>
#include <cstring>

#include "base/mutex.h"
#include "base/random.h"
#include "io/clock.h"

namespace gapless::io {

class FakeClock final : public Clock {
 public:
  static constexpr uint64_t kStartWallMs = 1763700000000;

  uint64_t WallMs() override { return wall_us_.load() / 1000; }
  uint64_t MonotonicUs() override { return monotonic_us_.load(); }
  uint64_t BoottimeMs() override { return boottime_us_.load() / 1000; }

  // All three go on together.
  void AdvanceUs(uint64_t us) {
    wall_us_ += us;
    monotonic_us_ += us;
    boottime_us_ += us;
  }
  void AdvanceMs(uint64_t ms) { AdvanceUs(ms * 1000); }
  // A suspended machine: the monotonic clock stands still.
  void SuspendMs(uint64_t ms) {
    wall_us_ += ms * 1000;
    boottime_us_ += ms * 1000;
  }
  // Somebody set the wall clock; it may go back.
  void SetWallMs(uint64_t ms) { wall_us_ = ms * 1000; }

 private:
  std::atomic<uint64_t> wall_us_{kStartWallMs * 1000};
  std::atomic<uint64_t> monotonic_us_{1000000};
  std::atomic<uint64_t> boottime_us_{1000000};
};

// The same bytes for the same seed.
class FakeRandom final : public Random {
 public:
  explicit FakeRandom(uint64_t seed) : random_(seed) {}

  void Fill(void* to, uint64_t size) override {
    const MutexLock lock(&mutex_);
    auto* at = static_cast<char*>(to);
    for (; size > 0; size--, at++) *at = static_cast<char>(random_.Next() & 255);
  }

 private:
  Mutex mutex_;
  SeededRandom random_ GUARDED_BY(mutex_);
};

}  // namespace gapless::io
