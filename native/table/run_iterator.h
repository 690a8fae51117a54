// Walks one run at a read point, in both directions.
//
// Blocks come from the cache; a walk that went on through two neighbouring blocks reads ahead those
// that are not there, into buffers of its own. One thread, under one ReadGuard.
#pragma once

#include <string>

#include "table/run_reader.h"

namespace gapless::table {

class RunIterator final : public CellIterator {
 public:
  RunIterator(const RunReader* run, uint64_t at_seq)
      : run_(run), at_seq_(at_seq), window_(&run->file()) {}

  bool Valid() const override { return valid_; }
  const Cell& cell() const override { return cell_; }
  void Next() override;
  void Prev() override;
  void Seek(Slice key) override;
  void SeekForPrev(Slice key) override;
  void SeekToFirst() override;
  void SeekToLast() override;
  Status status() const override { return status_; }

 private:
  // The place is always an entry; a step that finds none leaves it where it is, but an error moves
  // it anywhere and sets status_.
  enum class Step { kMoved, kEnd, kError };

  void Reset();
  bool LoadPage(uint32_t page);
  // Loads data block `child` of the page. `sequential`: it is a neighbour of the one before.
  bool LoadData(uint32_t child, bool sequential, bool forward);
  bool ReadAhead(BlockPlace place, bool forward);
  bool PlaceAtEdge(bool first);
  // At the first entry with a key >= `key`.
  Step PlaceAt(Slice key);
  Step Forward();
  Step NextBlock();
  Step Back();
  bool KeyIs(Slice key) const;
  // Whether the block ends inside of the versions of a key, for all that the index says.
  bool MayGoOn() const;
  // From any version of a key to its first or last entry. False: error.
  bool ToNewest();
  bool ToOldest();

  // From the newest version of a key: finds the first cell from here on that counts.
  void SettleForward();
  // From the oldest version of a key: the same, backward.
  void SettleBackward();
  void FillCell();

  const RunReader* const run_;
  const uint64_t at_seq_;
  BlockWindow window_;

  uint32_t page_number_ = 0;
  bool has_page_ = false;
  IndexBlock page_;
  BlockPlace page_place_;
  uint32_t child_ = 0;
  DataBlock data_;
  uint32_t index_ = 0;

  uint32_t sequential_ = 0;  // neighbouring blocks in a row
  uint64_t piece_ = 0;       // next read ahead

  std::string wanted_;  // what is sought: the caller's may be of the cell that goes
  std::string key_;     // starts with common_bytes_ of the block
  size_t common_bytes_ = 0;
  Cell cell_;
  bool valid_ = false;
  Status status_;
};

}  // namespace gapless::table
