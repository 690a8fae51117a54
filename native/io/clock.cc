// The machine's clocks and its random source. Any thread, no state.
#include "io/clock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "base/assert.h"

#if defined(__linux__)
#include <sys/random.h>
#endif

namespace gapless::io {
namespace {

uint64_t ReadClockUs(clockid_t id) {
  timespec now;
  GAPLESS_ASSERT(clock_gettime(id, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// Time since boot that goes on in suspend: a lease must run out while the machine sleeps.
#if defined(CLOCK_BOOTTIME)
constexpr clockid_t kBoottime = CLOCK_BOOTTIME;
#else
constexpr clockid_t kBoottime = CLOCK_MONOTONIC;  // macOS: this one goes on in suspend
#endif

class MachineClock final : public Clock {
 public:
  uint64_t WallMs() override { return ReadClockUs(CLOCK_REALTIME) / 1000; }
  uint64_t MonotonicUs() override { return ReadClockUs(CLOCK_MONOTONIC); }
  uint64_t BoottimeMs() override { return ReadClockUs(kBoottime) / 1000; }
};

// Ids and secrets must never repeat: without a random source the process stops.
void FillFromDevice(uint8_t* at, uint64_t left) {
  const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  GAPLESS_ASSERT(fd >= 0);
  while (left > 0) {
    const ssize_t got = read(fd, at, left);
    if (got < 0 && errno == EINTR) continue;
    GAPLESS_ASSERT(got > 0);
    at += got;
    left -= static_cast<uint64_t>(got);
  }
  close(fd);
}

class MachineRandom final : public Random {
 public:
  void Fill(void* to, uint64_t size) override {
    auto* at = static_cast<uint8_t*>(to);
#if defined(__linux__)
    while (size > 0) {
      const ssize_t got = getrandom(at, size, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;  // ENOSYS, or refused by a sandbox
      at += got;
      size -= static_cast<uint64_t>(got);
    }
#endif
    if (size > 0) FillFromDevice(at, size);
  }
};

}  // namespace

// Never destroyed: threads may still read the clock while the process ends.
Clock* SystemClock() {
  static Clock* const clock = new MachineClock;
  return clock;
}

Random* SystemRandom() {
  static Random* const random = new MachineRandom;
  return random;
}

}  // namespace gapless::io
