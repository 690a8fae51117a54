// Pins and the flows of a pin: to a socket (NativeFlow) or to a file (NativeFlowFile).
//
// Each step is short (one chunk), so that a worker thread can be terminated between two of them.
#include "napi/convert.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

constexpr napi_type_tag kFlowTag = {0x676170666c6f7700, 0x1};
constexpr napi_type_tag kFlowFileTag = {0x676170666c6f7700, 0x2};

napi_value Pin(StoreHandle& store, const Args& args) {
  std::string name;
  if (!ReadText(args.env, args[0], "the name", &name)) return nullptr;
  Result<engine::PinInfo> pinned = store.engine()->Pin(name);
  if (!pinned.ok()) return Throw(args.env, pinned.status());
  const engine::PinInfo& pin = pinned.value();
  store.pins.insert(pin.id);
  store.ref().KeepPinned(pin.id, pin.meta);
  ObjectBuilder object(args.env);
  object.Big("id", pin.id).Set("clusterId", MakeId(args.env, pin.cluster.bytes));
  return object.Count("shards", pin.shards).Set("meta", MakeMeta(args.env, pin.meta)).Done();
}

napi_value CheckPin(StoreHandle& store, const Args& args) {
  uint64_t pin = 0;
  if (!ReadBig(args.env, args[0], "the pin", &pin)) return nullptr;
  const Status alive = store.engine()->CheckPin(pin);
  return alive.ok() ? nullptr : Throw(args.env, alive);
}

napi_value ReleasePin(StoreHandle& store, const Args& args) {
  uint64_t pin = 0;
  if (!ReadBig(args.env, args[0], "the pin", &pin)) return nullptr;
  if (store.pins.contains(pin)) store.DropPin(pin);
  return nullptr;
}

// A flow writer over a pin of the process, whichever handle took it.
class Flow : public Child {
 public:
  Flow(std::shared_ptr<StoreHandle> store, std::unique_ptr<snapshot::FlowWriter> writer)
      : store_(std::move(store)), writer_(std::move(writer)) {
    store_->children.insert(this);
  }
  ~Flow() override { store_->children.erase(this); }
  void Detach() override { writer_ = nullptr; }

  // False behind the footer.
  Result<bool> Next(std::string* piece) {
    if (writer_ == nullptr) return Status::Error(Code::kClosed, "the flow is closed");
    Result<bool> more = writer_->NextPiece(piece);
    if (more.ok() && !more.value()) {
      ended_ = true;
      summary_ = writer_->summary();
    }
    return more;
  }
  bool ended() const { return ended_; }
  const snapshot::FlowSummary& summary() const { return summary_; }

 private:
  std::shared_ptr<StoreHandle> store_;
  std::unique_ptr<snapshot::FlowWriter> writer_;
  snapshot::FlowSummary summary_;
  bool ended_ = false;
};

class FlowFile : public Flow {
 public:
  FlowFile(std::shared_ptr<StoreHandle> store, std::unique_ptr<snapshot::FlowWriter> writer,
           std::unique_ptr<io::File> file)
      : Flow(std::move(store), std::move(writer)), file_(std::move(file)) {}
  ~FlowFile() override { RemoveUnfinished(); }
  void Detach() override {
    Flow::Detach();
    RemoveUnfinished();
  }

  // False when the file is whole and synced.
  Result<bool> Step() {
    if (file_ == nullptr) return Status::Error(Code::kClosed, "the flow is closed");
    std::string piece;
    Result<bool> more = Next(&piece);
    if (!more.ok()) return more;
    if (!more.value()) {
      RETURN_IF_ERROR(file_->Sync());
      file_ = nullptr;
      return false;
    }
    RETURN_IF_ERROR(file_->WriteAt(at_, piece));
    at_ += piece.size();
    return true;
  }

 private:
  void RemoveUnfinished() {
    if (file_ == nullptr) return;
    const std::string path = file_->path();
    file_ = nullptr;
    // A part that stays behind is named by no token and never read.
    const Status ignored = io::PosixFileSystem()->Remove(path);
    (void)ignored;
  }

  std::unique_ptr<io::File> file_;
  uint64_t at_ = 0;
};

template <typename T>
T* FlowOf(const Args& args, const napi_type_tag& tag) {
  return static_cast<T*>(static_cast<Flow*>(Unwrap(args.env, args.self, tag)));
}

napi_value Next(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Flow* const flow = FlowOf<Flow>(args, kFlowTag);
  if (flow == nullptr) return nullptr;
  std::string piece;
  Result<bool> more = flow->Next(&piece);
  if (!more.ok()) return Throw(env, more.status());
  return more.value() ? MakeBytes(env, piece) : MakeNull(env);
}

napi_value Step(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  FlowFile* const file = FlowOf<FlowFile>(args, kFlowFileTag);
  if (file == nullptr) return nullptr;
  Result<bool> more = file->Step();
  return more.ok() ? MakeBool(env, more.value()) : Throw(env, more.status());
}

