// Reads, writes and syncs of a FaultFileSystem's files.
#include "io/fault_file.h"

#include <algorithm>
#include <cerrno>

namespace gapless::io {

using fault::kPageBytes;
using fault::Node;
using fault::NodePtr;

Status FaultFile::CheckWritable(const char* what) const {
  return mode_ == OpenMode::kRead ? Status::FromErrno(EBADF, what, path_) : Status::Ok();
}

Status FaultFile::ReadAt(uint64_t offset, void* to, size_t size, size_t* got) {
  return fs_->ReadFile(node_, path_, offset, static_cast<char*>(to), size, got);
}

Status FaultFile::WriteAt(uint64_t offset, const IoVec* parts, size_t count) {
  RETURN_IF_ERROR(CheckWritable("write"));
  std::string bytes;
  for (size_t i = 0; i < count; i++) {
    bytes.append(static_cast<const char*>(parts[i].data), parts[i].size);
  }
  return fs_->WriteFile(node_, path_, offset, bytes);
}

Status FaultFile::SyncData() { return fs_->SyncFile(node_, path_, OperationKind::kSyncData); }
Status FaultFile::Sync() { return fs_->SyncFile(node_, path_, OperationKind::kSync); }

Status FaultFile::Truncate(uint64_t size) {
  RETURN_IF_ERROR(CheckWritable("truncate"));
  return fs_->TruncateFile(node_, path_, size);
}

Status FaultFile::Allocate(uint64_t offset, uint64_t size) {
  RETURN_IF_ERROR(CheckWritable("allocate"));
  return fs_->AllocateFile(node_, path_, offset, size);
}

Result<uint64_t> FaultFile::Size() { return fs_->SizeOfFile(node_, path_); }

Status FaultFileSystem::ReadFile(const NodePtr& node, const std::string& path, uint64_t offset,
                                 char* to, size_t size, size_t* got) {
  *got = 0;
  const MutexLock lock(&mutex_);
  const Status status = Begin(Operation{0, OperationKind::kRead, path, offset, size}).status;
  if (!status.ok()) return status.WithFile(path, static_cast<int64_t>(offset));
  if (offset >= node->live->size) return Status::Ok();
  *got = static_cast<size_t>(std::min<uint64_t>(size, node->live->size - offset));
  node->live->Read(offset, to, *got);
  return Status::Ok();
}

bool FaultFileSystem::TakePages(Node* node, uint64_t pages) {
  if (pages == 0) return true;
  if (used_pages_ + pages > capacity_pages_) return false;
  used_pages_ += pages;
  node->used_pages += pages;
  return true;
}

void FaultFileSystem::RecountPages(Node* node) {
  const auto& pages = node->live->pages;
  const auto beyond = std::distance(pages.lower_bound(node->reserved_pages), pages.end());
  used_pages_ -= node->used_pages;
  node->used_pages = node->reserved_pages + static_cast<uint64_t>(beyond);
  used_pages_ += node->used_pages;
}

uint64_t FaultFileSystem::WritePages(const NodePtr& node, uint64_t offset, Slice bytes) {
  fault::Content* const content = node->MutableLive();
  uint64_t done = 0;
  while (done < bytes.size()) {
    const uint64_t page = (offset + done) / kPageBytes;
    const bool fresh = page >= node->reserved_pages && content->pages.count(page) == 0;
    if (fresh && !TakePages(node.get(), 1)) break;
    fault::Change change;
    change.operation = operations_;
    change.node = node;
    change.page = page;
    change.begin = (offset + done) % kPageBytes;
    change.end = std::min(kPageBytes, change.begin + (bytes.size() - done));
    content->Patch(page, change.begin, change.end, bytes.data() + done);
    change.block = content->pages[page];
    done += change.end - change.begin;
    changes_.push_back(std::move(change));
  }
  if (done > 0 && offset + done > content->size) ChangeSize(node, offset + done);
  return done;
}

void FaultFileSystem::ChangeSize(const NodePtr& node, uint64_t size) {
  fault::Content* const content = node->MutableLive();
  if (size == content->size) return;
  fault::Change change;
  change.kind = fault::ChangeKind::kSize;
  change.operation = operations_;
  change.node = node;
  change.size = size;
  change.shrink = size < content->size;
  if (change.shrink) {
    content->Cut(size);
    node->reserved_pages = std::min(node->reserved_pages, (size + kPageBytes - 1) / kPageBytes);
    RecountPages(node.get());
  }
  content->size = size;
  changes_.push_back(std::move(change));
}

Status FaultFileSystem::WriteFile(const NodePtr& node, const std::string& path, uint64_t offset,
                                  Slice bytes) {
  Observe(OperationKind::kWrite, path, offset, bytes.size());
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kWrite, path, offset, bytes.size()});
  const uint64_t wanted = std::min<uint64_t>(bytes.size(), verdict.bytes);
  const uint64_t done = verdict.runs ? WritePages(node, offset, bytes.Sub(0, wanted)) : 0;
  const auto failed_at = static_cast<int64_t>(offset + done);
  if (!verdict.status.ok()) return verdict.status.WithFile(path, failed_at);
  if (done == bytes.size()) return Status::Ok();
  return Status::FromErrno(ENOSPC, "write", path).WithFile(path, failed_at);
}

