// The writing side of the ring. Called by the sequencer, and by the flusher for its two words.
//
// Order of an append, which every reader relies on: oldest is raised, a release fence, the data
// words (relaxed), next (release). A reader that saw one of the new words and then issues an
// acquire fence sees the raised oldest.
#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "base/coding.h"
#include "ring/ring.h"
#include "ring/words.h"

namespace gapless::ring {
namespace {

uint64_t MagicWord() { return LoadU64(kRingMagic); }

// Stores `value` unless the word is higher already. One writer.
void Raise(void* memory, size_t at, uint64_t value) {
  if (value > LoadWord(memory, at, std::memory_order_relaxed)) {
    Word(memory, at).store(value, std::memory_order_release);
  }
}

// Tells waiters that something changed. The environments wake their JavaScript waiters themselves.
void Notify(void* memory) {
  std::atomic_ref<uint32_t>(
      *reinterpret_cast<uint32_t*>(static_cast<unsigned char*>(memory) + kNotifyAt))
      .fetch_add(1, std::memory_order_release);
}

// Makes room for bytes up to `end`: what they overwrite is given up before they are written.
void GiveUpBelow(void* memory, uint64_t oldest) {
  Raise(memory, kOldestAt, oldest);
  std::atomic_thread_fence(std::memory_order_release);
}

uint64_t RoomFor(uint64_t end, uint64_t capacity) { return end > capacity ? end - capacity : 0; }

}  // namespace

Status Producer::Attach(void* memory, size_t bytes, uint64_t offset, uint64_t generation) {
  if (attached()) return Status::Error(Code::kUsage, "the ring is attached already");
  if (memory == nullptr || reinterpret_cast<uintptr_t>(memory) % 8 != 0) {
    return Status::Error(Code::kUsage, "the ring needs memory aligned to 8 bytes");
  }
  if (bytes < RingBytes(kCapacityMin) || !std::has_single_bit(bytes - kDataAt)) {
    return Status::Error(Code::kUsage, "the capacity of a ring must be a power of two");
  }
  if (generation == 0 || offset % 8 != 0) {
    return Status::Error(Code::kUsage, "a ring begins at a record end, in a generation above 0");
  }
  words_ = static_cast<unsigned char*>(memory);
  capacity_ = bytes - kDataAt;
  // Readers of an earlier generation must leave before any word of it changes.
  Word(words_, kGenerationAt).store(0, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Word(words_, kMagicAt).store(MagicWord(), std::memory_order_relaxed);
  Word(words_, kCapacityAt).store(capacity_, std::memory_order_relaxed);
  Word(words_, kNextAt).store(offset, std::memory_order_relaxed);
  Word(words_, kOldestAt).store(offset, std::memory_order_relaxed);
  for (const size_t at : {kShippingAt, kDurableAt, kAppliedAt, kEpochAt}) {
    Word(words_, at).store(0, std::memory_order_relaxed);
  }
  Word(words_, kGenerationAt).store(generation, std::memory_order_release);
  Notify(words_);
  return Status::Ok();
}

void Producer::Detach() {
  if (!attached()) return;
  Word(words_, kGenerationAt).fetch_add(1, std::memory_order_seq_cst);
  Notify(words_);
  words_ = nullptr;
  capacity_ = 0;
}

void Producer::Append(uint64_t offset, Slice header, Slice body) {
  GAPLESS_ASSERT(attached());
  GAPLESS_ASSERT(header.size() % 8 == 0 && header.size() <= capacity_);
  GAPLESS_ASSERT(offset == LoadWord(words_, kNextAt, std::memory_order_relaxed));
  const uint64_t body_at = offset + header.size();
  const uint64_t end = body_at + AlignUp8(body.size());
  const bool fits = end - offset <= capacity_;
  GiveUpBelow(words_, RoomFor(fits ? end : body_at, capacity_));
  CopyIn(words_, capacity_, offset, header.data(), header.size(), kDataAt);
  if (fits) {
    CopyIn(words_, capacity_, body_at, body.data(), body.size(), kDataAt);
    Word(words_, kNextAt).store(end, std::memory_order_release);
    return;
  }
  // Larger than the ring: passed through in pieces, so that oldest <= next and next - oldest <=
  // capacity hold at every moment; then nothing of it is kept.
  Word(words_, kNextAt).store(body_at, std::memory_order_release);
  const size_t piece_max = static_cast<size_t>(capacity_);
  for (size_t done = 0; done < body.size(); done += piece_max) {
    const size_t piece = std::min(piece_max, body.size() - done);
    const uint64_t piece_end = body_at + done + AlignUp8(piece);
    GiveUpBelow(words_, RoomFor(piece_end, capacity_));
    CopyIn(words_, capacity_, body_at + done, body.data() + done, piece, kDataAt);
    Word(words_, kNextAt).store(piece_end, std::memory_order_release);
  }
  GiveUpBelow(words_, end);
}

void Producer::SetShippingEnd(uint64_t offset) {
  GAPLESS_ASSERT(attached());
  Raise(words_, kShippingAt, offset);
  Notify(words_);
}

void Producer::SetDurable(uint64_t offset) {
  GAPLESS_ASSERT(attached());
  Raise(words_, kDurableAt, offset);
  Notify(words_);
}

void Producer::SetApplied(uint64_t seq, uint64_t epoch) {
  GAPLESS_ASSERT(attached());
  Word(words_, kEpochAt).store(epoch, std::memory_order_relaxed);
  Word(words_, kAppliedAt).store(seq, std::memory_order_release);
  Notify(words_);
}

}  // namespace gapless::ring