template <const napi_type_tag& tag>
napi_value Summary(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Flow* const flow = FlowOf<Flow>(args, tag);
  if (flow == nullptr) return nullptr;
  if (!flow->ended()) {
    Refuse(env, "the flow, which has not ended");
    return nullptr;
  }
  return MakeSummary(env, flow->summary());
}

template <const napi_type_tag& tag>
napi_value CloseFlow(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  Flow* const flow = FlowOf<Flow>(args, tag);
  if (flow != nullptr) flow->Detach();
  return nullptr;
}

struct FlowRequest {
  uint64_t pin = 0;
  uint32_t flow = 0;
  snapshot::Compression compression = snapshot::Compression::kNone;
};

bool ReadRequest(StoreHandle& store, const Args& args, FlowRequest* request) {
  if (!ReadBig(args.env, args[0], "the pin", &request->pin) || !args.Uint(1, &request->flow) ||
      !ReadCompression(args.env, args[2], &request->compression)) {
    return false;
  }
  return request->flow < store.engine()->identity().shards || Refuse(args.env, "the flow");
}

Result<std::unique_ptr<snapshot::FlowWriter>> MakeWriter(StoreHandle& store,
                                                         const FlowRequest& request) {
  Result<log::MetaState> meta = store.ref().PinnedMeta(request.pin);
  if (!meta.ok()) return meta.status();
  Result<std::unique_ptr<snapshot::EntrySource>> source =
      store.engine()->PinnedShard(request.pin, request.flow);
  if (!source.ok()) return source.status();
  const engine::Identity identity = store.engine()->identity();
  snapshot::FlowHeader header;
  header.flow = request.flow;
  header.flows = identity.shards;
  header.compression = request.compression;
  header.features = meta.value().features;
  header.cluster = identity.cluster;
  header.position = meta.value().position;
  header.clock = meta.value().clock;
  return std::make_unique<snapshot::FlowWriter>(header, std::move(source.value()));
}

// Hands `flow` to a new object of JavaScript.
napi_value Wrap(napi_env env, napi_ref class_ref, const napi_type_tag& tag,
                std::unique_ptr<Flow> flow) {
  const napi_value instance =
      NewInstance(env, class_ref, tag, flow.get(),
                  [](napi_env, void* object, void*) { delete static_cast<Flow*>(object); });
  if (instance != nullptr) static_cast<void>(flow.release());
  return instance;
}

// openFlow(pin, flow, compression)
napi_value OpenFlow(StoreHandle& store, const Args& args) {
  FlowRequest request;
  if (!ReadRequest(store, args, &request)) return nullptr;
  Result<std::unique_ptr<snapshot::FlowWriter>> writer = MakeWriter(store, request);
  if (!writer.ok()) return Throw(args.env, writer.status());
  return Wrap(args.env, DataOf(args.env)->flow_class, kFlowTag,
              std::make_unique<Flow>(store.shared_from_this(), std::move(writer.value())));
}

// openFlowFile(pin, flow, compression, path)
napi_value OpenFlowFile(StoreHandle& store, const Args& args) {
  FlowRequest request;
  std::string path;
  if (!ReadRequest(store, args, &request) || !ReadText(args.env, args[3], "the path", &path)) {
    return nullptr;
  }
  Result<std::unique_ptr<snapshot::FlowWriter>> writer = MakeWriter(store, request);
  if (!writer.ok()) return Throw(args.env, writer.status());
  Result<std::unique_ptr<io::File>> file =
      io::PosixFileSystem()->Open(path, io::OpenMode::kCreateNew);
  if (!file.ok()) return Throw(args.env, file.status());
  return Wrap(args.env, DataOf(args.env)->flow_file_class, kFlowFileTag,
              std::make_unique<FlowFile>(store.shared_from_this(), std::move(writer.value()),
                                         std::move(file.value())));
}

}  // namespace

void AddFlowMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("pin", OnStore<Pin>));
  methods->push_back(Method("checkPin", OnStore<CheckPin>));
  methods->push_back(Method("releasePin", OnStore<ReleasePin>));
  methods->push_back(Method("openFlow", OnStore<OpenFlow>));
  methods->push_back(Method("openFlowFile", OnStore<OpenFlowFile>));
}

void DefineFlowClasses(napi_env env) {
  const napi_property_descriptor flow[] = {Method("next", Next),
                                           Method("summary", Summary<kFlowTag>),
                                           Method("close", CloseFlow<kFlowTag>)};
  DefineClass(env, "NativeFlow", std::size(flow), flow, &DataOf(env)->flow_class);
  const napi_property_descriptor file[] = {Method("step", Step),
                                           Method("summary", Summary<kFlowFileTag>),
                                           Method("close", CloseFlow<kFlowFileTag>)};
  DefineClass(env, "NativeFlowFile", std::size(file), file, &DataOf(env)->flow_file_class);
}

}  // namespace gapless::napi
