// An in-memory FileSystem for tests that fails, crashes and forgets like a machine: deterministic,
// and cheap to copy thousands of times.
//
// Every mutating call is one numbered operation (the first is 1), whether it succeeds or not. After
// CrashAfter(n) operation n + 1 and every call behind it, reads included, fail with kIo as if the
// process were gone; the test then builds what a disk may hold:
//
//   FaultFileSystem fs;
//   fs.CrashAfter(n);
//   Workload(&fs);                                  // ends with errors
//   for (uint64_t seed = 0; seed < 100; seed++) {
//     std::unique_ptr<FaultFileSystem> disk = fs.ImageOfSeed(seed);
//     Recover(disk.get());
//   }
//
// An image holds everything that was synced, and any subset of what was not: each 4096-byte page of
// each write kept, lost, or torn at 512-byte sectors; each change of a file's size kept or lost;
// each creation, removal and rename kept or lost (a rename is atomic; a file without a name is
// gone). SyncData and Sync make data and size durable, not the name: that is what SyncDirectory
// does. After a sync that failed, the pages it should have written are never written by a later one
// (P4). Images can also be taken without a crash, at any moment, also from the observer.
//
// The root "/" exists; relative paths start there. Any thread; Files and locks must not outlive it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "io/fault_nodes.h"
#include "io/file_system.h"

namespace gapless::io {

enum class OperationKind : uint32_t {
  kWrite = 1,
  kSyncData = 2,
  kSync = 4,
  kTruncate = 8,
  kAllocate = 16,
  kCreate = 32,
  kRename = 64,
  kRemove = 128,
  kSyncDirectory = 256,
  kMakeDirectory = 512,
  kRemoveDirectory = 1024,
  // Not mutating, therefore without a number; a rule can still make them fail.
  kRead = 2048,
  kOpen = 4096,
  kLookup = 8192,  // List, Exists, IsDirectory, FileSize, Identify, FreeBytes
};
inline constexpr uint32_t kMutatingOperations = 2047;
inline constexpr uint32_t kSyncOperations = 2 | 4 | 256;
inline constexpr uint64_t kForever = UINT64_MAX;

// One mutating call, as the trace and the observer see it.
struct Operation {
  uint64_t number = 0;
  OperationKind kind = OperationKind::kWrite;
  std::string path;
  uint64_t offset = 0;  // write, allocate; the new size of a truncate
  uint64_t size = 0;    // write, allocate
  std::string ToString() const;
};

// Calls that match fail. A rule counts the calls that match its kinds and path: the first `skip` of
// them pass, the next `times` fail, all later ones pass.
struct FaultRule {
  uint32_t kinds = kMutatingOperations;  // OperationKind values, or-ed
  std::string path_contains;             // empty: every path
  uint64_t first_operation = 0;          // ignored before this number
  uint64_t skip = 0;
  uint64_t times = 1;
  int sys_errno = 5;  // EIO
  // A write puts so many bytes into the file before it fails.
  uint64_t short_bytes = 0;
  // The call does its work and reports failure all the same (a reply that was lost).
  bool takes_effect = false;
};

// One thing that may or may not have reached the disk.
struct ChoicePoint {
  fault::ChangeKind kind = fault::ChangeKind::kPage;
  uint64_t operation = 0;
  std::string what;  // for failure messages
};

class FaultFileSystem final : public FileSystem {
 public:
  FaultFileSystem();
  ~FaultFileSystem() override = default;

