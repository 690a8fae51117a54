// Parsing of the entry stream. One thread at a time; see the header.
#include "snapshot/flow_entries.h"

#include <algorithm>

#include "base/coding.h"
#include "snapshot/flow_format.h"

namespace gapless::snapshot {
namespace {

// A buffer that held a large value is given back; one for cut keys and small values is kept.
constexpr size_t kCutBytesKept = 256 * 1024;

}  // namespace

ParseOutcome EntryParser::ReadHead(const char* bytes) {
  const auto flags = static_cast<uint8_t>(bytes[kEntryFlags]);
  if ((flags & ~kEntryFlagExpiry) != 0 || bytes[kEntryZero] != 0) {
    return ParseOutcome::kUnsupported;
  }
  head_.expires = (flags & kEntryFlagExpiry) != 0;
  head_.head_bytes = kEntryHeadBytes + (head_.expires ? kEntryExpiryBytes : 0);
  head_.key_bytes = LoadU16(bytes);
  head_.value_bytes = LoadU32(bytes + kEntryValueBytes);
  head_.seq = LoadU64(bytes + kEntrySeq);
  if (head_.key_bytes > kEntryKeyBytesMax || head_.value_bytes > kEntryValueBytesMax) {
    return ParseOutcome::kFormat;
  }
  head_known_ = true;
  return ParseOutcome::kEntry;
}

// `bytes`: the whole entry, without its value if values are not kept.
ParseOutcome EntryParser::Whole(const char* bytes, table::Entry* entry) {
  entry->seq = head_.seq;
  entry->expires_at_ms = head_.expires ? LoadU64(bytes + kEntryExpiry) : 0;
  entry->key = Slice(bytes + head_.head_bytes, head_.key_bytes);
  entry->value =
      keep_values_ ? Slice(entry->key.data() + head_.key_bytes, head_.value_bytes) : Slice();
  if (head_.expires && entry->expires_at_ms == 0) return ParseOutcome::kFormat;
  if (have_key_ && Slice(last_key_).Compare(entry->key) >= 0) return ParseOutcome::kOrder;
  last_key_.assign(entry->key.data(), entry->key.size());
  have_key_ = true;
  head_known_ = false;
  ++entries_;
  bytes_ += head_.key_bytes + head_.value_bytes;
  return ParseOutcome::kEntry;
}

// Moves bytes to cut_ until it has `total`; false if the piece ends before.
bool EntryParser::Gather(size_t total) {
  const size_t take = std::min(total - cut_.size(), rest_.size());
  cut_.append(rest_.data(), take);
  rest_.RemovePrefix(take);
  return cut_.size() == total;
}

ParseOutcome EntryParser::Next(table::Entry* entry) {
  if (cut_given_) {
    cut_given_ = false;
    if (cut_.capacity() > kCutBytesKept) cut_ = std::string();
    cut_.clear();
  }
  const size_t skipped = std::min(skip_, rest_.size());
  skip_ -= skipped;
  rest_.RemovePrefix(skipped);
  if (rest_.empty()) return ParseOutcome::kDrained;
  if (cut_.empty() && !head_known_) {
    ++begun_;
    if (rest_.size() >= kEntryHeadBytes) {
      const ParseOutcome outcome = ReadHead(rest_.data());
      if (outcome != ParseOutcome::kEntry) return outcome;
      const size_t total = head_.head_bytes + head_.key_bytes + head_.value_bytes;
      if (rest_.size() >= total) {
        const char* const bytes = rest_.data();
        rest_.RemovePrefix(total);
        return Whole(bytes, entry);
      }
    }
  }
  if (!head_known_) {
    if (!Gather(kEntryHeadBytes)) return ParseOutcome::kDrained;
    const ParseOutcome outcome = ReadHead(cut_.data());
    if (outcome != ParseOutcome::kEntry) return outcome;
  }
  const size_t total = head_.head_bytes + head_.key_bytes + (keep_values_ ? head_.value_bytes : 0);
  cut_.reserve(total);
  if (!Gather(total)) return ParseOutcome::kDrained;
  cut_given_ = true;
  if (!keep_values_) skip_ = head_.value_bytes;
  return Whole(cut_.data(), entry);
}

}  // namespace gapless::snapshot
