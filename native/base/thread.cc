// Thread on pthread: std::thread reports a failed start by an exception, which this code cannot
// have.
#include "base/thread.h"

#include <csignal>
#include <memory>

#if defined(__linux__)
#include <sys/resource.h>
#endif

namespace gapless {
namespace {

constexpr size_t kNameMax = 15;
constexpr int kLowerNice = 10;

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

void Thread::LowerPriority() {
#if defined(__APPLE__)
  (void)pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
#elif defined(__linux__)
  // On Linux a nice value belongs to the thread, and 0 names the calling one.
  (void)setpriority(PRIO_PROCESS, 0, kLowerNice);
#endif
}

}  // namespace gapless
