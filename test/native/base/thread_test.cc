// Mutex, CondVar and Thread.
#include "base/thread.h"

#include <pthread.h>

#include <csignal>
#include <ctime>
#include <string>

#include "base/mutex.h"
#include "check.h"

namespace gapless {
namespace {

uint64_t NowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

TEST("a mutex lets one thread in at a time") {
  Mutex mutex;
  int count = 0;
  Thread threads[4];
  for (Thread& thread : threads) {
    REQUIRE_OK(thread.Start("count", [&] {
      for (int i = 0; i < 5000; i++) {
        const MutexLock lock(&mutex);
        count++;
      }
    }));
  }
  for (Thread& thread : threads) thread.Join();
  CHECK_EQ(count, 20000);
}

TEST("a waiting thread is woken by a notification") {
  Mutex mutex;
  CondVar changed;
  bool ready = false;
  bool answered = false;
  Thread thread;
  REQUIRE_OK(thread.Start("waiter", [&] {
    const MutexLock lock(&mutex);
    while (!ready) changed.Wait(&mutex);
    answered = true;
    changed.NotifyAll();
  }));
  {
    const MutexLock lock(&mutex);
    ready = true;
    changed.NotifyOne();
    while (!answered) changed.Wait(&mutex);
  }
  thread.Join();
  CHECK(answered);
}

TEST("a wait with a time limit ends by itself") {
  Mutex mutex;
  CondVar never;
  const MutexLock lock(&mutex);
  const uint64_t start = NowUs();
  while (never.WaitFor(&mutex, 20000)) {
  }
  CHECK_GE(NowUs() - start, 19000U);
}

TEST("a wait without end may be given the largest number") {
  Mutex mutex;
  CondVar changed;
  bool ready = false;
  Thread thread;
  REQUIRE_OK(thread.Start("waker", [&] {
    const MutexLock lock(&mutex);
    ready = true;
    changed.NotifyAll();
  }));
  bool timed_out = false;
  {
    const MutexLock lock(&mutex);
    while (!ready) timed_out = timed_out || !changed.WaitFor(&mutex, UINT64_MAX);
  }
  thread.Join();
  CHECK(!timed_out);
}

TEST("a thread has its name, blocks signals, and leaves the starter's mask alone") {
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  std::string name;
  bool blocked = false;
  Thread thread;
  REQUIRE_OK(thread.Start("a-name-that-is-too-long", [&] {
    char buffer[32] = {};
    pthread_getname_np(pthread_self(), buffer, sizeof(buffer));
    name = buffer;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGPROF) == 1;
  }));
  CHECK(thread.joinable());
  thread.Join();
  thread.Join();
  CHECK(!thread.joinable());
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  CHECK_EQ(name, "a-name-that-is-");
  CHECK(blocked);
  CHECK_EQ(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
}

TEST("a thread object can be started again after its join") {
  Thread thread;
  int runs = 0;
  for (int i = 0; i < 3; i++) {
    REQUIRE_OK(thread.Start("again", [&] { runs++; }));
    thread.Join();
  }
  CHECK_EQ(runs, 3);
}

}  // namespace
}  // namespace gapless
