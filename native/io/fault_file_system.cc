// The calls of FaultFileSystem: names, rules, crash. Files are in fault_file.cc, what survives and
// damage in fault_images.cc.
#include "io/fault_file_system.h"

#include <algorithm>
#include <cerrno>

#include "io/fault_file.h"

namespace gapless::io {

using fault::Node;
using fault::NodePtr;

namespace {

constexpr uint64_t kUnlimitedFreeBytes = uint64_t{1} << 40;

const char* KindName(OperationKind kind) {
  switch (kind) {
    case OperationKind::kWrite:
      return "write";
    case OperationKind::kSyncData:
      return "sync data";
    case OperationKind::kSync:
      return "sync";
    case OperationKind::kTruncate:
      return "truncate";
    case OperationKind::kAllocate:
      return "allocate";
    case OperationKind::kCreate:
      return "create";
    case OperationKind::kRename:
      return "rename";
    case OperationKind::kRemove:
      return "remove";
    case OperationKind::kSyncDirectory:
      return "sync directory";
    case OperationKind::kMakeDirectory:
      return "mkdir";
    case OperationKind::kRemoveDirectory:
      return "rmdir";
    case OperationKind::kRead:
      return "read";
    case OperationKind::kOpen:
      return "open";
    case OperationKind::kLookup:
      return "lookup";
  }
  return "unknown";
}

std::vector<std::string> SplitPath(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (!part.empty() && part != ".") parts.push_back(part);
    at = end + 1;
  }
  return parts;
}

}  // namespace

std::string Operation::ToString() const {
  std::string text = std::to_string(number) + " " + KindName(kind) + " " + path;
  if (offset != 0 || size != 0) {
    text += " at " + std::to_string(offset) + " size " + std::to_string(size);
  }
  return text;
}

FaultFileSystem::FaultFileSystem() {
  const MutexLock lock(&mutex_);
  root_ = std::make_shared<Node>();
  root_->id = 1;
  root_->directory = true;
}

// ---- Rules and crash ----

FaultFileSystem::Verdict FaultFileSystem::Begin(const Operation& operation) {
  Verdict verdict;
  const auto kind = static_cast<uint32_t>(operation.kind);
  const bool mutating = (kind & kMutatingOperations) != 0;
  if (mutating && operations_ >= crash_after_) crashed_ = true;
  if (crashed_) {
    verdict.status = Status::FromErrno(EIO, "crashed", operation.path);
    verdict.runs = false;
    verdict.bytes = 0;
    return verdict;
  }
  if (mutating) {
    operations_++;
    trace_.push_back(operation);
    trace_.back().number = operations_;
  }
  for (ActiveRule& active : rules_) {
    const FaultRule& rule = active.rule;
    if ((rule.kinds & kind) == 0 || operations_ < rule.first_operation) continue;
    if (operation.path.find(rule.path_contains) == std::string::npos) continue;
    active.matched++;
    if (active.matched <= rule.skip || active.matched - rule.skip > rule.times) continue;
    struck_++;
    verdict.status = Status::FromErrno(
        rule.sys_errno, std::string(KindName(operation.kind)) + " (injected)", operation.path);
    verdict.bytes = rule.takes_effect ? UINT64_MAX : rule.short_bytes;
    verdict.runs = rule.takes_effect || rule.short_bytes > 0;
    return verdict;
  }
  return verdict;
}

void FaultFileSystem::Observe(OperationKind kind, const std::string& path, uint64_t offset,
                              uint64_t size) {
  if (!observer_) return;
  Operation operation{0, kind, path, offset, size};
  {
    const MutexLock lock(&mutex_);
    if (crashed_ || operations_ >= crash_after_) return;
    operation.number = operations_ + 1;
  }
  observer_(operation);
}

void FaultFileSystem::AddRule(FaultRule rule) {
  const MutexLock lock(&mutex_);
  rules_.push_back(ActiveRule{std::move(rule), 0});
}

