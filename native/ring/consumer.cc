// The reading side of the ring: copy first, judge afterwards. Any number of threads; no lock, no
// store. The memory is shared with JavaScript, so nothing that stands in it is trusted: every index
// is masked with the capacity that the caller's byte count gives.
#include <algorithm>
#include <bit>

#include "base/coding.h"
#include "ring/ring.h"
#include "ring/words.h"

namespace gapless::ring {

ReadOutcome Consumer::Read(uint64_t generation, uint64_t offset, void* to, size_t max,
                           size_t* got) const {
  *got = 0;
  if (bytes_ < RingBytes(kCapacityMin) || !std::has_single_bit(bytes_ - kDataAt)) {
    return ReadOutcome::kEnded;
  }
  const uint64_t capacity = bytes_ - kDataAt;
  const auto acquire = std::memory_order_acquire;
  if (generation == 0 || LoadWord(memory_, kGenerationAt, acquire) != generation) {
    return ReadOutcome::kEnded;
  }
  const uint64_t shipping = LoadWord(memory_, kShippingAt, acquire);
  const uint64_t next = LoadWord(memory_, kNextAt, acquire);
  const uint64_t oldest_before = LoadWord(memory_, kOldestAt, acquire);
  const uint64_t end = std::min(shipping, next);
  size_t count = 0;
  if (offset >= oldest_before && offset < end && offset % 8 == 0) {
    count = static_cast<size_t>(std::min({end - offset, uint64_t{max}, capacity}) & ~uint64_t{7});
    CopyOut(memory_, capacity, offset, count, kDataAt, to);
  }
  std::atomic_thread_fence(acquire);
  const uint64_t oldest = LoadWord(memory_, kOldestAt, std::memory_order_relaxed);
  if (LoadWord(memory_, kGenerationAt, std::memory_order_relaxed) != generation) {
    return ReadOutcome::kEnded;
  }
  if (offset < oldest || offset % 8 != 0) return ReadOutcome::kOvertaken;
  if (count == 0) return ReadOutcome::kNothing;
  *got = count;
  return ReadOutcome::kOk;
}

}  // namespace gapless::ring
