// Annotated mutex and condition variable, checked by clang's -Wthread-safety.
//
// CondVar is built on pthread: std::condition_variable::wait would raise the GLIBCXX floor of the
// shipped binary above 3.4.29.
#pragma once

#include <pthread.h>

#include <cstdint>

#if defined(__clang__)
#define GAPLESS_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define GAPLESS_THREAD_ATTRIBUTE(x)
#endif
#define CAPABILITY(x) GAPLESS_THREAD_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY GAPLESS_THREAD_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) GAPLESS_THREAD_ATTRIBUTE(guarded_by(x))
#define PT_GUARDED_BY(x) GAPLESS_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define REQUIRES(...) GAPLESS_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) GAPLESS_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) GAPLESS_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) GAPLESS_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS GAPLESS_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace gapless {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() { pthread_mutex_destroy(&mutex_); }
  void Lock() ACQUIRE() { pthread_mutex_lock(&mutex_); }
  void Unlock() RELEASE() { pthread_mutex_unlock(&mutex_); }

 private:
  friend class CondVar;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() RELEASE() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

class CondVar {
 public:
  CondVar();
  ~CondVar() { pthread_cond_destroy(&cond_); }
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;
  // Requires: the caller holds `mutex`. Wakes spuriously: wait in a loop.
  void Wait(Mutex* mutex) REQUIRES(mutex) { pthread_cond_wait(&cond_, &mutex->mutex_); }
  // Returns false when `timeout_us` passed (monotonic clock).
  bool WaitFor(Mutex* mutex, uint64_t timeout_us) REQUIRES(mutex);
  void NotifyOne() { pthread_cond_signal(&cond_); }
  void NotifyAll() { pthread_cond_broadcast(&cond_); }

 private:
  pthread_cond_t cond_;
};

}  // namespace gapless
