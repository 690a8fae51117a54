// Background work. See job.h.
#include "napi/job.h"

#include "napi/env_data.h"
#include "napi/value.h"

namespace gapless::napi {

namespace {

struct Running {
  std::unique_ptr<Job> job;
  Status status;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
};

void Execute(napi_env /*env*/, void* data) {
  Running* const running = static_cast<Running*>(data);
  running->status = running->job->Run();
}

void Complete(napi_env env, napi_status state, void* data) {
  const std::unique_ptr<Running> running(static_cast<Running*>(data));
  if (state == napi_cancelled) {
    running->status = Status::Error(Code::kClosed, "the thread ends");
  }
  napi_value value = nullptr;
  if (running->status.ok()) {
    value = running->job->Answer(env);
    if (value != nullptr) napi_resolve_deferred(env, running->deferred, value);
  }
  if (value == nullptr) {
    napi_value error = nullptr;
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending) {
      napi_get_and_clear_last_exception(env, &error);
    } else if (!running->status.ok()) {
      error = MakeError(env, running->status);
    }
    napi_reject_deferred(env, running->deferred, error != nullptr ? error : MakeUndefined(env));
  }
  running->job->Ended(env);
  napi_delete_async_work(env, running->work);
}

}  // namespace

napi_value Job::Start(napi_env env, const char* name, std::unique_ptr<Job> job) {
  napi_deferred deferred = nullptr;
  napi_value promise = nullptr;
  if (napi_create_promise(env, &deferred, &promise) != napi_ok) {
    job->Ended(env);
    return nullptr;
  }
  return StartFor(env, name, std::move(job), deferred) ? promise : nullptr;
}

bool Job::StartFor(napi_env env, const char* name, std::unique_ptr<Job> job,
                   napi_deferred deferred) {
  auto running = std::make_unique<Running>();
  running->job = std::move(job);
  running->deferred = deferred;
  const napi_value resource = MakeText(env, name);
  if (napi_create_async_work(env, nullptr, resource, Execute, Complete, running.get(),
                             &running->work) != napi_ok) {
    running->job->Ended(env);
    return false;
  }
  if (napi_queue_async_work(env, running->work) != napi_ok) {
    napi_delete_async_work(env, running->work);
    running->job->Ended(env);
    return false;
  }
  static_cast<void>(running.release());  // Complete takes it back
  return true;
}

}  // namespace gapless::napi
