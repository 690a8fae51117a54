// Thread on pthread: std::thread reports a failed start by an exception, which this code cannot
// have.
#include "base/thread.h"

#include <csignal>
#include <memory>

namespace gapless {
namespace {

constexpr size_t kNameMax = 15;

struct Body {
  std::string name;
  std::function<void()> run;
};

void* RunBody(void* argument) {
  const std::unique_ptr<Body> body(static_cast<Body*>(argument));
#if defined(__APPLE__)
  pthread_setname_np(body->name.c_str());
#else
  pthread_setname_np(pthread_self(), body->name.c_str());
#endif
  body->run();
  return nullptr;
}

}  // namespace

Thread::~Thread() { GAPLESS_ASSERT(!running_); }

Status Thread::Start(const std::string& name, std::function<void()> body) {
  GAPLESS_ASSERT(!running_);
  auto owned = std::make_unique<Body>();
  owned->name = name.substr(0, kNameMax);
  owned->run = std::move(body);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // A thread inherits the mask of its creator; faults (SIGSEGV, ...) cannot be held back by it.
  GAPLESS_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
  const int result = pthread_create(&thread_, nullptr, RunBody, owned.get());
  GAPLESS_ASSERT(pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
  if (result != 0) return Status::FromErrno(result, "start thread " + name, "");
  owned.release();  // NOLINT: the thread owns it now
  running_ = true;
  return Status::Ok();
}

void Thread::Join() {
  if (!running_) return;
  GAPLESS_ASSERT(pthread_join(thread_, nullptr) == 0);
  running_ = false;
}

}  // namespace gapless
