// The lease of a primary under a coordinator: a deadline of CLOCK_BOOTTIME, looked at when a record
// is appended and again with every answer that an acknowledgement is made from. No timer and no
// event loop is needed for it to hold. Without a lease (kNoLease) no clock is read.
//
// Invariant: what is over stays over. A primary whose lease ran out is fenced until it is promoted
// to another term or demoted, whatever is renewed later.
#include "engine/engine_impl.h"

namespace gapless::engine {

void EngineImpl::SetLease(uint64_t deadline_ms) {
  const MutexLock lock(&commit_mutex_);
  (void)EndLeaseIfDueLocked();
  lease_deadline_ms_ = deadline_ms;
}

uint64_t EngineImpl::LeaseClockMs() const { return options_.clock->BoottimeMs(); }

// True: it has just ended. Wakes clients: their commits are in doubt from now on.
bool EngineImpl::EndLeaseIfDueLocked() {
  if (lease_deadline_ms_ == kNoLease || role_ != Role::kPrimary || !stop_status_.ok()) return false;
  if (options_.clock->BoottimeMs() < lease_deadline_ms_) return false;
  fenced_ = true;
  epoch_phase_ = EpochPhase::kNone;
  StopLocked(Status::Error(Code::kFenced,
                           "the lease ran out: this primary is fenced until it is promoted or "
                           "demoted")
                 .With("ownTerm", static_cast<int64_t>(own_term_)));
  WakeClients();
  return true;
}

void EngineImpl::EndLeaseIfDue() {
  const MutexLock lock(&commit_mutex_);
  (void)EndLeaseIfDueLocked();
}

}  // namespace gapless::engine
