// Value files: large values of a run in a file of their own, so that merging copies references and
// not values. Layout: docs/FORMAT.md "Value file".
//
// The separation of L. Lu et al., "WiscKey: Separating Keys from Values in SSD-conscious Storage"
// (FAST 2016), in the form of Titan and of RocksDB's BlobDB: values stand beside a sorted table
// that refers to them, and what has become garbage goes when a merge rewrites the rest.
//
// The writer of run N makes value file N when the first large value comes, before any manifest
// names either. Later runs of the same shard take over references; the file stays until no kept
// manifest names a run that refers to it. Values are read straight to where they are wanted, past
// the block cache, and verified by the CRC that the reference holds.
//
// A ValueFile is immutable and used by any thread; a writer belongs to one.
#pragma once

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "base/lz4.h"
#include "base/mutex.h"
#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"
#include "table/cell.h"
#include "table/run.h"
#include "table/value_ref.h"

namespace gapless::table {

class ValueFile {
 public:
  // Compares length and header with what is said of it. kCorrupt with file and offset.
  static Result<std::shared_ptr<const ValueFile>> Open(const RunOptions& options,
                                                       const ValueUse& use, uint32_t shard);

  ValueFile(const RunOptions& options, std::unique_ptr<io::File> file, uint64_t number,
            uint64_t file_bytes);

  const std::string& path() const { return file_->path(); }
  uint64_t number() const { return number_; }
  uint64_t file_bytes() const { return file_bytes_; }
  // ref.raw_bytes to `to`. Requires: RefersInto. kCorrupt; `to` holds anything then.
  Status Read(const ValueRef& ref, char* to) const;
  Status CheckHeader(uint32_t shard) const;

 private:
  Status Corrupt(const char* what, const std::string& text, uint64_t offset) const;
  Status ReadAt(uint64_t offset, char* to, size_t size) const;

  const std::array<uint8_t, 16> cluster_;
  const std::unique_ptr<io::File> file_;
  const uint64_t number_;
  const uint64_t file_bytes_;
};

// Those that are open, so that runs share them. Any thread.
class ValueFiles {
 public:
  Result<std::shared_ptr<const ValueFile>> Open(const RunOptions& options, const ValueUse& use,
                                                uint32_t shard);

 private:
  Mutex mutex_;
  std::map<uint64_t, std::weak_ptr<const ValueFile>> open_ GUARDED_BY(mutex_);
};

// Complete, and fdatasynced, when Finish returned. Destroyed unfinished: the file is removed.
class ValueFileWriter {
 public:
  static Result<std::unique_ptr<ValueFileWriter>> Create(const RunOptions& options, uint64_t number,
                                                         uint32_t shard);
  ValueFileWriter(const RunOptions& options, std::unique_ptr<io::File> file, uint64_t number,
                  uint32_t shard);
  ~ValueFileWriter();
  ValueFileWriter(const ValueFileWriter&) = delete;
  ValueFileWriter& operator=(const ValueFileWriter&) = delete;

  // Requires: not empty, at most kRunValueBytesMax.
  Status Add(Slice value, ValueRef* ref);
  uint64_t bytes() const { return written_ + buffer_.size(); }
  Status Finish();

 private:
  Status FlushBuffer(Slice behind);

  const RunOptions options_;
  std::unique_ptr<io::File> file_;
  const uint64_t number_;
  const uint32_t crc_seed_;
  std::string buffer_;  // not yet written
  uint64_t written_ = 0;
  bool finished_ = false;
  std::string packed_;
  Lz4Compressor compressor_;
};

// Of a Cell or an Entry: value_bytes() to `to`.
template <typename T>
Status CopyValue(const T& of, char* to) {
  if (of.stored.file != nullptr) return of.stored.file->Read(of.stored.ref, to);
  if (!of.value.empty()) std::memcpy(to, of.value.data(), of.value.size());
  return Status::Ok();
}

// Of a Cell or an Entry: *value is its own slice, or what was read into *held.
template <typename T>
Status LoadValue(const T& of, std::string* held, Slice* value) {
  *value = of.value;
  if (of.stored.file == nullptr) return Status::Ok();
  held->resize(of.value_bytes());
  *value = *held;
  return of.stored.file->Read(of.stored.ref, held->data());
}

// Removes the files that the writer of the run made. What cannot be removed is a stray, which the
// next open removes.
void RemoveRunFiles(const RunOptions& options, const RunInfo& info);

}  // namespace gapless::table
