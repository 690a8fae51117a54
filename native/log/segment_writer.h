// Writing the last segment and preparing the next one. Used by the flusher thread only (and by Open
// and Close, while that thread does not run); no lock.
//
// Invariants: nothing is written behind `capacity()`, whose blocks are allocated; the file of a
// segment is visible under its name only after its header is durable, and its predecessor's bytes
// before that. A failure leaves the object unusable for everything but destruction, except where a
// method says otherwise.
#pragma once

#include <memory>
#include <string>

#include "io/file_system.h"
#include "log/log.h"
#include "log/segment.h"

namespace gapless::log {

class SegmentWriter {
 public:
  explicit SegmentWriter(const LogOptions& options) : options_(options) {}

  // Writes the file of a first segment, synced, with its directory.
  static Status Create(const LogOptions& options, const Position& start, uint64_t clock,
                       bool padded);
  // Opens the last segment at the end of `scan`, makes sure that all of it is durable, and
  // allocates as much as there is room for. kCorrupt if the disk shows something else than it
  // showed the scan.
  Status Open(const ScanResult& scan);

  // Writes records behind a mark that says `durable`; an equal one that stands there serves too.
  // Returns the file position of the first record.
  Result<uint64_t> Write(Slice records, uint64_t offset, uint64_t durable);
  // Writes a mark alone, unless it stands there already.
  Status WriteMark(uint64_t offset, uint64_t durable);
  Status SyncData() { return file_->SyncData(); }

  // Allocates the next segment, at least `bytes` of it. After kNoSpace everything is as before.
  Status Prepare(uint64_t bytes);
  // Enlarges the current one. After kNoSpace everything is as before.
  Status Grow(uint64_t bytes);
  // Goes on in the prepared segment. Requires: prepared, and everything written is synced.
  Status Rotate(const Position& start, uint64_t clock);
  // Gives back what is allocated behind the last record, trailing marks too, and syncs.
  Status Trim();
  // Removes what was prepared and not used.
  Status DropPrepared();

  const std::string& path() const { return path_; }
  uint64_t file_end() const { return file_end_; }
  uint64_t capacity() const { return capacity_; }
  uint64_t prepared() const { return next_ == nullptr ? 0 : next_capacity_; }

 private:
  MarkPlace PlaceAt(uint64_t file_position) const {
    return MarkPlace{options_.secret, start_, file_position};
  }
  Status CloseCurrent(uint64_t end);
  Status WriteAgain(const ScanResult& scan, uint64_t begin);
  // Moves `*position` in front of the marks that end there.
  Status SkipMarksBefore(uint64_t* position);

  const LogOptions& options_;
  std::unique_ptr<io::File> file_;
  std::string path_;
  uint64_t start_ = 0;
  uint64_t capacity_ = 0;
  uint64_t file_end_ = 0;     // next byte to write
  uint64_t record_end_ = 0;   // byte behind the last record: marks may follow
  bool mark_stands_ = false;  // a mark that says mark_ is the last thing in the file
  Mark mark_;
  std::unique_ptr<io::File> next_;
  uint64_t next_capacity_ = 0;
};

}  // namespace gapless::log
