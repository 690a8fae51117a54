// The File and the FileLock of a FaultFileSystem: thin handles, the work is done by their owner.
#pragma once

#include <memory>
#include <string>

#include "io/fault_file_system.h"

namespace gapless::io {

class FaultFile final : public File {
 public:
  FaultFile(FaultFileSystem* fs, fault::NodePtr node, std::string path, OpenMode mode)
      : fs_(fs), node_(std::move(node)), path_(std::move(path)), mode_(mode) {}
  ~FaultFile() override { fs_->CloseFile(node_); }
  FaultFile(const FaultFile&) = delete;
  FaultFile& operator=(const FaultFile&) = delete;

  using File::WriteAt;
  Status ReadAt(uint64_t offset, void* to, size_t size, size_t* got) override;
  Status WriteAt(uint64_t offset, const IoVec* parts, size_t count) override;
  Status SyncData() override;
  Status Sync() override;
  Status Truncate(uint64_t size) override;
  Status Allocate(uint64_t offset, uint64_t size) override;
  Result<uint64_t> Size() override;
  const std::string& path() const override { return path_; }

 private:
  // EBADF, as the kernel says, for a file that was opened to be read.
  Status CheckWritable(const char* what) const;

  FaultFileSystem* const fs_;
  const fault::NodePtr node_;
  const std::string path_;
  const OpenMode mode_;
};

class FaultLock final : public FileLock {
 public:
  FaultLock(FaultFileSystem* fs, fault::NodePtr node) : fs_(fs), node_(std::move(node)) {}
  ~FaultLock() override { fs_->ReleaseLock(node_); }
  FaultLock(const FaultLock&) = delete;
  FaultLock& operator=(const FaultLock&) = delete;

 private:
  FaultFileSystem* const fs_;
  const fault::NodePtr node_;
};

}  // namespace gapless::io
