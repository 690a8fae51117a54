// A named thread that its owner joins explicitly, in Close or in its destructor.
//
// All signals are blocked in it: the process' signals belong to Node's threads, and no system call
// of ours is interrupted by one. Start and Join are called by the owner, one at a time.
#pragma once

#include <pthread.h>

#include <functional>
#include <string>

#include "base/status.h"

namespace gapless {

class Thread {
 public:
  Thread() = default;
  // Requires: joined, or never started.
  ~Thread();
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  // Requires: not running. `name` is cut to 15 bytes by the kernel's rule.
  Status Start(const std::string& name, std::function<void()> body);
  // Waits for the end of the body; nothing to do if never started or joined already.
  void Join();
  bool joinable() const { return running_; }
  // For the calling thread: work that must not take processor time from others. What the system
  // refuses is not an error.
  static void LowerPriority();

 private:
  pthread_t thread_{};
  bool running_ = false;
};

}  // namespace gapless
