// The newest bytes of the log in shared memory: the replication backlog (DESIGN section 7).
//
// One producer (the sequencer, under the engine's commit mutex; OnShippingEnd by the flusher) and
// many readers in any thread, native or JavaScript. Layout: docs/RING.md, constants below; the
// TypeScript twin is src/ring/layout.ts. Invariant for every observer: oldest <= next, and
// next - oldest <= capacity. Writer: raise oldest before overwriting, copy (relaxed words), publish
// next (release). Reader: copy, then load oldest again; overtaken: fall back; then verify CRCs.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/slice.h"
#include "base/status.h"

namespace gapless::ring {

// Header words, each alone on 128 bytes so that no two share a cache line (or an adjacent pair).
inline constexpr size_t kLineBytes = 128;
inline constexpr size_t kMagicAt = 0 * kLineBytes;       // u64 "GPLSRNG1"
inline constexpr size_t kCapacityAt = 1 * kLineBytes;    // u64, data bytes, power of two
inline constexpr size_t kGenerationAt = 2 * kLineBytes;  // u64, rises when the ring ends
inline constexpr size_t kNextAt = 3 * kLineBytes;        // u64 log offset behind the newest byte
inline constexpr size_t kOldestAt = 4 * kLineBytes;      // u64 lowest offset still whole
inline constexpr size_t kShippingAt = 5 * kLineBytes;    // u64 shipping end (flusher stores)
inline constexpr size_t kDurableAt = 6 * kLineBytes;     // u64 durable offset (flusher stores)
inline constexpr size_t kAppliedAt = 7 * kLineBytes;     // u64 visible seq
inline constexpr size_t kEpochAt = 8 * kLineBytes;       // u64 term << 32 | run
inline constexpr size_t kNotifyAt = 9 * kLineBytes;      // i32 counter for Atomics.wait
inline constexpr size_t kDataAt = 10 * kLineBytes;       // capacity bytes
inline constexpr char kRingMagic[] = "GPLSRNG1";

inline constexpr uint64_t kCapacityMin = 64;  // a record header and a word

inline constexpr size_t RingBytes(uint64_t capacity) { return kDataAt + capacity; }

// Writes into memory that somebody else owns; the owner calls Detach before it goes away. Attach
// and Detach exclude every other call (the engine holds its commit mutex, and its flusher's mutex,
// too); Append and SetApplied are one thread at a time; the other setters are the flusher's.
class Producer {
 public:
  Producer() = default;
  // Formats `memory` (RingBytes(capacity) bytes, 8-aligned): empty at `offset`, with shipping end
  // and durable offset 0 until they are set. `generation` is not 0 and new for this memory. kUsage.
  Status Attach(void* memory, size_t bytes, uint64_t offset, uint64_t generation);
  // Lets go: generation goes up first, so that readers leave. Idempotent.
  void Detach();
  bool attached() const { return words_ != nullptr; }
  // Appends one record (header and body; padding to 8 is added). A record larger than the capacity
  // leaves the ring empty at the offset behind it. Requires: `offset` is where the last one ended.
  void Append(uint64_t offset, Slice header, Slice body);
  // Neither goes back within a generation: a lower value changes nothing.
  void SetShippingEnd(uint64_t offset);
  void SetDurable(uint64_t offset);
  void SetApplied(uint64_t seq, uint64_t epoch);

 private:
  unsigned char* words_ = nullptr;
  uint64_t capacity_ = 0;
};

enum class ReadOutcome : uint8_t { kOk, kNothing, kOvertaken, kEnded };

// Reads from memory that the caller keeps alive.
class Consumer {
 public:
  Consumer(const void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  // Copies up to `max` bytes (a multiple of 8) from `offset`, never beyond the shipping end.
  // kOvertaken: what was asked for is gone or was overwritten meanwhile (nothing is valid then), or
  // `offset` is no multiple of 8. kEnded: another generation, or no ring. Never reads outside.
  ReadOutcome Read(uint64_t generation, uint64_t offset, void* to, size_t max, size_t* got) const;

 private:
  const void* memory_;
  size_t bytes_;
};

}  // namespace gapless::ring
