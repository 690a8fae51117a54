// NativeStore: point reads, ranges, views, digests. Values are copied into memory of the caller.
#include "base/coding.h"
#include "napi/store_handle.h"
#include "table/value_file.h"

namespace gapless::napi {

namespace {

constexpr int32_t kMissing = -1;
constexpr size_t kEntryHeaderBytes = 8;

napi_value MakeInt(napi_env env, int32_t number) {
  napi_value value = nullptr;
  napi_create_int32(env, number, &value);
  return value;
}

// What the functions of a reader are bound to. Their `this` is not looked at, and the memory of
// keys only once: both cost more than finding a key. JavaScript thread; each function holds a
// share.
struct Reader {
  Reader(napi_env environment, std::shared_ptr<StoreHandle> of)
      : env(environment), handle(std::move(of)) {}
  ~Reader() { napi_delete_reference(env, keys_ref); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  const napi_env env;
  const std::shared_ptr<StoreHandle> handle;
  napi_ref keys_ref = nullptr;  // keeps `keys` where it is
  MutableBytes keys;
};

using ReaderMethod = napi_value (*)(const Reader&, const Args&);
template <ReaderMethod method>
napi_value OnReader(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  const auto* const reader = static_cast<std::shared_ptr<Reader>*>(args.bound);
  if ((*reader)->handle->closed()) {
    return Throw(env, Status::Error(Code::kClosed, "the store is closed"));
  }
  return method(**reader, args);
}

// The first argument but one: so many bytes of the memory of keys.
bool ReadKey(const Reader& reader, const Args& args, Slice* key) {
  uint32_t size = 0;
  if (!args.Uint(1, &size)) return false;
  if (size > reader.keys.size) return Refuse(args.env, "a length");
  *key = size == 0 ? Slice() : Slice(reader.keys.data, size);
  return true;
}

// get(view, keyBytes, into, at, out?)
napi_value Get(const Reader& reader, const Args& args) {
  uint32_t view = 0;
  uint32_t at = 0;
  Slice key;
  MutableBytes into;
  if (!args.Uint(0, &view) || !ReadKey(reader, args, &key) || !args.Scratch(2, &into) ||
      !args.Uint(3, &at)) {
    return nullptr;
  }
  Result<std::unique_ptr<engine::ReadScope>> scope = reader.handle->Scope(view);
  if (!scope.ok()) return Throw(args.env, scope.status());
  table::Entry entry;
  const Result<bool> found = scope.value()->store().Get(key, scope.value()->at(), &entry);
  if (!found.ok()) return Throw(args.env, found.status());
  if (!found.value()) return MakeInt(args.env, kMissing);
  const int32_t size = static_cast<int32_t>(entry.value_bytes());
  if (at > into.size || entry.value_bytes() > into.size - at) {
    return MakeInt(args.env, -(size + 2));
  }
  const Status copied = table::CopyValue(entry, into.data + at);
  if (!copied.ok()) return Throw(args.env, copied);
  if (args.count() > 4) {
    uint64_t* out = nullptr;
    if (!args.Words(4, 2, &out)) return nullptr;
    const Epoch epoch = reader.handle->engine()->EpochOf(entry.seq);
    out[0] = entry.seq;
    out[1] = uint64_t{epoch.run} << 32 | epoch.term;
  }
  return MakeInt(args.env, size);
}

// has(view, keyBytes)
napi_value Has(const Reader& reader, const Args& args) {
  uint32_t view = 0;
  Slice key;
  if (!args.Uint(0, &view) || !ReadKey(reader, args, &key)) return nullptr;
  Result<std::unique_ptr<engine::ReadScope>> scope = reader.handle->Scope(view);
  if (!scope.ok()) return Throw(args.env, scope.status());
  table::Entry entry;
  const Result<bool> found = scope.value()->store().Get(key, scope.value()->at(), &entry);
  if (!found.ok()) return Throw(args.env, found.status());
  return MakeBool(args.env, found.value());
}

void DropShare(napi_env /*env*/, void* share, void* /*hint*/) {
  delete static_cast<std::shared_ptr<Reader>*>(share);
}

bool AddFunction(napi_env env, napi_value object, const char* name, napi_callback callback,
                 const std::shared_ptr<Reader>& reader) {
  napi_value function = nullptr;
  auto share = std::make_unique<std::shared_ptr<Reader>>(reader);
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, share.get(), &function) !=
          napi_ok ||
      napi_add_finalizer(env, function, share.get(), DropShare, nullptr, nullptr) != napi_ok) {
    return false;
  }
  (void)share.release();  // the finalizer's
  return napi_set_named_property(env, object, name, function) == napi_ok;
}

// makeReader(keys)
napi_value MakeReader(StoreHandle& store, const Args& args) {
  MutableBytes keys;
  if (!args.Scratch(0, &keys)) return nullptr;
  const auto reader = std::make_shared<Reader>(args.env, store.shared_from_this());
  reader->keys = keys;
  napi_value object = nullptr;
  if (napi_create_reference(args.env, args[0], 1, &reader->keys_ref) != napi_ok ||
      napi_create_object(args.env, &object) != napi_ok ||
      !AddFunction(args.env, object, "get", OnReader<Get>, reader) ||
      !AddFunction(args.env, object, "has", OnReader<Has>, reader)) {
    return nullptr;
  }
  return object;
}

// getMany(view, keys, count, into, lengths)
napi_value GetMany(StoreHandle& store, const Args& args) {
  uint32_t view = 0;
  uint32_t count = 0;
  MutableBytes keys;
  MutableBytes into;
  int32_t* lengths = nullptr;
  if (!args.Uint(0, &view) || !args.Scratch(1, &keys) || !args.Uint(2, &count) ||
      !args.Scratch(3, &into) || !args.Ints(4, count, &lengths)) {
    return nullptr;
  }
  Result<std::unique_ptr<engine::ReadScope>> scope = store.Scope(view);
  if (!scope.ok()) return Throw(args.env, scope.status());
  size_t from = 0;
  uint64_t needed = 0;
  for (uint32_t index = 0; index < count; ++index) {
    if (keys.size - from < 4 || keys.size - from - 4 < LoadU32(keys.data + from)) {
      Refuse(args.env, "the list of keys");
      return nullptr;
    }
    const Slice key(keys.data + from + 4, LoadU32(keys.data + from));
    from += 4 + key.size();
    table::Entry entry;
    lengths[index] = kMissing;
    const Result<bool> found = scope.value()->store().Get(key, scope.value()->at(), &entry);
    if (!found.ok()) return Throw(args.env, found.status());
    if (!found.value()) continue;
    const size_t size = entry.value_bytes();
    lengths[index] = static_cast<int32_t>(size);
    if (needed + size <= into.size) {
      const Status copied = table::CopyValue(entry, into.data + needed);
      if (!copied.ok()) return Throw(args.env, copied);
    }
    needed += size;
  }
  return MakeCount(args.env, needed);
}

// Walks one chunk of a range in either direction.
class Scanner {
 public:
  Scanner(Slice lower, Slice upper, bool bounded, bool reverse)
      : lower_(lower), upper_(upper), bounded_(bounded), reverse_(reverse) {}

