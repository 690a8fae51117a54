// NativeStore: submitting writes and hearing of them.
#include "base/coding.h"
#include "napi/convert.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

constexpr size_t kSubmitWords = 7;
enum : int32_t { kSequenced = 0, kQueued = 1 };

napi_value Answer(StoreHandle& store, napi_env env, engine::Submitted submitted, uint64_t* out) {
  if (submitted.state == engine::Submitted::State::kFailed) return Throw(env, submitted.status);
  EncodePosition(submitted.commit.position, out);
  out[4] = submitted.commit.first_seq;
  out[5] = submitted.commit.results.size();
  out[6] = submitted.ticket;
  store.results = std::move(submitted.commit.results);
  return MakeNumber(env,
                    submitted.state == engine::Submitted::State::kQueued ? kQueued : kSequenced);
}

// submit(body, bodyBytes, operations, checks, checksBytes, durability, mayQueue, out)
napi_value Submit(StoreHandle& store, const Args& args) {
  engine::WriteRequest request;
  uint32_t body_bytes = 0;
  uint32_t checks_bytes = 0;
  int32_t durability = -1;
  bool may_queue = false;
  uint64_t* out = nullptr;
  if (!args.Uint(1, &body_bytes) || !args.ScratchPrefix(0, body_bytes, &request.body) ||
      !args.Uint(2, &request.operations) || !args.Uint(4, &checks_bytes) ||
      !args.ScratchPrefix(3, checks_bytes, &request.checks) || !args.Int(5, &durability) ||
      !args.Flag(6, &may_queue) || !args.Words(7, kSubmitWords, &out)) {
    return nullptr;
  }
  if (durability > 2) {
    Refuse(args.env, "durability");
    return nullptr;
  }
  if (durability >= 0) request.durability = static_cast<log::Durability>(durability);
  return Answer(store, args.env, store.engine()->Submit(store.client(), request, may_queue), out);
}

// submitControl(kind, body, out)
napi_value SubmitControl(StoreHandle& store, const Args& args) {
  uint32_t kind = 0;
  Slice body;
  uint64_t* out = nullptr;
  if (!args.Uint(0, &kind) || !ReadBytes(args.env, args[1], "the body", &body) ||
      !args.Words(2, kSubmitWords, &out)) {
    return nullptr;
  }
  if (kind < static_cast<uint32_t>(log::RecordKind::kNoop) ||
      kind > static_cast<uint32_t>(log::RecordKind::kConfig)) {
    Refuse(args.env, "the kind of a control record");
    return nullptr;
  }
  return Answer(
      store, args.env,
      store.engine()->SubmitControl(store.client(), static_cast<log::RecordKind>(kind), body), out);
}

napi_value MakeResults(napi_env env, const std::vector<int64_t>& results) {
  const napi_value list = MakeArray(env);
  for (const int64_t result : results) Push(env, list, MakeSignedBig(env, result));
  return list;
}

napi_value TakeResults(StoreHandle& store, const Args& args) {
  const std::vector<int64_t> results = std::move(store.results);
  store.results.clear();
  return MakeResults(args.env, results);
}

napi_value TakeCompletions(StoreHandle& store, const Args& args) {
  for (engine::Completion& completion : store.engine()->TakeCompletions(store.client())) {
    store.waiting.push_back(std::move(completion));
  }
  const std::vector<engine::Completion> completions = std::move(store.waiting);
  store.waiting.clear();
  const napi_value list = MakeArray(args.env);
  for (const engine::Completion& completion : completions) {
    const Status& status = completion.status;
    ObjectBuilder object(args.env);
    object.Big("ticket", completion.ticket);
    object.Set("error", status.ok() ? MakeNull(args.env) : MakeError(args.env, status));
    object.Set("position", MakePosition(args.env, completion.commit.position));
    object.Big("firstSeq", completion.commit.first_seq);
    object.Set("results", MakeResults(args.env, completion.commit.results));
    Push(args.env, list, object.Done());
  }
  return list;
}

// waitSync(position, durability, timeoutMs)
napi_value WaitSync(StoreHandle& store, const Args& args) {
  Position position;
  uint32_t durability = 0;
  uint64_t timeout_ms = 0;
  if (!ReadPosition(args.env, args[0], "the position", &position) || !args.Uint(1, &durability) ||
      !ReadCount(args.env, args[2], "timeoutMs", &timeout_ms)) {
    return nullptr;
  }
  if (durability > 2) {
    Refuse(args.env, "durability");
    return nullptr;
  }
  const Status waited =
      store.engine()->WaitFor(position, static_cast<log::Durability>(durability), timeout_ms);
  return waited.ok() ? nullptr : Throw(args.env, waited);
}

napi_value SyncTo(StoreHandle& store, const Args& args) {
  uint64_t offset = 0;
  uint64_t timeout_ms = 0;
  if (!ReadBig(args.env, args[0], "the offset", &offset) ||
      !ReadCount(args.env, args[1], "timeoutMs", &timeout_ms)) {
    return nullptr;
  }
  return StartStoreJob<Nothing>(
      store, args.env, "gaplessdb sync",
      [offset, timeout_ms](engine::Engine* engine, Nothing*) {
        return engine->SyncTo(offset, timeout_ms);
      },
      AnswerNothing);
}

}  // namespace

void AddWriteMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("submit", OnStore<Submit>));
  methods->push_back(Method("submitControl", OnStore<SubmitControl>));
  methods->push_back(Method("takeResults", OnStore<TakeResults>));
  methods->push_back(Method("takeCompletions", OnStore<TakeCompletions>));
  methods->push_back(Method("waitSync", OnStore<WaitSync>));
  methods->push_back(Method("syncTo", OnStore<SyncTo>));
}

}  // namespace gapless::napi
