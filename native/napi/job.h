// Background work that answers with a promise: Run on a pool thread, Answer on the JavaScript
// thread.
//
// Node waits for running jobs before it tears an environment down, so a job may hold what it likes;
// but it must end by itself (waits carry a time limit). While the environment is torn down Answer
// is still called and making values may fail; then nothing is resolved.
#pragma once

#include <node_api.h>

#include <functional>
#include <memory>

#include "base/status.h"

namespace gapless::napi {

class Job {
 public:
  virtual ~Job() = default;
  virtual Status Run() = 0;                     // pool thread
  virtual napi_value Answer(napi_env env) = 0;  // Run returned OK
  virtual void Ended(napi_env /*env*/) {}       // always, behind Answer

  // Starts and returns the promise; takes the job.
  static napi_value Start(napi_env env, const char* name, std::unique_ptr<Job> job);
  // The same for a promise that exists. False: not started, the job has ended, nothing is resolved.
  static bool StartFor(napi_env env, const char* name, std::unique_ptr<Job> job,
                       napi_deferred deferred);
};

// A job from two functions, for work whose result is one value.
template <typename T>
class JobOf : public Job {
 public:
  using RunFunction = std::function<Status(T*)>;
  using AnswerFunction = std::function<napi_value(napi_env, const T&)>;
  JobOf(RunFunction run, AnswerFunction answer)
      : run_(std::move(run)), answer_(std::move(answer)) {}
  Status Run() override { return run_(&result_); }
  napi_value Answer(napi_env env) override { return answer_(env, result_); }

 private:
  RunFunction run_;
  AnswerFunction answer_;
  T result_{};
};

struct Nothing {};

template <typename T>
napi_value StartJob(napi_env env, const char* name, typename JobOf<T>::RunFunction run,
                    typename JobOf<T>::AnswerFunction answer) {
  return Job::Start(env, name, std::make_unique<JobOf<T>>(std::move(run), std::move(answer)));
}

}  // namespace gapless::napi
