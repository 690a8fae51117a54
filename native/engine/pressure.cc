// See the header.
#include "engine/pressure.h"

#include <algorithm>

namespace gapless::engine {
namespace {

constexpr uint64_t kSavedUs = 250000;

}  // namespace

uint64_t ActiveLimit(uint64_t memtable_bytes, uint64_t sealed, uint64_t flushed) {
  if (sealed == 0) return memtable_bytes;
  const uint64_t room = memtable_bytes - std::min(sealed, memtable_bytes);
  const uint64_t half = room / 2;
  const double done = static_cast<double>(std::min(flushed, sealed)) / static_cast<double>(sealed);
  return half + static_cast<uint64_t>(static_cast<double>(room - half) * done);
}

uint64_t TokenBucket::TakeUs(uint64_t now_us, uint64_t bytes) {
  if (rate_ == 0) return 0;
  const uint64_t earliest = now_us > kSavedUs ? now_us - kSavedUs : 0;
  const auto cost =
      static_cast<uint64_t>(static_cast<double>(bytes) * 1e6 / static_cast<double>(rate_));
  free_at_us_ = std::max(free_at_us_, earliest) + cost;
  return free_at_us_ > now_us ? free_at_us_ - now_us : 0;
}

uint64_t Backoff::NextUs() {
  const uint64_t now = next_us_;
  next_us_ = std::min(next_us_ * 2, kMostUs);
  return now;
}

}  // namespace gapless::engine