void FaultFileSystem::ClearRules() {
  const MutexLock lock(&mutex_);
  rules_.clear();
}

uint64_t FaultFileSystem::FaultsStruck() const {
  const MutexLock lock(&mutex_);
  return struck_;
}

void FaultFileSystem::CrashAfter(uint64_t n) {
  const MutexLock lock(&mutex_);
  crash_after_ = n;
}

void FaultFileSystem::CrashNow() {
  const MutexLock lock(&mutex_);
  crashed_ = true;
}

bool FaultFileSystem::crashed() const {
  const MutexLock lock(&mutex_);
  return crashed_;
}

void FaultFileSystem::SetCapacity(uint64_t bytes) {
  const MutexLock lock(&mutex_);
  capacity_pages_ = bytes == kForever ? kForever : bytes / fault::kPageBytes;
}

uint64_t FaultFileSystem::UsedBytes() const {
  const MutexLock lock(&mutex_);
  return used_pages_ * fault::kPageBytes;
}

uint64_t FaultFileSystem::operations() const {
  const MutexLock lock(&mutex_);
  return operations_;
}

std::vector<Operation> FaultFileSystem::Trace() const {
  const MutexLock lock(&mutex_);
  return trace_;
}

void FaultFileSystem::SetObserver(std::function<void(const Operation&)> observer) {
  observer_ = std::move(observer);
}

// ---- Names ----

Status FaultFileSystem::Walk(const std::string& path, NodePtr* node) const {
  NodePtr at = root_;
  *node = nullptr;
  for (const std::string& part : SplitPath(path)) {
    if (!at->directory) return Status::FromErrno(ENOTDIR, "look up", path);
    const auto found = at->entries.find(part);
    if (found == at->entries.end()) return Status::Ok();
    at = found->second;
  }
  *node = at;
  return Status::Ok();
}

Status FaultFileSystem::WalkParent(const std::string& path, NodePtr* parent,
                                   std::string* name) const {
  std::vector<std::string> parts = SplitPath(path);
  if (parts.empty()) return Status::FromErrno(EBUSY, "the root", path);
  *name = parts.back();
  parts.pop_back();
  std::string above = "/";
  for (const std::string& part : parts) above += part + "/";
  RETURN_IF_ERROR(Walk(above, parent));
  if (*parent == nullptr) return Status::FromErrno(ENOENT, "look up", path);
  if (!(*parent)->directory) return Status::FromErrno(ENOTDIR, "look up", path);
  return Status::Ok();
}

Status FaultFileSystem::Find(const std::string& path, NodePtr* parent, std::string* name,
                             NodePtr* node) const {
  RETURN_IF_ERROR(WalkParent(path, parent, name));
  const auto found = (*parent)->entries.find(*name);
  *node = found == (*parent)->entries.end() ? nullptr : found->second;
  return Status::Ok();
}

NodePtr FaultFileSystem::NewNode(bool directory) {
  auto node = std::make_shared<Node>();
  node->id = next_id_++;
  node->directory = directory;
  if (!directory) {
    node->live = std::make_shared<fault::Content>();
    node->durable = std::make_shared<fault::Content>();
    node->live_private = true;
    node->durable_private = true;
  }
  return node;
}

void FaultFileSystem::Link(const NodePtr& parent, const std::string& name, const NodePtr& node) {
  parent->entries[name] = node;
  node->links++;
}

void FaultFileSystem::Unlink(const NodePtr& parent, const std::string& name) {
  const auto found = parent->entries.find(name);
  const NodePtr node = found->second;
  parent->entries.erase(found);
  node->links--;
  ReleaseIfUnused(node);
}

void FaultFileSystem::ReleaseIfUnused(const NodePtr& node) {
  if (node->links > 0 || node->handles > 0) return;
  used_pages_ -= node->used_pages;
  node->used_pages = 0;
}

