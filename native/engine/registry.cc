// Process-wide registry, and the steps of an open that is the first one.
#include "engine/registry.h"

#include <map>
#include <tuple>

#include "engine/generation_builder.h"
#include "engine/rewind.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

struct Key {
  const io::FileSystem* fs = nullptr;
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const Key&) const = default;
};

struct Entry {
  std::shared_ptr<EngineImpl> engine;  // null while it opens or closes
  uint64_t references = 0;
};

struct Registry {
  Mutex mutex;
  CondVar changed;
  std::map<Key, Entry> entries GUARDED_BY(mutex);
};

// Never destroyed: an environment may release its engine while the process ends.
Registry& TheRegistry() {
  static Registry* const registry = new Registry();
  return *registry;
}

Status Conflict(const char* option) {
  return Status::Error(
             Code::kOptionsConflict,
             std::string("the store is open in this process with another value of ") + option)
      .With("option", option);
}

Status CompareOptions(const EngineImpl& engine, const Options& wanted) {
  const Options& open = engine.options();
  const auto differs = [&wanted](uint32_t bit, uint64_t a, uint64_t b) {
    return (wanted.named & bit) != 0 && a != b;
  };
  if (differs(kNamedDurability, static_cast<uint64_t>(open.durability),
              static_cast<uint64_t>(wanted.durability))) {
    return Conflict("durability");
  }
  struct Number {
    const char* name;
    uint32_t bit;
    uint64_t open;
    uint64_t wanted;
  };
  const Number numbers[] = {
      {"flushIntervalMs", kNamedFlushInterval, open.flush_interval_ms, wanted.flush_interval_ms},
      {"syncIntervalMs", kNamedSyncInterval, open.sync_interval_ms, wanted.sync_interval_ms},
      {"pendingBytes", kNamedPendingBytes, open.pending_bytes, wanted.pending_bytes},
      {"segmentBytes", kNamedSegmentBytes, open.segment_bytes, wanted.segment_bytes},
      {"logRetainBytes", kNamedLogRetainBytes, open.log_retain_bytes, wanted.log_retain_bytes},
      {"viewMaxAgeMs", kNamedViewMaxAge, open.view_max_age_ms, wanted.view_max_age_ms},
      {"holdMaxBytes", kNamedHoldMaxBytes, open.hold_max_bytes, wanted.hold_max_bytes},
      {"snapshotHoldMs", kNamedSnapshotHold, open.snapshot_hold_ms, wanted.snapshot_hold_ms},
      {"slotMaxBytes", kNamedSlotMaxBytes, open.slot_max_bytes, wanted.slot_max_bytes},
      {"clockMaxAheadMs", kNamedClockMaxAhead, open.clock_max_ahead_ms, wanted.clock_max_ahead_ms},
      {"memtableBytes", kNamedMemtableBytes, open.memtable_bytes, wanted.memtable_bytes},
      {"cacheBytes", kNamedCacheBytes, open.cache_bytes, wanted.cache_bytes},
      {"compression", kNamedCompression, static_cast<uint64_t>(open.compression),
       static_cast<uint64_t>(wanted.compression)},
      {"mergeRateBytes", kNamedMergeRate, open.merge_rate_bytes, wanted.merge_rate_bytes},
      {"readOnly", kNamedReadOnly, open.read_only ? 1u : 0u, wanted.read_only ? 1u : 0u},
  };
  for (const Number& number : numbers) {
    if (differs(number.bit, number.open, number.wanted)) return Conflict(number.name);
  }
  if (wanted.as_replica && engine.role() != Role::kReplica) return Conflict("asReplica");
  if (wanted.new_node_id) return Conflict("newNodeId");
  if (wanted.error_if_exists) {
    return Status::Error(Code::kExists, "the store exists").WithFile(engine.path(), -1);
  }
  return Status::Ok();
}

Status NotAStore(const std::string& path) {
  return Status::Error(Code::kNotAStore, "no store here").WithFile(path, -1);
}

// Before the lock, so that no LOCK file appears where none of ours belongs.
Status MakeRoom(const std::string& path, const Options& options) {
  const Result<DirectoryKind> kind = InspectDirectory(options.fs, path);
  if (!kind.ok()) return kind.status();
  if (kind.value() == DirectoryKind::kStore) return Status::Ok();
  if (options.read_only || !options.create_if_missing) return NotAStore(path);
  return kind.value() == DirectoryKind::kMissing ? CreateDirectories(options.fs, path)
                                                 : Status::Ok();
}

Status CreateIfNeeded(const std::string& path, const Options& options) {
  const Result<DirectoryKind> kind = InspectDirectory(options.fs, path);
  if (!kind.ok()) return kind.status();
  if (kind.value() == DirectoryKind::kStore) {
    if (!options.error_if_exists) return Status::Ok();
    return Status::Error(Code::kExists, "the store exists").WithFile(path, -1);
  }
  if (options.read_only || !options.create_if_missing) return NotAStore(path);
  const Status created = CreateStore(options, path, MakeNewStore(options));
  return created.ok() ? created : created.Wrap("create the store");
}

// Changes of the directory itself that an open was asked for.
Status ApplyOpenFlags(const std::string& path, const Options& options, StoreFiles* files) {
  if (options.read_only) return Status::Ok();
  if (options.new_node_id) {
    options.random->Fill(files->identity.node.bytes.data(), 16);
    RETURN_IF_ERROR(PublishIdentity(options.fs, path, files->identity));
  }
  if (options.as_replica && files->state->state().role != Role::kReplica) {
    NodeState next = files->state->state();
    next.role = Role::kReplica;
    RETURN_IF_ERROR(files->state->Update(next));
  }
  return Status::Ok();
}

