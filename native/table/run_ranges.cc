// Encoding and decoding the ranges block and the extent.
#include "table/run_ranges.h"

#include "base/coding.h"

namespace gapless::table {
namespace {

ContentFault Damage(const char* text) { return ContentFault{text, false}; }

// Takes `size` bytes off the front.
bool Take(Slice* bytes, uint64_t size, Slice* taken) {
  if (size > bytes->size()) return false;
  *taken = bytes->Sub(0, size);
  bytes->RemovePrefix(size);
  return true;
}

ContentFault DecodeFragment(Slice* raw, RangeFragment* fragment) {
  Slice head;
  if (!Take(raw, kFragmentHeadBytes, &head)) return Damage("a range delete is short");
  const uint32_t flags = LoadU32(head.data());
  const uint64_t seqs = LoadU32(head.data() + 4);
  if ((flags & ~kFlagUnbounded) != 0) return ContentFault{"unknown flags of a range delete", true};
  Slice numbers;
  Slice lower;
  Slice upper;
  if (!Take(raw, seqs * 8, &numbers) || !Take(raw, LoadU32(head.data() + 8), &lower) ||
      !Take(raw, LoadU32(head.data() + 12), &upper) || lower.size() > kRunKeyBytesMax ||
      upper.size() > kRunKeyBytesMax) {
    return Damage("a range delete's lengths are damaged");
  }
  fragment->unbounded = flags != 0;
  fragment->lower = lower.ToString();
  fragment->upper = upper.ToString();
  for (uint64_t i = 0; i < seqs; ++i) {
    fragment->seqs.push_back(LoadU64(numbers.data() + i * 8));
  }
  return ContentFault{};
}

}  // namespace

bool FragmentFollows(const RangeFragment* before, const RangeFragment& next) {
  if (next.seqs.empty()) return false;
  for (size_t i = 1; i < next.seqs.size(); ++i) {
    if (next.seqs[i - 1] <= next.seqs[i]) return false;
  }
  if (next.unbounded ? !next.upper.empty() : Slice(next.lower).Compare(next.upper) >= 0) {
    return false;
  }
  return before == nullptr || before->EndsAtOrBefore(next.lower);
}

std::string EncodeRanges(const std::vector<RangeFragment>& fragments) {
  std::string raw;
  AppendLe<uint32_t>(&raw, static_cast<uint32_t>(fragments.size()));
  AppendLe<uint32_t>(&raw, 0);
  for (const RangeFragment& fragment : fragments) {
    AppendLe<uint32_t>(&raw, fragment.unbounded ? kFlagUnbounded : 0);
    AppendLe<uint32_t>(&raw, static_cast<uint32_t>(fragment.seqs.size()));
    AppendLe<uint32_t>(&raw, static_cast<uint32_t>(fragment.lower.size()));
    AppendLe<uint32_t>(&raw, static_cast<uint32_t>(fragment.upper.size()));
    for (const uint64_t seq : fragment.seqs) AppendLe<uint64_t>(&raw, seq);
    raw += fragment.lower;
    raw += fragment.upper;
  }
  return raw;
}

ContentFault DecodeRanges(Slice raw, std::vector<RangeFragment>* fragments) {
  Slice head;
  if (!Take(&raw, kRangesHeadBytes, &head)) return Damage("a ranges block is short");
  if (LoadU32(head.data() + 4) != 0) {
    return ContentFault{"a reserved field of a ranges block is set", true};
  }
  const uint32_t count = LoadU32(head.data());
  for (uint32_t i = 0; i < count; ++i) {
    RangeFragment fragment;
    const ContentFault fault = DecodeFragment(&raw, &fragment);
    if (fault.text != nullptr) return fault;
    if (!FragmentFollows(fragments->empty() ? nullptr : &fragments->back(), fragment)) {
      return Damage("range deletes are out of order");
    }
    fragments->push_back(std::move(fragment));
  }
  return raw.empty() && count > 0 ? ContentFault{} : Damage("a ranges block has another count");
}

std::string EncodeExtent(const Extent& extent) {
  std::string bytes;
  AppendLe<uint32_t>(&bytes, extent.unbounded ? kFlagUnbounded : 0);
  AppendLe<uint32_t>(&bytes, static_cast<uint32_t>(extent.lower.size()));
  AppendLe<uint32_t>(&bytes, static_cast<uint32_t>(extent.upper.size()));
  bytes += extent.lower;
  bytes += extent.upper;
  bytes.resize(AlignUp8(bytes.size()), 0);
  return bytes;
}

ContentFault DecodeExtent(Slice bytes, Extent* extent) {
  Slice head;
  if (!Take(&bytes, kExtentHeadBytes, &head)) return Damage("an extent is short");
  const uint32_t flags = LoadU32(head.data());
  if ((flags & ~kFlagUnbounded) != 0) return ContentFault{"unknown flags of an extent", true};
  Slice lower;
  Slice upper;
  if (!Take(&bytes, LoadU32(head.data() + 4), &lower) ||
      !Take(&bytes, LoadU32(head.data() + 8), &upper) || bytes.size() >= 8) {
    return Damage("an extent's lengths are damaged");
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != 0) return Damage("an extent's padding is not zero");
  }
  extent->unbounded = flags != 0;
  extent->lower = lower.ToString();
  extent->upper = upper.ToString();
  return ContentFault{};
}

}  // namespace gapless::table
