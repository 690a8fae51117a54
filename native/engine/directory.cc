// The lock, inspection and creation of a data directory.
#include "engine/directory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/coding.h"
#include "engine/current.h"
#include "io/file_names.h"
#include "log/format.h"

namespace gapless::engine {
namespace {

constexpr uint64_t kLockBytesMax = 4096;
constexpr uint64_t kFirstGeneration = 1;

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "unknown";
  std::string host(name);
  // Goes into JSON as it is: a host name holds nothing that needs escaping.
  std::erase_if(host, [](char c) { return c < ' ' || c > '~' || c == '"' || c == '\\'; });
  return host;
}

std::string LockContent(io::Clock* clock) {
  return "{\"pid\":" + std::to_string(getpid()) + ",\"host\":\"" + HostName() +
         "\",\"time\":" + std::to_string(clock->WallMs()) + "}\n";
}

Status WriteLockContent(io::FileSystem* fs, const std::string& path, const std::string& content) {
  Result<std::unique_ptr<io::File>> file = fs->Open(path, io::OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
  RETURN_IF_ERROR(file.value()->Truncate(0));
  return file.value()->WriteAt(0, Slice(content));
}

// The number or text behind `"name":` in our own one-line JSON; empty if it is not there.
std::string LockField(const std::string& content, const std::string& name) {
  const std::string head = "\"" + name + "\":";
  const size_t at = content.find(head);
  if (at == std::string::npos) return "";
  size_t from = at + head.size();
  const bool text = from < content.size() && content[from] == '"';
  if (text) ++from;
  const size_t to = content.find_first_of(text ? "\"" : ",}", from);
  return to == std::string::npos ? "" : content.substr(from, to - from);
}

Status LockedBy(io::FileSystem* fs, const std::string& lock_path, const Status& refused) {
  const Result<std::string> content = io::ReadWholeFile(fs, lock_path, kLockBytesMax);
  const std::string pid = content.ok() ? LockField(content.value(), "pid") : "";
  const std::string host = content.ok() ? LockField(content.value(), "host") : "";
  return Status::Error(Code::kLocked,
                       "the directory is in use by process " + (pid.empty() ? "?" : pid) + " on " +
                           (host.empty() ? "?" : host) + "; use its status address instead")
      .WithFile(refused.file().empty() ? lock_path : refused.file(), -1)
      .With("pid", static_cast<int64_t>(std::strtoll(pid.c_str(), nullptr, 10)))
      .With("host", host);
}

struct Contents {
  bool any = false;  // something besides LOCK
  bool foreign = false;
  bool identity = false;
  bool current = false;
  bool state = false;
  std::vector<std::string> generations;
};

Result<Contents> ListContents(io::FileSystem* fs, const std::string& path) {
  Result<std::vector<std::string>> names = fs->List(path);
  if (!names.ok()) return names.status();
  Contents contents;
  for (const std::string& name : names.value()) {
    if (name == io::kLockFile) continue;
    contents.any = true;
    uint64_t generation = 0;
    if (name == io::kIdentityFile) contents.identity = true;
    if (name == io::kCurrentFile) contents.current = true;
    if (name == io::kStateFile) contents.state = true;
    if (io::ParseGenerationName(name, &generation)) contents.generations.push_back(name);
    if (!io::IsDataDirectoryName(name)) contents.foreign = true;
  }
  return contents;
}

// A segment that holds more than its header and the space allocated behind it.
Result<bool> SegmentHoldsBytes(io::FileSystem* fs, const std::string& path) {
  Result<std::unique_ptr<io::File>> file = fs->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  std::string bytes(64 * 1024, '\0');
  size_t got = 0;
  RETURN_IF_ERROR(file.value()->ReadAt(log::kSegmentHeaderBytes, bytes.data(), bytes.size(), &got));
  for (size_t at = 0; at + 8 <= got; at += 8) {
    if (LoadU32(bytes.data() + at) == log::kMarkMagic) {
      at += log::kMarkBytes - 8;
      continue;
    }
    if (LoadU64(bytes.data() + at) != 0) return true;
  }
  return false;
}

// Was anything ever stored in this generation? Its flows or its records say so.
Result<bool> GenerationWasUsed(io::FileSystem* fs, const std::string& generation) {
  const std::string runs = io::JoinPath(generation, io::kRunsDirectory);
  const std::string log = io::JoinPath(generation, io::kLogDirectory);
  for (const std::string& directory : {runs, log}) {
    const Result<bool> there = fs->IsDirectory(directory);
    const Result<bool> exists = fs->Exists(directory);
    if (!exists.ok()) return exists.status();
    if (!exists.value()) continue;
    if (!there.ok()) return there.status();
    const Result<std::vector<std::string>> names = fs->List(directory);
    if (!names.ok()) return names.status();
    if (directory == runs && !names.value().empty()) return true;
    for (const std::string& name : names.value()) {
      uint64_t offset = 0;
      if (!io::ParseSegmentName(name, &offset)) continue;
      if (offset != 0) return true;
      const Result<bool> holds = SegmentHoldsBytes(fs, io::JoinPath(directory, name));
      if (!holds.ok() || holds.value()) return holds;
    }
  }
  return false;
}

Status MissingFile(const std::string& path, const char* name) {
  return Status::Corrupt(std::string(name) + " is missing in a directory that holds data",
                         io::JoinPath(path, name), 0);
}

}  // namespace

Result<std::unique_ptr<io::FileLock>> LockDirectory(io::FileSystem* fs, io::Clock* clock,
                                                    const std::string& path, io::LockMode mode) {
  const std::string lock_path = io::JoinPath(path, io::kLockFile);
  Result<std::unique_ptr<io::FileLock>> lock = fs->Lock(lock_path, mode);
  if (!lock.ok()) {
    if (!lock.status().Is(Code::kLocked)) return lock.status();
    return LockedBy(fs, lock_path, lock.status());
  }
  if (mode == io::LockMode::kExclusive) {
    const Status written = WriteLockContent(fs, lock_path, LockContent(clock));
    if (!written.ok()) return written.Wrap("write the lock");
  }
  return lock;
}

Result<DirectoryKind> InspectDirectory(io::FileSystem* fs, const std::string& path) {
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return DirectoryKind::kMissing;
  const Result<bool> directory = fs->IsDirectory(path);
  if (!directory.ok()) return directory.status();
  if (!directory.value()) {
    return Status::Error(Code::kNotAStore, "not a directory").WithFile(path, -1);
  }
  const Result<Contents> listed = ListContents(fs, path);
  if (!listed.ok()) return listed.status();
  const Contents& contents = listed.value();
  if (contents.current && contents.identity) return DirectoryKind::kStore;
  if (!contents.any) return DirectoryKind::kEmpty;
  if (contents.current) return MissingFile(path, io::kIdentityFile);
  if (contents.foreign) {
    return Status::Error(Code::kNotAStore, "the directory holds files that are not ours")
        .WithFile(path, -1);
  }
  for (const std::string& generation : contents.generations) {
    const Result<bool> used = GenerationWasUsed(fs, io::JoinPath(path, generation));
    if (!used.ok()) return used.status();
    if (used.value()) {
      return MissingFile(path, contents.identity ? io::kCurrentFile : io::kIdentityFile);
    }
  }
  if (contents.identity && contents.state) {
    // A store that began an epoch, or heard of a term, is no unfinished creation.
    const auto state = StateFile::Open(fs, path, true);
    if (!state.ok()) return state.status();
    if (state.value()->state().counter != 0) return MissingFile(path, io::kCurrentFile);
  }
  return DirectoryKind::kUnfinished;
}

Status CreateDirectories(io::FileSystem* fs, const std::string& path) {
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  if (exists.value() || path.empty()) return Status::Ok();
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const size_t slash = trimmed.rfind('/');
  std::string parent = slash == std::string::npos ? "." : trimmed.substr(0, slash);
  if (slash == 0) parent = "/";
  if (parent != ".") RETURN_IF_ERROR(CreateDirectories(fs, parent));
  const Status created = fs->CreateDirectory(trimmed);
  if (!created.ok()) {
    // Somebody else may have made it in between.
    const Result<bool> now = fs->Exists(trimmed);
    if (!now.ok() || !now.value()) return created;
  }
  return fs->SyncDirectory(parent);
}

NewStore MakeNewStore(const Options& options) {
  NewStore store;
  store.identity.shards = options.shards;
  options.random->Fill(store.identity.node.bytes.data(), 16);
  options.random->Fill(store.identity.secret.data(), 16);
  store.identity.created_ms = options.clock->WallMs();
  store.state.generation = kFirstGeneration;
  if (options.as_replica) {
    store.state.role = Role::kReplica;
  } else {
    options.random->Fill(store.identity.cluster.bytes.data(), 16);
  }
  return store;
}

Status CreateStore(const Options& options, const std::string& path, const NewStore& store) {
  io::FileSystem* const fs = options.fs;
  const Result<std::vector<std::string>> names = fs->List(path);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (name == io::kLockFile) continue;
    const std::string child = io::JoinPath(path, name);
    const Result<bool> directory = fs->IsDirectory(child);
    if (!directory.ok()) return directory.status();
    RETURN_IF_ERROR(directory.value() ? io::RemoveTree(fs, child) : fs->Remove(child));
  }
  // What an unfinished creation left must not come back beside the new one.
  RETURN_IF_ERROR(fs->SyncDirectory(path));
  RETURN_IF_ERROR(CreateEmptyGeneration(options, path, store.identity, kFirstGeneration));
  RETURN_IF_ERROR(StateFile::Create(fs, path, store.state));
  RETURN_IF_ERROR(PublishIdentity(fs, path, store.identity));
  return PublishCurrent(fs, path, kFirstGeneration);
}