void FaultFileSystem::AddEntryChange(NodePtr node, NodePtr from, std::string from_name, NodePtr to,
                                     std::string to_name) {
  fault::Change change;
  change.kind = fault::ChangeKind::kEntry;
  change.operation = operations_;
  change.node = std::move(node);
  change.from = std::move(from);
  change.from_name = std::move(from_name);
  change.to = std::move(to);
  change.to_name = std::move(to_name);
  changes_.push_back(std::move(change));
}

Status FaultFileSystem::CreateFile(const std::string& path, NodePtr* node) {
  NodePtr parent;
  NodePtr existing;
  std::string name;
  RETURN_IF_ERROR(Find(path, &parent, &name, &existing));
  if (existing != nullptr) return Status::FromErrno(EEXIST, "create", path);
  *node = NewNode(false);
  Link(parent, name, *node);
  AddEntryChange(*node, nullptr, "", parent, name);
  return Status::Ok();
}

Result<std::unique_ptr<File>> FaultFileSystem::Open(const std::string& path, OpenMode mode) {
  const bool create = mode == OpenMode::kCreateNew;
  const OperationKind kind = create ? OperationKind::kCreate : OperationKind::kOpen;
  if (create) Observe(kind, path, 0, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, kind, path, 0, 0});
  if (!verdict.runs) return verdict.status;
  NodePtr node;
  if (create) {
    RETURN_IF_ERROR(CreateFile(path, &node));
  } else {
    RETURN_IF_ERROR(Walk(path, &node));
    if (node == nullptr) return Status::FromErrno(ENOENT, "open", path);
    if (node->directory) return Status::FromErrno(EISDIR, "open", path);
  }
  if (!verdict.status.ok()) return verdict.status;
  node->handles++;
  return std::unique_ptr<File>(std::make_unique<FaultFile>(this, node, path, mode));
}

Status FaultFileSystem::CreateDirectory(const std::string& path) {
  Observe(OperationKind::kMakeDirectory, path, 0, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kMakeDirectory, path, 0, 0});
  if (!verdict.runs) return verdict.status;
  NodePtr parent;
  NodePtr existing;
  std::string name;
  RETURN_IF_ERROR(Find(path, &parent, &name, &existing));
  if (existing != nullptr) return Status::FromErrno(EEXIST, "mkdir", path);
  const NodePtr node = NewNode(true);
  Link(parent, name, node);
  AddEntryChange(node, nullptr, "", parent, name);
  return verdict.status;
}

Status FaultFileSystem::CheckRenameTarget(const NodePtr& node, const NodePtr& target,
                                          const std::string& to) const {
  if (target == nullptr) return Status::Ok();
  if (target->directory && !node->directory) return Status::FromErrno(EISDIR, "rename", to);
  if (!target->directory && node->directory) return Status::FromErrno(ENOTDIR, "rename", to);
  if (!target->entries.empty()) return Status::FromErrno(ENOTEMPTY, "rename", to);
  return Status::Ok();
}

