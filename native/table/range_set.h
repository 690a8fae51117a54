// The range deletes of one table that are not written into its keys themselves.
//
// An immutable list of sorted fragments that do not overlap, each with the sequences of the deletes
// that cover it. A new delete makes a new list, which shares the fragments it does not change. The
// writer makes and counts references; readers use a list that they loaded under their guard.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/slice.h"

namespace gapless::table {

struct RangeFragment {
  std::string lower;
  std::string upper;  // exclusive; unused when unbounded
  bool unbounded = false;
  std::vector<uint64_t> seqs;  // falling

  bool EndsAtOrBefore(Slice key) const { return !unbounded && Slice(upper).Compare(key) <= 0; }
  // The newest delete at or below `seq`, or 0.
  uint64_t NewestAt(uint64_t seq) const;
  // The oldest delete above `seq`, or 0.
  uint64_t OldestAbove(uint64_t seq) const;
};

// At which sequences somebody may read, now or later: from the floor on, and those of the views.
struct ReadLimits {
  uint64_t floor = 0;
  const std::vector<uint64_t>* views = nullptr;  // sorted; null: none

  // Whether it can be told apart that something of `seq` was followed by something of `next`.
  bool AnyIn(uint64_t seq, uint64_t next) const;
};

struct RangeDelete {
  Slice lower;
  Slice upper;  // exclusive, above `lower`; unused when unbounded
  bool unbounded = false;
  uint64_t seq = 0;

  bool EndsAtOrBefore(Slice key) const { return !unbounded && upper.Compare(key) <= 0; }
};

class RangeSet {
 public:
  // Each returns a list with one reference, or null for an empty one. `before` may be null. The
  // deletes are those of one batch: nobody reads between them, so that the newest counts alone
  // where they overlap. Where they hide older ones from everybody, these go.
  static const RangeSet* With(const RangeSet* before, std::vector<RangeDelete> deletes,
                              const ReadLimits& limits = ReadLimits());
  static const RangeSet* WithoutUpTo(const RangeSet* before, uint64_t seq);
  // Requires: the fragments ascend, do not overlap, and each has sequences, falling.
  static const RangeSet* Of(std::vector<RangeFragment> fragments);

  const std::vector<std::shared_ptr<const RangeFragment>>& fragments() const { return fragments_; }
  uint64_t oldest_seq() const { return oldest_seq_; }
  // What a change copies: fragments, and their sequences.
  uint64_t weight() const { return weight_; }
  // Of memory. What it shares with the list before is counted in both.
  uint64_t bytes() const { return bytes_; }
  // How many fragments were put into lists of this process: tests count that a batch is laid once.
  static uint64_t FragmentsLaid();
  // The index of the first fragment that ends behind `key`; how many there are, if none does.
  size_t IndexBehind(Slice key) const;
  // The first fragment that ends behind `key`, or null; it may start behind `key` as well.
  const RangeFragment* FirstBehind(Slice key) const;
  // The fragment that covers `key`, or null.
  const RangeFragment* Covering(Slice key) const;
  // The newest delete at or below `seq` that covers `key`, or 0: versions before it are hidden.
  uint64_t CoverAt(Slice key, uint64_t seq) const;

  // Writer's thread.
  void Ref() const { references_++; }
  void Unref() const {
    if (--references_ == 0) delete this;
  }

 private:
  RangeSet() = default;
  ~RangeSet() = default;
  void Add(std::shared_ptr<const RangeFragment> fragment);
  void AddPiece(const RangeFragment& from, Slice lower, const RangeDelete& end,
                const ReadLimits* limits);
  void AddUnder(const RangeFragment& old, const std::vector<RangeDelete>& deletes, size_t* next,
                Slice* from, const ReadLimits& limits);

  std::vector<std::shared_ptr<const RangeFragment>> fragments_;
  uint64_t oldest_seq_ = UINT64_MAX;
  uint64_t weight_ = 0;
  uint64_t bytes_ = 0;
  mutable uint64_t references_ = 1;  // writer only
};

}  // namespace gapless::table
