// Parses the raw stream of entries of a flow, which is cut into chunks anywhere.
//
// Knows limits and key order; knows nothing of chunks' headers. An entry inside one piece is given
// as slices of that piece, one that was cut is put together in a buffer of its own.
#pragma once

#include <cstdint>
#include <string>

#include "base/slice.h"
#include "table/store.h"

namespace gapless::snapshot {

enum class ParseOutcome : uint8_t {
  kEntry,
  kDrained,      // the piece is used up
  kOrder,        // a key that is not above the one before
  kFormat,       // a length above its limit, an expiry of zero
  kUnsupported,  // an unknown flag
};

class EntryParser {
 public:
  // Without values an entry's value is empty, and nothing of it is kept.
  explicit EntryParser(bool keep_values) : keep_values_(keep_values) {}

  // Requires: Next returned kDrained, or nothing was fed yet. `raw` must live until it does again.
  void Feed(Slice raw) { rest_ = raw; }
  // The slices of `entry` live until the next call.
  ParseOutcome Next(table::Entry* entry);

  // The stream so far ends inside an entry. Requires: Next returned kDrained.
  bool inside_entry() const { return skip_ > 0 || head_known_ || !cut_.empty(); }
  uint64_t begun() const { return begun_; }      // entries of which a byte was seen
  uint64_t entries() const { return entries_; }  // whole ones
  uint64_t bytes() const { return bytes_; }      // their keys and values

 private:
  struct Head {
    size_t head_bytes = 0;
    size_t key_bytes = 0;
    size_t value_bytes = 0;
    uint64_t seq = 0;
    bool expires = false;
  };
  ParseOutcome ReadHead(const char* bytes);
  ParseOutcome Whole(const char* bytes, table::Entry* entry);
  bool Gather(size_t total);

  const bool keep_values_;
  Slice rest_;
  bool head_known_ = false;
  Head head_;
  std::string cut_;         // what is gathered of an entry that was cut
  bool cut_given_ = false;  // cut_ was given out by the call before
  size_t skip_ = 0;         // bytes of a value that is not kept
  bool have_key_ = false;
  std::string last_key_;
  uint64_t begun_ = 0;
  uint64_t entries_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace gapless::snapshot
