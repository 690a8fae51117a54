// Time, passed in like the disk, so that tests own it.
#pragma once

#include <cstdint>

namespace gapless::io {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t WallMs() = 0;       // Unix milliseconds
  virtual uint64_t MonotonicUs() = 0;  // never goes back; stops in suspend
  virtual uint64_t BoottimeMs() = 0;   // CLOCK_BOOTTIME, for leases
};

// Random bytes for ids and secrets.
class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(void* to, uint64_t size) = 0;
};

Clock* SystemClock();
Random* SystemRandom();

}  // namespace gapless::io