Status EndRewind(const std::optional<Divergence>& rewound, StoreFiles* files,
                 RecoveryReport* report) {
  if (!rewound) return Status::Ok();
  report->rewound = rewound;
  return files->state->Update(WithoutRewind(files->state->state()));
}

Result<std::shared_ptr<EngineImpl>> OpenFirst(const std::string& path, const Options& options) {
  const auto mode = options.read_only ? io::LockMode::kShared : io::LockMode::kExclusive;
  Result<std::unique_ptr<io::FileLock>> lock = LockDirectory(options.fs, options.clock, path, mode);
  if (!lock.ok()) return lock.status();
  RETURN_IF_ERROR(CreateIfNeeded(path, options));
  Result<StoreFiles> files = ReadStoreFiles(options.fs, path, options.read_only);
  if (!files.ok()) return files.status();
  std::optional<Divergence> rewound;
  if (files.value().state->state().intent == Intent::kRewind && !options.read_only) {
    Result<Divergence> continued = ContinueRewind(options.fs, options.clock, path, &files.value());
    if (!continued.ok()) return continued.status();
    rewound = std::move(continued.value());
  }
  Result<Recovered> recovered = RecoverGeneration(options, path, files.value());
  if (!recovered.ok()) return recovered.status();
  // Only a directory that can be served is changed.
  Status flags = EndRewind(rewound, &files.value(), &recovered.value().report);
  if (flags.ok()) flags = ApplyOpenFlags(path, options, &files.value());
  if (flags.ok() && !options.read_only) flags = SettleSwitch(options.fs, path, &files.value());
  if (flags.ok() && !options.read_only) {
    flags = RemoveOlderGenerations(options.fs, path, files.value().generation);
  }
  if (!flags.ok()) {
    (void)recovered.value().generation->log->Close([](const Position&) { return Status::Ok(); });
    return flags;
  }
  auto engine =
      std::make_shared<EngineImpl>(path, options, std::move(lock.value()), std::move(files.value()),
                                   std::move(recovered.value()));
  const Status started = engine->Start();
  if (!started.ok()) {
    (void)engine->Close();
    return started;
  }
  return engine;
}

constexpr uint64_t kMemtableBytesMin = 64 << 10;

Result<Options> Complete(Options options) {
  if (options.fs == nullptr) options.fs = io::PosixFileSystem();
  if (options.clock == nullptr) options.clock = io::SystemClock();
  if (options.random == nullptr) options.random = io::SystemRandom();
  if (options.shards < 1 || options.shards > kShardsMax) {
    return Status::Error(Code::kUsage, "shards must be 1 to 64");
  }
  if (options.memtable_bytes < kMemtableBytesMin) {
    return Status::Error(Code::kUsage, "memtableBytes must be at least 65536");
  }
  if (options.read_only && (options.as_replica || options.new_node_id)) {
    return Status::Error(Code::kUsage, "a read-only open changes nothing");
  }
  return options;
}

}  // namespace

Result<std::shared_ptr<Engine>> Engine::Open(const std::string& path, const Options& wanted) {
  const Result<Options> completed = Complete(wanted);
  if (!completed.ok()) return completed.status();
  const Options& options = completed.value();
  RETURN_IF_ERROR(MakeRoom(path, options));
  const Result<io::FileIdentity> place = options.fs->Identify(path);
  if (!place.ok()) return place.status();
  const Key key{options.fs, place.value().device, place.value().inode};
  Registry& registry = TheRegistry();
  {
    const MutexLock lock(&registry.mutex);
    while (true) {
      const auto at = registry.entries.find(key);
      if (at == registry.entries.end()) break;
      if (at->second.engine != nullptr) {
        RETURN_IF_ERROR(CompareOptions(*at->second.engine, options));
        ++at->second.references;
        return std::shared_ptr<Engine>(at->second.engine);
      }
      registry.changed.Wait(&registry.mutex);
    }
    registry.entries[key] = Entry{};
  }
  Result<std::shared_ptr<EngineImpl>> engine = OpenFirst(path, options);
  const MutexLock lock(&registry.mutex);
  registry.changed.NotifyAll();
  if (!engine.ok()) {
    registry.entries.erase(key);
    return engine.status();
  }
  registry.entries[key] = Entry{engine.value(), 1};
  return std::shared_ptr<Engine>(engine.value());
}

Status ReleaseEngine(EngineImpl* engine) {
  Registry& registry = TheRegistry();
  std::shared_ptr<EngineImpl> last;
  Key key;
  {
    const MutexLock lock(&registry.mutex);
    for (auto& [at, entry] : registry.entries) {
      if (entry.engine.get() != engine) continue;
      if (--entry.references != 0) return Status::Ok();
      last = std::move(entry.engine);
      entry.engine = nullptr;
      key = at;
      break;
    }
  }
  if (last == nullptr) return Status::Error(Code::kClosed, "the store is closed already");
  const Status closed = last->Close();
  const MutexLock lock(&registry.mutex);
  registry.entries.erase(key);
  registry.changed.NotifyAll();
  return closed;
}

}  // namespace gapless::engine
