// The ring as a commit sink. See ring_sink.h.
#include "napi/ring_sink.h"

#include "base/coding.h"

namespace gapless::napi {

namespace {
uint64_t EpochWord(Epoch epoch) { return uint64_t{epoch.term} << 32 | epoch.run; }
}  // namespace

Status RingSink::Restart(uint64_t offset) {
  producer_.Detach();
  next_ = offset;
  return producer_.Attach(memory_, bytes_, offset, ++generation_);
}

Result<bool> RingSink::Register(void* memory, size_t bytes, const engine::Progress& progress,
                                uint64_t shipping_end) {
  MutexLock lock(&mutex_);
  if (registrations_ > 0) {
    if (memory != memory_ || bytes != bytes_) return false;
    ++registrations_;
    return true;
  }
  memory_ = memory;
  bytes_ = bytes;
  const Status attached = Restart(progress.visible.offset);
  if (!attached.ok()) {
    memory_ = nullptr;
    return attached;
  }
  registrations_ = 1;
  producer_.SetShippingEnd(shipping_end);
  producer_.SetDurable(progress.durable.offset);
  producer_.SetApplied(progress.visible.seq, EpochWord(progress.visible.epoch));
  return true;
}

void RingSink::Unregister() {
  MutexLock lock(&mutex_);
  if (registrations_ == 0 || --registrations_ > 0) return;
  producer_.Detach();
  memory_ = nullptr;
  bytes_ = 0;
}

void RingSink::OnAppend(uint64_t offset, Slice header, Slice body, const Position& after) {
  MutexLock lock(&mutex_);
  if (!producer_.attached()) return;
  // A record that was appended between the offer and its first sight here: begin again at this one.
  if (offset != next_ && !Restart(offset).ok()) return;
  producer_.Append(offset, header, body);
  next_ = after.offset;
}

void RingSink::OnApplied(const Position& visible) {
  MutexLock lock(&mutex_);
  if (producer_.attached()) producer_.SetApplied(visible.seq, EpochWord(visible.epoch));
}

void RingSink::OnShippingEnd(uint64_t shipping_end, uint64_t durable) {
  MutexLock lock(&mutex_);
  if (!producer_.attached()) return;
  producer_.SetShippingEnd(shipping_end);
  producer_.SetDurable(durable);
}

void RingSink::OnHistoryReset(uint64_t offset) {
  MutexLock lock(&mutex_);
  if (!producer_.attached()) return;
  if (!Restart(offset).ok()) producer_.Detach();
}

}  // namespace gapless::napi