Status CreateEmptyGeneration(const Options& options, const std::string& path,
                             const IdentityFile& identity, uint64_t generation) {
  io::FileSystem* const fs = options.fs;
  const std::string directory = GenerationPath(path, generation);
  const Result<bool> exists = fs->Exists(directory);
  if (!exists.ok()) return exists.status();
  if (exists.value()) RETURN_IF_ERROR(io::RemoveTree(fs, directory));
  RETURN_IF_ERROR(fs->CreateDirectory(directory));
  RETURN_IF_ERROR(fs->CreateDirectory(io::JoinPath(directory, io::kLogDirectory)));
  RETURN_IF_ERROR(fs->CreateDirectory(io::JoinPath(directory, io::kRunsDirectory)));
  RETURN_IF_ERROR(log::Log::Create(MakeLogOptions(options, directory, identity), Position{}, 0));
  Manifest manifest;
  manifest.generation = generation;
  manifest.number = 1;
  manifest.cluster = identity.cluster;
  RETURN_IF_ERROR(PublishManifest(fs, directory, manifest));
  RETURN_IF_ERROR(fs->SyncDirectory(directory));
  return fs->SyncDirectory(path);
}

Result<IdentityFile> ReadIdentity(io::FileSystem* fs, const std::string& path) {
  const std::string file = io::JoinPath(path, io::kIdentityFile);
  const Result<std::string> bytes = io::ReadWholeFile(fs, file, kIdentityBytes);
  if (!bytes.ok()) return bytes.status();
  return DecodeIdentity(bytes.value(), file);
}

