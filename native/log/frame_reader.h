// Walks the frames (records and marks) of one segment file from a known place, in big reads.
//
// Used by the recovery scan and by readers, each with an object of its own; not for two threads.
// Every record is verified completely against the position before it.
#pragma once

#include <memory>

#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"
#include "log/position.h"
#include "log/record.h"
#include "log/segment.h"

namespace gapless::log {

enum class FrameKind : uint8_t {
  kRecord,
  kMark,
  kZero,  // sixteen zero bytes, or all that is left: nothing was written here
  kEnd,   // the limit: end of the file, or of what may be read
  kBad,   // neither: `check` says which rule of a record does not hold
};

struct Frame {
  FrameKind kind = FrameKind::kEnd;
  uint64_t file_position = 0;
  uint64_t bytes = 0;  // on disk
  Mark mark;           // kMark
  RecordView record;   // kRecord
  Slice raw;           // kRecord (header, body, padding), kMark: lives until the next call
  RecordCheck check = RecordCheck::kOk;
};

// Judges the frame at the front of `bytes`. If more bytes are needed it is kEnd with `bytes` = how
// many; whoever has no more judges that as it is. Pure.
Frame ParseFrame(const ClusterId& cluster, const MarkPlace& place, const Position& before,
                 uint64_t timestamp_before, Slice bytes);

class FrameReader {
 public:
  // Nothing at or behind `limit` is read. `chunk_bytes`: size of one read.
  FrameReader(io::File* file, const ClusterId& cluster, const Id128& secret, uint64_t segment_start,
              uint64_t limit, size_t chunk_bytes);
  // Goes to a frame's beginning, with what stands before it.
  void Seek(const Position& before, uint64_t timestamp, uint64_t file_position);
  // Reads the next frame; a record moves position() behind it. An error is one of the disk.
  Status Next(Frame* frame);

  // The place between two frames, to go back to after looking at the next one.
  struct State {
    Position position;
    uint64_t timestamp = 0;
    uint64_t file_position = 0;
  };
  State state() const { return State{position_, timestamp_, file_position_}; }
  void Restore(const State& state) { Seek(state.position, state.timestamp, state.file_position); }

  const Position& position() const { return position_; }
  uint64_t timestamp() const { return timestamp_; }
  uint64_t file_position() const { return file_position_; }

 private:
  // Makes at least `wanted` bytes available, fewer only at the limit.
  Status Fill(size_t wanted);

  io::File* const file_;
  const ClusterId cluster_;
  MarkPlace place_;
  const uint64_t limit_;
  const size_t chunk_bytes_;
  Position position_;
  uint64_t timestamp_ = 0;
  uint64_t file_position_ = 0;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;  // unread bytes of the buffer: [begin_, end_), from file_position_ on
  size_t end_ = 0;
};

}  // namespace gapless::log