  // FileSystem
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status CreateDirectory(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Result<bool> IsDirectory(const std::string& path) override;
  Result<uint64_t> FileSize(const std::string& path) override;
  Result<FileIdentity> Identify(const std::string& path) override;
  Result<uint64_t> FreeBytes(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path, LockMode mode) override;

  // Faults.
  void AddRule(FaultRule rule);
  void ClearRules();
  // How often a rule made a call fail: a test whose fault never struck has proven nothing.
  uint64_t FaultsStruck() const;
  // Operations 1 .. n run, everything later fails.
  void CrashAfter(uint64_t n);
  void CrashNow();
  bool crashed() const;
  // Bytes of all files together, in whole pages; kForever: no limit. Below what is used: nothing
  // new fits until enough is removed.
  void SetCapacity(uint64_t bytes);
  uint64_t UsedBytes() const;

  // What happened.
  uint64_t operations() const;
  std::vector<Operation> Trace() const;
  // Called before each operation runs, on the caller's thread, outside the mutex: may take images.
  // Set it before other threads use the file system.
  void SetObserver(std::function<void(const Operation&)> observer);

  // What may survive. All of them work after a crash, change nothing here, and give a file system
  // without rules, crash, locks or capacity, in which everything is durable.
  std::vector<ChoicePoint> Choices() const;
  size_t ChoiceCount() const;
  // One sector mask for each of Choices(): 0 lost, 255 kept; for a page any other mask tears it.
  std::unique_ptr<FaultFileSystem> Image(const std::vector<uint8_t>& kept) const;
  // Bit i keeps choice i. Requires: ChoiceCount() <= 64.
  std::unique_ptr<FaultFileSystem> ImageOfBits(uint64_t bits) const;
  // Deterministic; mixes independent choices, torn pages, prefixes, one lost, one kept.
  std::unique_ptr<FaultFileSystem> ImageOfSeed(uint64_t seed) const;
  std::unique_ptr<FaultFileSystem> ImageAllLost() const;
  std::unique_ptr<FaultFileSystem> ImageAllKept() const;
  // The same tree with the same changes pending: the state of now, to take images from later.
  std::unique_ptr<FaultFileSystem> Clone() const;

  // Damage and inspection, below the operations: no number, no fault, also after a crash. The file
  // must exist. What these write is durable, and so is what was pending for that file.
  void FlipBits(const std::string& path, uint64_t offset, uint8_t mask);
  void WriteRaw(const std::string& path, uint64_t offset, Slice bytes);
  void TruncateRaw(const std::string& path, uint64_t size);
  // Creates the file, and its directories, if need be.
  void PutRaw(const std::string& path, Slice bytes);
  std::string ReadRaw(const std::string& path) const;
  // Paths of all files, and of all directories with a '/' behind, in bytewise order.
  std::vector<std::string> ListAll() const;

 private:
  friend class FaultFile;
  friend class FaultLock;
  struct ActiveRule {
    FaultRule rule;
    uint64_t matched = 0;
  };
  // What becomes of a call: fails with `status`, after doing `bytes` of its work (a write).
  struct Verdict {
    Status status;
    bool runs = true;
    uint64_t bytes = UINT64_MAX;
  };

  Verdict Begin(const Operation& operation) REQUIRES(mutex_);
  void Observe(OperationKind kind, const std::string& path, uint64_t offset, uint64_t size)
      EXCLUDES(mutex_);

  Status Walk(const std::string& path, fault::NodePtr* node) const REQUIRES(mutex_);
  Status WalkParent(const std::string& path, fault::NodePtr* parent, std::string* name) const
      REQUIRES(mutex_);
  // Null if there is nothing of that name.
  Status Find(const std::string& path, fault::NodePtr* parent, std::string* name,
              fault::NodePtr* node) const REQUIRES(mutex_);
  fault::NodePtr NewNode(bool directory) REQUIRES(mutex_);
  void Link(const fault::NodePtr& parent, const std::string& name, const fault::NodePtr& node)
      REQUIRES(mutex_);
  void Unlink(const fault::NodePtr& parent, const std::string& name) REQUIRES(mutex_);
  void ReleaseIfUnused(const fault::NodePtr& node) REQUIRES(mutex_);
  void AddEntryChange(fault::NodePtr node, fault::NodePtr from, std::string from_name,
                      fault::NodePtr to, std::string to_name) REQUIRES(mutex_);
  Status CreateFile(const std::string& path, fault::NodePtr* node) REQUIRES(mutex_);
  Status CheckRenameTarget(const fault::NodePtr& node, const fault::NodePtr& target,
                           const std::string& to) const REQUIRES(mutex_);

  // Calls of FaultFile.
  Status ReadFile(const fault::NodePtr& node, const std::string& path, uint64_t offset, char* to,
                  size_t size, size_t* got);
  Status WriteFile(const fault::NodePtr& node, const std::string& path, uint64_t offset,
                   Slice bytes);
  Status SyncFile(const fault::NodePtr& node, const std::string& path, OperationKind kind);
  Status TruncateFile(const fault::NodePtr& node, const std::string& path, uint64_t size);
  Status AllocateFile(const fault::NodePtr& node, const std::string& path, uint64_t offset,
                      uint64_t size);
  Result<uint64_t> SizeOfFile(const fault::NodePtr& node, const std::string& path);
  void CloseFile(const fault::NodePtr& node);
  void ReleaseLock(const fault::NodePtr& node);

  bool TakePages(fault::Node* node, uint64_t pages) REQUIRES(mutex_);
  void RecountPages(fault::Node* node) REQUIRES(mutex_);
  // Puts as many of the bytes into the file as fit; returns how many.
  uint64_t WritePages(const fault::NodePtr& node, uint64_t offset, Slice bytes) REQUIRES(mutex_);
  void ChangeSize(const fault::NodePtr& node, uint64_t size) REQUIRES(mutex_);

  // The file behind a raw call, with a private content that is live and durable at once.
  fault::Content* RawContent(const std::string& path, fault::NodePtr* node) REQUIRES(mutex_);
  void FinishRaw(const fault::NodePtr& node) REQUIRES(mutex_);
  std::vector<size_t> ReachableChanges() const REQUIRES(mutex_);
  // Fills a new file system.
  void Adopt(fault::NodePtr root, fault::Changes changes, uint64_t next_id, uint64_t operations);
  // Says what survives at each of `count` choice points; asked under the lock that counted them.
  using Chooser = std::function<std::vector<uint8_t>(size_t count)>;
  std::unique_ptr<FaultFileSystem> ImageOf(const Chooser& choose) const;

  mutable Mutex mutex_;
  fault::NodePtr root_ GUARDED_BY(mutex_);
  fault::Changes changes_ GUARDED_BY(mutex_);
  uint64_t next_id_ GUARDED_BY(mutex_) = 2;
  uint64_t operations_ GUARDED_BY(mutex_) = 0;
  uint64_t crash_after_ GUARDED_BY(mutex_) = kForever;
  bool crashed_ GUARDED_BY(mutex_) = false;
  uint64_t capacity_pages_ GUARDED_BY(mutex_) = kForever;
  uint64_t used_pages_ GUARDED_BY(mutex_) = 0;
  uint64_t struck_ GUARDED_BY(mutex_) = 0;
  std::vector<ActiveRule> rules_ GUARDED_BY(mutex_);
  std::vector<Operation> trace_ GUARDED_BY(mutex_);
  std::function<void(const Operation&)> observer_;
};

}  // namespace gapless::io