Status PublishIdentity(io::FileSystem* fs, const std::string& path, const IdentityFile& identity) {
  return io::PublishFile(fs, path, io::kIdentityFile, EncodeIdentity(identity));
}

std::string GenerationPath(const std::string& path, uint64_t generation) {
  return io::JoinPath(path, io::GenerationName(generation));
}

table::RunOptions MakeRunOptions(const Options& options, const std::string& generation_path,
                                 const ClusterId& cluster) {
  table::RunOptions run;
  run.fs = options.fs;
  run.directory = io::JoinPath(generation_path, io::kRunsDirectory);
  run.cluster = cluster.bytes;
  run.compression = options.compression;
  run.value_file_bytes_min = options.value_file_bytes_min;
  return run;
}

log::LogOptions MakeLogOptions(const Options& options, const std::string& generation_path,
                               const IdentityFile& identity) {
  log::LogOptions log;
  log.fs = options.fs;
  log.clock = options.clock;
  log.directory = io::JoinPath(generation_path, io::kLogDirectory);
  log.cluster = identity.cluster;
  log.secret = identity.secret;
  log.segment_bytes = options.segment_bytes;
  log.retain_bytes = options.log_retain_bytes;
  log.pending_bytes = options.pending_bytes;
  log.flush_interval_ms = options.flush_interval_ms;
  log.sync_interval_ms = options.sync_interval_ms;
  log.read_only = options.read_only;
  return log;
}

}  // namespace gapless::engine
