// Life and death of a handle. See store_handle.h.
#include "napi/store_handle.h"

#include <utility>

namespace gapless::napi {

namespace {
constexpr napi_type_tag kStoreTag = {0x67617073746f7265, 0x1};
}

// Belongs to the thread-safe function: deleted by its finalizer, when no call can come any more.
class StoreHandle::Client : public engine::EngineClient {
 public:
  void Wake() override {
    if (scheduled_.exchange(true, std::memory_order_acq_rel)) return;
    // A refusal means that the environment ends; nobody is left to be woken.
    napi_call_threadsafe_function(function, nullptr, napi_tsfn_nonblocking);
  }

  static void OnWake(napi_env env, napi_value wake, void* context, void* /*data*/) {
    static_cast<Client*>(context)->scheduled_.store(false, std::memory_order_release);
    if (env == nullptr || wake == nullptr) return;
    napi_call_function(env, MakeUndefined(env), wake, 0, nullptr, nullptr);
  }
  static void OnGone(napi_env /*env*/, void* /*data*/, void* context) {
    delete static_cast<Client*>(context);
  }

  napi_threadsafe_function function = nullptr;

 private:
  std::atomic<bool> scheduled_{false};
};

bool StoreHandle::Start(napi_value wake) {
  auto client = std::make_unique<Client>();
  const napi_value name = MakeText(env_, "gaplessdb wake");
  if (napi_create_threadsafe_function(env_, wake, nullptr, name, 0, 1, nullptr, Client::OnGone,
                                      client.get(), Client::OnWake, &function_) != napi_ok) {
    return false;
  }
  client_ = client.release();
  client_->function = function_;
  napi_unref_threadsafe_function(env_, function_);
  // Behind the function: hooks run in reverse order, so this one runs while the function still
  // lives.
  if (napi_add_env_cleanup_hook(env_, OnTeardown, this) != napi_ok) {
    napi_release_threadsafe_function(function_, napi_tsfn_abort);
    client_ = nullptr;
    return false;
  }
  hooked_ = true;
  engine_->AddClient(client_);
  return true;
}

napi_value StoreHandle::Create(napi_env env, EngineRef engine, napi_value wake) {
  const EnvData* const data = DataOf(env);
  if (data == nullptr) return nullptr;
  auto* const holder = new std::shared_ptr<StoreHandle>(new StoreHandle(env, std::move(engine)));
  const napi_finalize finalize = [](napi_env, void* object, void*) {
    auto* const held = static_cast<std::shared_ptr<StoreHandle>*>(object);
    (*held)->Detach();
    if ((*held)->promise_ != nullptr) napi_delete_reference((*held)->env_, (*held)->promise_);
    (*held)->promise_ = nullptr;
    delete held;
  };
  if (!(*holder)->Start(wake)) {
    delete holder;
    return nullptr;
  }
  const napi_value instance = NewInstance(env, data->store_class, kStoreTag, holder, finalize);
  if (instance == nullptr) {
    (*holder)->Detach();
    delete holder;
  }
  return instance;
}

StoreHandle::~StoreHandle() { Detach(); }

engine::EngineClient* StoreHandle::client() const { return client_; }

void StoreHandle::OnTeardown(void* self) {
  StoreHandle* const handle = static_cast<StoreHandle*>(self);
  handle->hooked_ = false;
  handle->Detach();
  // Waits: the engine's threads must be gone before the library can be unloaded.
  handle->engine_ = EngineRef();
}

void StoreHandle::Detach() {
  if (hooked_) napi_remove_env_cleanup_hook(env_, OnTeardown, this);
  hooked_ = false;
  if (client_ == nullptr) return;
  for (Child* child : children) child->Detach();
  children.clear();
  DropRing();
  engine_->RemoveClient(client_);
  client_ = nullptr;
  while (!pins.empty()) DropPin(*pins.begin());
  for (const auto& [number, view] : views_) engine_->ReleaseView(view);
  views_.clear();
  for (const log::HoldId hold : holds) engine_->ReleaseHold(hold);
  holds.clear();
  for (const uint64_t compaction : compactions) engine_->CancelCompact(compaction);
  compactions.clear();
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

void StoreHandle::DropRing() {
  if (ring == nullptr) return;
  engine_.ring()->Unregister();
  napi_delete_reference(env_, ring);
  ring = nullptr;
}

void StoreHandle::SetPending(bool pending) {
  if (pending == pending_ || client_ == nullptr) return;
  pending_ = pending;
  if (pending) {
    napi_ref_threadsafe_function(env_, function_);
  } else {
    napi_unref_threadsafe_function(env_, function_);
  }
}

uint32_t StoreHandle::AddView(engine::ViewId view) {
  do {
    ++last_view_;
  } while (last_view_ == 0 || views_.contains(last_view_));
  views_[last_view_] = view;
  return last_view_;
}

void StoreHandle::DropView(uint32_t number) {
  const auto found = views_.find(number);
  if (found == views_.end()) return;
  engine_->ReleaseView(found->second);
  views_.erase(found);
}

void StoreHandle::DropPin(uint64_t pin) {
  engine_.ForgetPinned(pin);
  engine_->ReleasePin(pin);
  pins.erase(pin);
}

Result<engine::ViewId> StoreHandle::ViewOf(uint32_t number) const {
  const auto found = views_.find(number);
  if (found == views_.end()) return Status::Error(Code::kViewExpired, "the view is closed");
  return found->second;
}

Result<std::unique_ptr<engine::ReadScope>> StoreHandle::Scope(uint32_t view) const {
  if (view == 0) return engine_->Read();
  Result<engine::ViewId> id = ViewOf(view);
  if (!id.ok()) return id.status();
  return engine_->ReadView(id.value());
}

namespace {

class CloseJob : public Job {
 public:
  explicit CloseJob(EngineRef engine) : engine_(std::move(engine)) {}
  Status Run() override { return engine_.Release(); }
  napi_value Answer(napi_env env) override { return MakeUndefined(env); }

 private:
  EngineRef engine_;
};

}  // namespace

napi_value StoreHandle::Close() {
  napi_value promise = nullptr;
  if (closing_) {
    napi_get_reference_value(env_, promise_, &promise);
    return promise;
  }
  if (napi_create_promise(env_, &closer_, &promise) != napi_ok) return nullptr;
  napi_create_reference(env_, promise, 1, &promise_);
  closing_ = true;
  if (jobs_ == 0) BeginClose(env_);
  return promise;
}

void StoreHandle::JobEnds(napi_env env) {
  if (--jobs_ == 0 && closing_) BeginClose(env);
}

void StoreHandle::BeginClose(napi_env env) {
  if (!engine_) return;
  Detach();
  EngineRef engine = std::move(engine_);
  Job::StartFor(env, "gaplessdb close", std::make_unique<CloseJob>(std::move(engine)), closer_);
}

std::shared_ptr<StoreHandle>* AnyHandleOf(const Args& args) {
  // No tag check on this path: V8 checks the receiver against the class that the method belongs to.
  void* object = nullptr;
  if (napi_unwrap(args.env, args.self, &object) != napi_ok) {
    Refuse(args.env, "the receiver");
    return nullptr;
  }
  return static_cast<std::shared_ptr<StoreHandle>*>(object);
}

std::shared_ptr<StoreHandle>* HandleOf(const Args& args) {
  auto* const handle = AnyHandleOf(args);
  if (handle == nullptr) return nullptr;
  if ((*handle)->closed()) {
    Throw(args.env, Status::Error(Code::kClosed, "the store is closed"));
    return nullptr;
  }
  return handle;
}

napi_property_descriptor Method(const char* name, napi_callback callback) {
  napi_property_descriptor descriptor = {};
  descriptor.utf8name = name;
  descriptor.method = callback;
  descriptor.attributes = napi_default_method;
  return descriptor;
}

void DefineStoreClass(napi_env env) {
  std::vector<napi_property_descriptor> methods;
  AddStateMethods(&methods);
  AddWriteMethods(&methods);
  AddReadMethods(&methods);
  AddLogMethods(&methods);
  AddReplicaMethods(&methods);
  AddFlowMethods(&methods);
  AddUpkeepMethods(&methods);
  DefineClass(env, "NativeStore", methods.size(), methods.data(), &DataOf(env)->store_class);
}

}  // namespace gapless::napi
