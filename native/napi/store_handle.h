// One environment's handle on an engine of the process: what JavaScript sees as NativeStore.
//
// Lives on its environment's thread. Everything that it registered with the engine (client, ring,
// views, pins, holds) and every object made from it (flows, generations) is given up in Detach,
// which runs on close(), or in the environment's cleanup hook, whichever comes first; the engine is
// released behind it. Jobs hold the handle and an EngineRef of their own; close() waits for them by
// count.
//
// Waking: the engine calls Client::Wake on any thread; it is coalesced into one thread-safe
// function call, which calls the `wake` function of JavaScript. RemoveClient ends that before the
// function goes.
#pragma once

#include <node_api.h>

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "napi/args.h"
#include "napi/engine_ref.h"
#include "napi/env_data.h"
#include "napi/job.h"

namespace gapless::napi {

// An object of JavaScript that reads or writes through a handle.
class Child {
 public:
  virtual ~Child() = default;
  // Gives up everything that belongs to the engine. Idempotent.
  virtual void Detach() = 0;
};

class StoreHandle : public std::enable_shared_from_this<StoreHandle> {
 public:
  // Makes the JavaScript object. nullptr: the environment refuses; the reference was given back.
  static napi_value Create(napi_env env, EngineRef engine, napi_value wake);
  ~StoreHandle();
  StoreHandle(const StoreHandle&) = delete;
  StoreHandle& operator=(const StoreHandle&) = delete;

  bool closed() const { return !engine_; }
  engine::Engine* engine() const { return engine_.get(); }
  const EngineRef& ref() const { return engine_; }
  engine::EngineClient* client() const;

  // Views by small numbers, so that JavaScript never holds an id of the engine's.
  uint32_t AddView(engine::ViewId view);
  void DropView(uint32_t number);
  void DropPin(uint64_t pin);
  // 0 is the newest state.
  Result<std::unique_ptr<engine::ReadScope>> Scope(uint32_t view) const;
  Result<engine::ViewId> ViewOf(uint32_t number) const;

  std::set<uint64_t> pins;
  std::set<log::HoldId> holds;
  std::set<uint64_t> compactions;
  std::set<Child*> children;
  std::vector<int64_t> results;             // of the last submit
  std::vector<engine::Completion> waiting;  // completions not yet taken
  napi_ref ring = nullptr;                  // the registered typed array

  void DropRing();
  void SetPending(bool pending);
  napi_value Close();
  void JobBegins() { ++jobs_; }
  void JobEnds(napi_env env);

 private:
  class Client;
  StoreHandle(napi_env env, EngineRef engine) : env_(env), engine_(std::move(engine)) {}
  bool Start(napi_value wake);
  void Detach();
  void BeginClose(napi_env env);
  static void OnTeardown(void* self);

  const napi_env env_;
  EngineRef engine_;
  Client* client_ = nullptr;  // belongs to the thread-safe function's finalizer
  napi_threadsafe_function function_ = nullptr;
  bool pending_ = false;
  std::map<uint32_t, engine::ViewId> views_;
  uint32_t last_view_ = 0;
  uint32_t jobs_ = 0;
  bool closing_ = false;
  bool hooked_ = false;
  napi_deferred closer_ = nullptr;
  napi_ref promise_ = nullptr;  // what close() answered
};

// The handle behind `this`, closed or not.
std::shared_ptr<StoreHandle>* AnyHandleOf(const Args& args);
// The open handle behind `this`; nullptr with CLOSED or a TypeError pending.
std::shared_ptr<StoreHandle>* HandleOf(const Args& args);

using StoreMethod = napi_value (*)(StoreHandle&, const Args&);
template <StoreMethod method>
napi_value OnStore(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::shared_ptr<StoreHandle>* const handle = HandleOf(args);
  return handle == nullptr ? nullptr : method(**handle, args);
}

// A job on a store: `run` gets an engine that stays open while it runs.
template <typename T>
class StoreJob : public Job {
 public:
  using RunFunction = std::function<Status(engine::Engine*, T*)>;
  using AnswerFunction = std::function<napi_value(napi_env, const T&)>;
  StoreJob(StoreHandle& handle, RunFunction run, AnswerFunction answer)
      : handle_(handle.shared_from_this()),
        engine_(handle.ref()),
        run_(std::move(run)),
        answer_(std::move(answer)) {
    handle_->JobBegins();
  }
  Status Run() override { return run_(engine_.get(), &result_); }
  napi_value Answer(napi_env env) override { return answer_(env, result_); }
  void Ended(napi_env env) override {
    // The close that follows shall hold the last reference.
    run_ = nullptr;
    engine_ = EngineRef();
    handle_->JobEnds(env);
  }

 private:
  std::shared_ptr<StoreHandle> handle_;
  EngineRef engine_;
  RunFunction run_;
  AnswerFunction answer_;
  T result_{};
};

template <typename T>
napi_value StartStoreJob(StoreHandle& handle, napi_env env, const char* name,
                         typename StoreJob<T>::RunFunction run,
                         typename StoreJob<T>::AnswerFunction answer) {
  return Job::Start(env, name,
                    std::make_unique<StoreJob<T>>(handle, std::move(run), std::move(answer)));
}

inline napi_value AnswerNothing(napi_env env, const Nothing& /*nothing*/) {
  return MakeUndefined(env);
}

// Method tables of the files store_*.cc, joined into one class by DefineStoreClass.
void AddStateMethods(std::vector<napi_property_descriptor>* methods);
void AddWriteMethods(std::vector<napi_property_descriptor>* methods);
void AddReadMethods(std::vector<napi_property_descriptor>* methods);
void AddLogMethods(std::vector<napi_property_descriptor>* methods);
void AddReplicaMethods(std::vector<napi_property_descriptor>* methods);
void AddFlowMethods(std::vector<napi_property_descriptor>* methods);
void AddUpkeepMethods(std::vector<napi_property_descriptor>* methods);
void DefineStoreClass(napi_env env);
void DefineFlowClasses(napi_env env);
void DefineGenerationClass(napi_env env);

napi_property_descriptor Method(const char* name, napi_callback callback);

// openStore and attachStore.
napi_value OpenStore(napi_env env, napi_callback_info info);
napi_value AttachStore(napi_env env, napi_callback_info info);

}  // namespace gapless::napi
