// Condition variable on the monotonic clock, so that a step of the wall clock wakes nobody early
// and holds nobody back.
#include "base/mutex.h"

#include <cerrno>
#include <ctime>

#include "base/assert.h"

namespace gapless {
namespace {

constexpr uint64_t kUsPerSecond = 1000000;
// A longer wait is cut to this (about 30 years): the sum below cannot overflow then.
constexpr uint64_t kTimeoutMaxUs = uint64_t{1000000000} * kUsPerSecond;

}  // namespace

#if defined(__APPLE__)

CondVar::CondVar() { GAPLESS_ASSERT(pthread_cond_init(&cond_, nullptr) == 0); }

bool CondVar::WaitFor(Mutex* mutex, uint64_t timeout_us) {
  if (timeout_us > kTimeoutMaxUs) timeout_us = kTimeoutMaxUs;
  timespec span;
  span.tv_sec = static_cast<time_t>(timeout_us / kUsPerSecond);
  span.tv_nsec = static_cast<long>(timeout_us % kUsPerSecond) * 1000;
  const int result = pthread_cond_timedwait_relative_np(&cond_, &mutex->mutex_, &span);
  GAPLESS_ASSERT(result == 0 || result == ETIMEDOUT);
  return result == 0;
}

#else

CondVar::CondVar() {
  pthread_condattr_t attributes;
  GAPLESS_ASSERT(pthread_condattr_init(&attributes) == 0);
  GAPLESS_ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
  GAPLESS_ASSERT(pthread_cond_init(&cond_, &attributes) == 0);
  pthread_condattr_destroy(&attributes);
}

bool CondVar::WaitFor(Mutex* mutex, uint64_t timeout_us) {
  if (timeout_us > kTimeoutMaxUs) timeout_us = kTimeoutMaxUs;
  timespec until;
  GAPLESS_ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
  until.tv_sec += static_cast<time_t>(timeout_us / kUsPerSecond);
  until.tv_nsec += static_cast<long>(timeout_us % kUsPerSecond) * 1000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec += 1;
  }
  const int result = pthread_cond_timedwait(&cond_, &mutex->mutex_, &until);
  GAPLESS_ASSERT(result == 0 || result == ETIMEDOUT);
  return result == 0;
}

#endif

}  // namespace gapless