Status FaultFileSystem::SyncFile(const NodePtr& node, const std::string& path, OperationKind kind) {
  Observe(kind, path, 0, 0);
  const MutexLock lock(&mutex_);
  const bool crashed_before = crashed_;
  const Verdict verdict = Begin(Operation{0, kind, path, 0, 0});
  if (!verdict.runs) {
    if (!crashed_before && !crashed_) fault::MarkStale(node.get(), &changes_);
    return verdict.status;
  }
#if defined(GAPLESS_BUG_NO_FDATASYNC)
  if (kind == OperationKind::kSyncData) return verdict.status;
#endif
  fault::CommitFile(node.get(), &changes_);
  return verdict.status;
}

Status FaultFileSystem::TruncateFile(const NodePtr& node, const std::string& path, uint64_t size) {
  Observe(OperationKind::kTruncate, path, size, 0);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kTruncate, path, size, 0});
  if (verdict.runs) ChangeSize(node, size);
  return verdict.status;
}

Status FaultFileSystem::AllocateFile(const NodePtr& node, const std::string& path, uint64_t offset,
                                     uint64_t size) {
  Observe(OperationKind::kAllocate, path, offset, size);
  const MutexLock lock(&mutex_);
  const Verdict verdict = Begin(Operation{0, OperationKind::kAllocate, path, offset, size});
  if (!verdict.runs || size == 0) return verdict.status;
  const uint64_t reserved = (offset + size + kPageBytes - 1) / kPageBytes;
  if (reserved > node->reserved_pages) {
    const auto& pages = node->live->pages;
    const auto have =
        std::distance(pages.lower_bound(node->reserved_pages), pages.lower_bound(reserved));
    const uint64_t needed = reserved - node->reserved_pages - static_cast<uint64_t>(have);
    if (!TakePages(node.get(), needed)) return Status::FromErrno(ENOSPC, "allocate", path);
    node->reserved_pages = reserved;
  }
  if (offset + size > node->live->size) ChangeSize(node, offset + size);
  return verdict.status;
}

Result<uint64_t> FaultFileSystem::SizeOfFile(const NodePtr& node, const std::string& path) {
  const MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Begin(Operation{0, OperationKind::kLookup, path, 0, 0}).status);
  return node->live->size;
}

void FaultFileSystem::CloseFile(const NodePtr& node) {
  const MutexLock lock(&mutex_);
  node->handles--;
  ReleaseIfUnused(node);
}

}  // namespace gapless::io