Status FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  const Operation operation{0, OperationKind::kRename, from + " -> " + to, 0, 0};
  Observe(operation.kind, operation.path, 0, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(operation);
  if (!verdict.runs) return verdict.status;
  NodePtr from_parent;
  NodePtr to_parent;
  NodePtr node;
  NodePtr target;
  std::string from_name;
  std::string to_name;
  RETURN_IF_ERROR(Find(from, &from_parent, &from_name, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "rename", from);
  RETURN_IF_ERROR(Find(to, &to_parent, &to_name, &target));
  if (target == node) return verdict.status;
  if (Slice(to).StartsWith(from + "/")) return Status::FromErrno(EINVAL, "rename", from);
  RETURN_IF_ERROR(CheckRenameTarget(node, target, to));
  if (target != nullptr) Unlink(to_parent, to_name);
  from_parent->entries.erase(from_name);
  to_parent->entries[to_name] = node;
  AddEntryChange(node, from_parent, from_name, to_parent, to_name);
  return verdict.status;
}

Status FaultFileSystem::Remove(const std::string& path) {
  Observe(OperationKind::kRemove, path, 0, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kRemove, path, 0, 0});
  if (!verdict.runs) return verdict.status;
  NodePtr parent;
  NodePtr node;
  std::string name;
  RETURN_IF_ERROR(Find(path, &parent, &name, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "remove", path);
  if (node->directory) return Status::FromErrno(EISDIR, "remove", path);
  Unlink(parent, name);
  AddEntryChange(node, parent, name, nullptr, "");
  return verdict.status;
}

Status FaultFileSystem::RemoveDirectory(const std::string& path) {
  Observe(OperationKind::kRemoveDirectory, path, 0, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kRemoveDirectory, path, 0, 0});
  if (!verdict.runs) return verdict.status;
  NodePtr parent;
  NodePtr node;
  std::string name;
  RETURN_IF_ERROR(Find(path, &parent, &name, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "rmdir", path);
  if (!node->directory) return Status::FromErrno(ENOTDIR, "rmdir", path);
  if (!node->entries.empty()) return Status::FromErrno(ENOTEMPTY, "rmdir", path);
  Unlink(parent, name);
  AddEntryChange(node, parent, name, nullptr, "");
  return verdict.status;
}

Status FaultFileSystem::SyncDirectory(const std::string& path) {
  Observe(OperationKind::kSyncDirectory, path, 0, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kSyncDirectory, path, 0, 0});
  if (!verdict.runs) return verdict.status;
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "sync directory", path);
  if (!node->directory) return Status::FromErrno(ENOTDIR, "sync directory", path);
#if !defined(GAPLESS_BUG_NO_DIRSYNC)
  fault::CommitDirectory(root_, node.get(), &changes_);
#endif
  return verdict.status;
}

// ---- Lookups ----

Result<std::vector<std::string>> FaultFileSystem::List(const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "list", path);
  if (!node->directory) return Status::FromErrno(ENOTDIR, "list", path);
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

Result<bool> FaultFileSystem::Exists(const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  return node != nullptr;
}

Result<bool> FaultFileSystem::IsDirectory(const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  return node != nullptr && node->directory;
}

Result<uint64_t> FaultFileSystem::FileSize(const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "stat", path);
  return node->directory ? uint64_t{0} : node->live->size;
}

Result<FileIdentity> FaultFileSystem::Identify(const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "stat", path);
  return FileIdentity{1, node->id};
}

Result<uint64_t> FaultFileSystem::FreeBytes(const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  if (capacity_pages_ == kForever) return kUnlimitedFreeBytes;
  const uint64_t pages = capacity_pages_ > used_pages_ ? capacity_pages_ - used_pages_ : 0;
  return pages * fault::kPageBytes;
}

Result<std::unique_ptr<FileLock>> FaultFileSystem::Lock(const std::string& path, LockMode mode) {
  const Result<bool> exists = Exists(path);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    const Result<std::unique_ptr<File>> created = Open(path, OpenMode::kCreateNew);
    if (!created.ok() && created.status().sys_errno() != EEXIST) return created.status();
  }
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kOpen, path, 0, 0}).status);
  NodePtr node;
  RETURN_IF_ERROR(Walk(path, &node));
  if (node == nullptr) return Status::FromErrno(ENOENT, "open lock", path);
  const bool exclusive = mode == LockMode::kExclusive;
  if (node->lock_holders > 0 && (exclusive || node->lock_exclusive)) {
    return Status::Error(Code::kLocked, "held by this process").WithFile(path, -1);
  }
  node->lock_holders++;
  node->lock_exclusive = exclusive;
  return std::unique_ptr<FileLock>(std::make_unique<FaultLock>(this, node));
}

void FaultFileSystem::ReleaseLock(const NodePtr& node) {
  const MutexLock lock(&mutex_);
  node->lock_holders--;
}

}  // namespace gapless::io
