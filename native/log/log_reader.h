// Reading records back: by offset, by record end, by sequence. Any thread.
//
// Reads files only, up to what was written; remembers where the last reads ended, so that a reader
// that goes on does not search. Every record is verified before it is handed out.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "log/frame_reader.h"
#include "log/log.h"
#include "log/segment_set.h"

namespace gapless::log {

class LogReader {
 public:
  LogReader(const LogOptions& options, SegmentSet* segments);

  Result<LogChunk> Read(uint64_t from, uint64_t until, uint64_t max_bytes);
  Result<Position> PositionAt(uint64_t offset);
  Result<Position> PositionBeforeSeq(uint64_t seq);

 private:
  // A frame's beginning with what stands before it.
  struct Place {
    const Segment* segment = nullptr;
    IndexEntry at;
  };
  static constexpr size_t kPlaces = 32;
  static constexpr size_t kOpenFiles = 32;

  Status OpenSegment(const SegmentView& view, std::shared_ptr<io::File>* file);
  Status EvictedOr(const SegmentView& view, const Status& failure) const;
  void LoadIndex(Segment* segment) REQUIRES(segment->mutex);
  // The nearest known place at or below `offset`, or below `seq` if `by_seq`.
  IndexEntry NearestOffset(const SegmentView& view, uint64_t offset);
  IndexEntry NearestSeq(const SegmentView& view, uint64_t seq);
  // Walks to the first record end at or behind `offset`.
  Status WalkTo(const SegmentView& view, uint64_t offset, FrameReader* reader);
  static void AddToIndex(Segment* segment, const std::vector<IndexEntry>& entries);
  static void ForgetIndex(Segment* segment);
  Status DamageAt(const SegmentView& view, const FrameReader& reader, const Frame& frame) const;
  void Remember(const Segment* segment, const FrameReader& reader);
  void LimitOpenFiles(const std::shared_ptr<Segment>& segment);

  const LogOptions& options_;
  SegmentSet* const segments_;
  Mutex mutex_;
  std::array<Place, kPlaces> places_ GUARDED_BY(mutex_);
  size_t next_place_ GUARDED_BY(mutex_) = 0;
  std::array<std::weak_ptr<Segment>, kOpenFiles> open_ GUARDED_BY(mutex_);
  size_t next_open_ GUARDED_BY(mutex_) = 0;
};

}  // namespace gapless::log
