// The arithmetic of back-pressure.
#include "engine/pressure.h"

#include "check.h"

namespace gapless::engine {
namespace {

TEST("the memtables that take writes get room as the sealed ones are written, never too much") {
  constexpr uint64_t kAll = 64 << 20;
  CHECK_EQ(ActiveLimit(kAll, 0, 0), kAll);
  constexpr uint64_t kSealed = kAll / 2;
  CHECK_EQ(ActiveLimit(kAll, kSealed, 0), kAll / 4);
  CHECK_EQ(ActiveLimit(kAll, kSealed, kSealed / 2), kAll / 4 + kAll / 8);
  CHECK_EQ(ActiveLimit(kAll, kSealed, kSealed), kAll / 2);
  uint64_t before = 0;
  for (uint64_t flushed = 0; flushed <= 2 * kSealed; flushed += 4096) {
    const uint64_t limit = ActiveLimit(kAll, kSealed, flushed);
    CHECK_GE(limit, before);
    CHECK_LE(limit + kSealed, kAll);
    before = limit;
  }
  // A batch of its own that is larger than everything: nothing beside it.
  CHECK_EQ(ActiveLimit(kAll, 2 * kAll, kAll), 0u);
}

TEST("a flush is slowed by each run beyond eight") {
  CHECK_EQ(FlushDelayUs(0), 0u);
  CHECK_EQ(FlushDelayUs(kLevel0Slow), 0u);
  CHECK_EQ(FlushDelayUs(kLevel0Slow + 1), kSlowStepUs);
  CHECK_EQ(FlushDelayUs(kLevel0Stop), (kLevel0Stop - kLevel0Slow) * kSlowStepUs);
}

TEST("a token bucket keeps its rate over time and saves up a quarter of a second at most") {
  TokenBucket bucket(1000000);
  uint64_t now = 10000000;
  CHECK_EQ(bucket.TakeUs(now, 250000), 0u);
  uint64_t taken = 0;
  const uint64_t began = now;
  for (int i = 0; i < 1000; ++i) {
    now += bucket.TakeUs(now, 10000);
    taken += 10000;
  }
  CHECK_GE(now - began, taken - 10000);
  CHECK_LE(now - began, taken + 10000);
  now += 60000000;
  CHECK_EQ(bucket.TakeUs(now, 250000), 0u);
  CHECK_EQ(bucket.TakeUs(now, 100000), 100000u);
  TokenBucket open(0);
  CHECK_EQ(open.TakeUs(0, UINT64_MAX), 0u);
}

TEST("attempts come after 250 ms, then later and later, up to 5 s") {
  Backoff backoff;
  const uint64_t waits[] = {250000, 500000, 1000000, 2000000, 4000000, 5000000, 5000000};
  for (const uint64_t wait : waits) CHECK_EQ(backoff.NextUs(), wait);
  backoff.Reset();
  CHECK_EQ(backoff.NextUs(), 250000u);
}

}  // namespace
}  // namespace gapless::engine
