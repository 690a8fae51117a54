// The process-wide table of engines. See engine_ref.h.
#include "napi/engine_ref.h"

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace gapless::napi {

struct EngineEntry {
  std::shared_ptr<engine::Engine> engine;
  uint64_t token = 0;
  std::optional<io::FileIdentity> directory;
  RingSink ring;
  uint32_t references = 0;                  // guarded by the table's mutex
  std::map<uint64_t, log::MetaState> pins;  // guarded by the table's mutex
};

namespace {

struct Table {
  Mutex mutex;
  std::vector<EngineEntry*> entries GUARDED_BY(mutex);
  uint64_t last_token GUARDED_BY(mutex) = 0;
};

Table* TheTable() {
  static Table* const table = new Table();
  return table;
}

std::optional<io::FileIdentity> Identify(const std::string& path) {
  Result<io::FileIdentity> identity = io::PosixFileSystem()->Identify(path);
  if (!identity.ok()) return std::nullopt;  // not there yet: nothing to join
  return identity.value();
}

bool Same(const std::optional<io::FileIdentity>& a, const std::optional<io::FileIdentity>& b) {
  return a.has_value() && b.has_value() && a->device == b->device && a->inode == b->inode;
}

// Options that were not named follow the engine that is open already.
engine::Options Inherited(const std::optional<io::FileIdentity>& directory) {
  const engine::Options defaults;
  Table* const table = TheTable();
  MutexLock lock(&table->mutex);
  for (const EngineEntry* entry : table->entries) {
    if (!Same(entry->directory, directory)) continue;
    engine::Options options = entry->engine->options();
    options.create_if_missing = defaults.create_if_missing;
    options.error_if_exists = defaults.error_if_exists;
    options.new_node_id = defaults.new_node_id;
    return options;
  }
  return defaults;
}

}  // namespace

Result<EngineRef> EngineRef::Open(const std::string& path,
                                  const std::function<void(engine::Options*)>& name_options) {
  engine::Options options = Inherited(Identify(path));
  name_options(&options);
  Result<std::shared_ptr<engine::Engine>> opened = engine::Engine::Open(path, options);
  if (!opened.ok()) return opened.status();
  Table* const table = TheTable();
  EngineEntry* joined = nullptr;
  {
    MutexLock lock(&table->mutex);
    for (EngineEntry* entry : table->entries) {
      if (entry->engine == opened.value()) joined = entry;
    }
    if (joined == nullptr) {
      EngineEntry* const entry = new EngineEntry();
      entry->engine = opened.value();
      entry->token = ++table->last_token;
      entry->directory = Identify(path);
      entry->references = 1;
      table->entries.push_back(entry);
      return EngineRef(entry);
    }
    ++joined->references;
  }
  // One engine, one entry: the entry's own open keeps it, this one is given back.
  EngineRef ref(joined);
  RETURN_IF_ERROR(opened.value()->Release());
  return ref;
}

Result<EngineRef> EngineRef::Attach(uint64_t token) {
  Table* const table = TheTable();
  MutexLock lock(&table->mutex);
  for (EngineEntry* entry : table->entries) {
    if (entry->token != token) continue;
    ++entry->references;
    return EngineRef(entry);
  }
  return Status::Error(Code::kNotOpen, "the store is not open in this process any more");
}

EngineRef::EngineRef(const EngineRef& other) : entry_(other.entry_) {
  if (entry_ == nullptr) return;
  MutexLock lock(&TheTable()->mutex);
  ++entry_->references;
}

EngineRef::EngineRef(EngineRef&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}

EngineRef& EngineRef::operator=(EngineRef other) noexcept {
  std::swap(entry_, other.entry_);
  return *this;
}

EngineRef::~EngineRef() {
  // Nobody is left to hear of it; a close that failed leaves what recovery handles.
  const Status ignored = Release();
  (void)ignored;
}

engine::Engine* EngineRef::get() const { return entry_->engine.get(); }
uint64_t EngineRef::token() const { return entry_->token; }
RingSink* EngineRef::ring() const { return &entry_->ring; }

void EngineRef::KeepPinned(uint64_t pin, const log::MetaState& meta) const {
  MutexLock lock(&TheTable()->mutex);
  entry_->pins[pin] = meta;
}

void EngineRef::ForgetPinned(uint64_t pin) const {
  MutexLock lock(&TheTable()->mutex);
  entry_->pins.erase(pin);
}

Result<log::MetaState> EngineRef::PinnedMeta(uint64_t pin) const {
  MutexLock lock(&TheTable()->mutex);
  const auto found = entry_->pins.find(pin);
  if (found == entry_->pins.end()) return Status::Error(Code::kEvicted, "the pin was released");
  return found->second;
}

Status EngineRef::Release() {
  EngineEntry* const entry = std::exchange(entry_, nullptr);
  if (entry == nullptr) return Status::Ok();
  Table* const table = TheTable();
  {
    MutexLock lock(&table->mutex);
    if (--entry->references > 0) return Status::Ok();
    std::erase(table->entries, entry);
    // Under the mutex: a new entry for the same engine must not have its sink taken off by this
    // one.
    entry->engine->SetSink(nullptr);
  }
  const Status closed = entry->engine->Release();
  delete entry;
  return closed;
}

}  // namespace gapless::napi
