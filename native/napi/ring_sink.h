// The engine's CommitSink: feeds the ring while at least one environment has it registered.
//
// An environment registers its own typed array over the SharedArrayBuffer, which keeps the memory
// alive as long as that environment lives; all registrations of one ring name the same memory. With
// the last one gone the producer lets go and the next ring offered is taken. Register and
// Unregister come from JavaScript threads, the On... methods from the sequencer and the flusher;
// everything is under mutex_, held for one copy at most, so that memory is never touched behind
// Unregister.
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "engine/engine.h"
#include "ring/ring.h"

namespace gapless::napi {

class RingSink : public engine::CommitSink {
 public:
  // Takes or joins a ring that is to go on at `offset`. False: another ring is in use.
  Result<bool> Register(void* memory, size_t bytes, const engine::Progress& progress,
                        uint64_t shipping_end) EXCLUDES(mutex_);
  void Unregister() EXCLUDES(mutex_);

  void OnAppend(uint64_t offset, Slice header, Slice body, const Position& after) override;
  void OnApplied(const Position& visible) override;
  void OnShippingEnd(uint64_t shipping_end, uint64_t durable) override;
  void OnHistoryReset(uint64_t offset) override;

 private:
  Status Restart(uint64_t offset) REQUIRES(mutex_);

  Mutex mutex_;
  ring::Producer producer_ GUARDED_BY(mutex_);
  void* memory_ GUARDED_BY(mutex_) = nullptr;
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  uint32_t registrations_ GUARDED_BY(mutex_) = 0;
  uint64_t generation_ GUARDED_BY(mutex_) = 0;
  uint64_t next_ GUARDED_BY(mutex_) = 0;  // offset that the next record must have
};

}  // namespace gapless::napi