  void Begin(table::Iterator* at) const {
    if (!reverse_) {
      at->Seek(lower_);
    } else if (!bounded_) {
      at->SeekToLast();
    } else {
      at->SeekForPrev(upper_);
      if (at->Valid() && at->entry().key == upper_) at->Prev();
    }
  }
  bool Inside(const table::Iterator& at) const {
    if (!at.Valid()) return false;
    return reverse_ ? !(at.entry().key < lower_) : !bounded_ || at.entry().key < upper_;
  }
  void Step(table::Iterator* at) const {
    if (reverse_) {
      at->Prev();
    } else {
      at->Next();
    }
  }

 private:
  Slice lower_;
  Slice upper_;
  bool bounded_;
  bool reverse_;
};

struct Scanned {
  uint32_t entries = 0;
  size_t bytes = 0;
  bool exhausted = false;
  size_t needed = 0;
};

Result<Scanned> FillChunk(const Scanner& scanner, table::Iterator* at, uint32_t limit,
                          MutableBytes into) {
  Scanned scanned;
  for (scanner.Begin(at); scanner.Inside(*at); scanner.Step(at)) {
    const table::Entry& entry = at->entry();
    const size_t bytes = kEntryHeaderBytes + entry.key.size() + entry.value_bytes();
    if (scanned.entries == limit) return scanned;
    if (bytes > into.size - scanned.bytes) {
      scanned.needed = scanned.entries == 0 ? bytes : 0;
      return scanned;
    }
    char* to = into.data + scanned.bytes;
    StoreU32(to, static_cast<uint32_t>(entry.key.size()));
    StoreU32(to + 4, static_cast<uint32_t>(entry.value_bytes()));
    to += kEntryHeaderBytes;
    if (!entry.key.empty()) std::memcpy(to, entry.key.data(), entry.key.size());
    to += entry.key.size();
    RETURN_IF_ERROR(table::CopyValue(entry, to));
    scanned.bytes += bytes;
    ++scanned.entries;
  }
  scanned.exhausted = true;
  return scanned;
}

// scan(view, bounds, lowerBytes, upperBytes, reverse, limit, into, out)
napi_value Scan(StoreHandle& store, const Args& args) {
  uint32_t view = 0;
  uint32_t lower_bytes = 0;
  int32_t upper_bytes = -1;
  uint32_t limit = 0;
  bool reverse = false;
  Slice bounds;
  MutableBytes into;
  int32_t* out = nullptr;
  if (!args.Uint(0, &view) || !args.Uint(2, &lower_bytes) || !args.Int(3, &upper_bytes) ||
      !args.Flag(4, &reverse) || !args.Uint(5, &limit) || !args.Scratch(6, &into) ||
      !args.Ints(7, 4, &out)) {
    return nullptr;
  }
  const bool bounded = upper_bytes >= 0;
  const size_t upper_size = bounded ? static_cast<size_t>(upper_bytes) : 0;
  if (into.size > INT32_MAX || !args.ScratchPrefix(1, lower_bytes + upper_size, &bounds)) {
    Refuse(args.env, "a buffer");
    return nullptr;
  }
  Result<std::unique_ptr<engine::ReadScope>> scope = store.Scope(view);
  if (!scope.ok()) return Throw(args.env, scope.status());
  const std::unique_ptr<table::Iterator> at =
      scope.value()->store().NewIterator(scope.value()->at());
  const Scanner scanner(bounds.Sub(0, lower_bytes), bounds.Sub(lower_bytes, upper_size), bounded,
                        reverse);
  const Result<Scanned> filled = FillChunk(scanner, at.get(), limit, into);
  if (!filled.ok()) return Throw(args.env, filled.status());
  if (!at->status().ok()) return Throw(args.env, at->status());
  const Scanned& scanned = filled.value();
  out[0] = static_cast<int32_t>(scanned.entries);
  out[1] = static_cast<int32_t>(scanned.bytes);
  out[2] = scanned.exhausted ? 1 : 0;
  out[3] = static_cast<int32_t>(scanned.needed);
  return nullptr;
}

napi_value OpenView(StoreHandle& store, const Args& args) {
  const engine::ViewInfo info = store.engine()->OpenView();
  const uint32_t number = store.AddView(info.id);
  ObjectBuilder object(args.env);
  object.Count("view", number).Set("position", MakePosition(args.env, info.position));
  return object.Done();
}

// openViewAt(seq)
napi_value OpenViewAt(StoreHandle& store, const Args& args) {
  uint64_t seq = 0;
  if (!ReadBig(args.env, args[0], "the sequence", &seq)) return nullptr;
  const Result<engine::ViewId> view = store.engine()->OpenViewAt(seq);
  if (!view.ok()) return Throw(args.env, view.status());
  return MakeCount(args.env, store.AddView(view.value()));
}

// viewPosition(view)
napi_value ViewPosition(StoreHandle& store, const Args& args) {
  uint32_t number = 0;
  if (!args.Uint(0, &number)) return nullptr;
  const Result<engine::ViewId> view = store.ViewOf(number);
  if (!view.ok()) return Throw(args.env, view.status());
  const Result<std::optional<Position>> position = store.engine()->ViewPosition(view.value());
  if (!position.ok()) return Throw(args.env, position.status());
  return position.value() ? MakePosition(args.env, *position.value()) : MakeNull(args.env);
}

napi_value ReleaseView(StoreHandle& store, const Args& args) {
  uint32_t view = 0;
  if (args.Uint(0, &view)) store.DropView(view);
  return nullptr;
}

napi_value MakeSum(napi_env env, const DigestSum& sum) {
  const uint64_t words[2] = {sum.low, sum.high};
  napi_value value = nullptr;
  napi_create_bigint_words(env, 0, 2, words, &value);
  return value;
}

// digestShard(view, shard)
napi_value DigestShard(StoreHandle& store, const Args& args) {
  using Part = table::Store::DigestPart;
  uint32_t view = 0;
  uint32_t shard = 0;
  if (!args.Uint(0, &view) || !args.Uint(1, &shard)) return nullptr;
  if (shard >= store.engine()->identity().shards) {
    Refuse(args.env, "the shard");
    return nullptr;
  }
  Result<engine::ViewId> id = store.ViewOf(view);
  if (!id.ok()) return Throw(args.env, id.status());
  return StartStoreJob<Part>(
      store, args.env, "gaplessdb digest",
      [view_id = id.value(), shard](engine::Engine* engine, Part* part) {
        Result<Part> sum = engine->DigestShard(view_id, shard);
        if (sum.ok()) *part = sum.value();
        return sum.status();
      },
      [](napi_env env, const Part& part) {
        ObjectBuilder object(env);
        object.Set("sum", MakeSum(env, part.sum)).Count("keys", part.keys);
        return object.Count("bytes", part.bytes).Done();
      });
}

}  // namespace

void AddReadMethods(std::vector<napi_property_descriptor>* methods) {
  methods->push_back(Method("makeReader", OnStore<MakeReader>));
  methods->push_back(Method("getMany", OnStore<GetMany>));
  methods->push_back(Method("scan", OnStore<Scan>));
  methods->push_back(Method("openView", OnStore<OpenView>));
  methods->push_back(Method("openViewAt", OnStore<OpenViewAt>));
  methods->push_back(Method("viewPosition", OnStore<ViewPosition>));
  methods->push_back(Method("releaseView", OnStore<ReleaseView>));
  methods->push_back(Method("digestShard", OnStore<DigestShard>));
}

}  // namespace gapless::napi
