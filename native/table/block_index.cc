// Encoding, checking and searching index blocks.
#include "table/block_index.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "table/node.h"

namespace gapless::table {
namespace {

size_t SharedBytes(Slice a, Slice b) {
  const size_t most = std::min(a.size(), b.size());
  size_t shared = 0;
  while (shared < most && a[shared] == b[shared]) ++shared;
  return shared;
}

ContentFault Damage(const char* text) { return ContentFault{text, false}; }

}  // namespace

ContentFault IndexBlock::Check(Slice raw) {
  if (raw.size() < kIndexHeadBytes) return Damage("an index block is short");
  if (LoadU32(raw.data() + kIndexReserved) != 0) {
    return ContentFault{"a reserved field of an index block is set", true};
  }
  const uint64_t count = LoadU32(raw.data() + kIndexChildren);
  const uint64_t common = LoadU32(raw.data() + kIndexCommonBytes);
  const uint64_t extra = LoadU32(raw.data() + kIndexExtraBytes);
  const uint64_t head = kIndexHeadBytes + extra + count * kIndexChildBytes + common;
  if (extra % 8 != 0 || common > kRunKeyBytesMax || head > raw.size()) {
    return Damage("an index block's head is damaged");
  }
  const IndexBlock block(raw);
  const uint64_t suffixes = raw.size() - head;
  uint64_t begin = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t end = block.EndAt(i);
    if (end < begin || end > suffixes || end - begin + common > kRunKeyBytesMax) {
      return Damage("an index key's place is damaged");
    }
    begin = end;
    if (block.PrefixAt(i) != KeyPrefix(block.SuffixAt(i), 0)) {
      return Damage("an index key has another prefix");
    }
    if (i == 0) continue;
    if (block.SuffixAt(i - 1).Compare(block.SuffixAt(i)) > 0) {
      return Damage("index keys are out of order");
    }
    const uint64_t behind = block.PositionAt(i - 1) + block.BytesAt(i - 1);
    if (behind < block.PositionAt(i - 1) || behind > block.PositionAt(i)) {
      return Damage("blocks of an index overlap");
    }
  }
  if (begin != suffixes) return Damage("index keys do not fill their block");
  return ContentFault{};
}

uint32_t IndexBlock::Search(Slice key) const {
  const Slice shared = common();
  const int order = key.Sub(0, std::min(key.size(), shared.size())).Compare(shared);
  if (order != 0) return order < 0 ? 0 : count_;
  key.RemovePrefix(shared.size());
  const uint64_t wanted = KeyPrefix(key, 0);
  const char* const prefixes = Prefixes();
  uint32_t low = 0;
  for (uint32_t left = count_; left > 0;) {
    const uint32_t half = (left + 1) / 2;
    low = LoadU64(prefixes + (uint64_t{low} + half - 1) * 8) < wanted ? low + half : low;
    left -= half;
  }
  uint32_t high = low;
  while (high < count_ && PrefixAt(high) == wanted) ++high;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (SuffixAt(middle).Compare(key) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

int IndexBlock::CompareAt(uint32_t child, Slice key) const {
  const Slice shared = common();
  const int order = shared.Compare(key.Sub(0, std::min(key.size(), shared.size())));
  if (order != 0) return order;
  key.RemovePrefix(shared.size());
  return SuffixAt(child).Compare(key);
}

std::string IndexBlock::KeyAt(uint32_t child) const {
  return common().ToString() + SuffixAt(child).ToString();
}

void IndexBlockBuilder::Add(Slice key, uint64_t position, uint32_t bytes) {
  children_.push_back({keys_.size(), key.size(), position, bytes});
  keys_.append(key.data(), key.size());
}

void IndexBlockBuilder::Finish(Slice extra, std::string* raw) {
  GAPLESS_ASSERT(extra.size() % 8 == 0);
  const uint64_t count = children_.size();
  const size_t common =
      count == 0 ? 0 : SharedBytes(KeyOf(children_.front()), KeyOf(children_.back()));
  raw->assign(kIndexHeadBytes, 0);
  StoreU32(raw->data() + kIndexChildren, static_cast<uint32_t>(count));
  StoreU32(raw->data() + kIndexCommonBytes, static_cast<uint32_t>(common));
  StoreU32(raw->data() + kIndexExtraBytes, static_cast<uint32_t>(extra.size()));
  raw->append(extra.data(), extra.size());
  for (const Child& child : children_) AppendLe<uint64_t>(raw, KeyPrefix(KeyOf(child), common));
  for (const Child& child : children_) AppendLe<uint64_t>(raw, child.position);
  for (const Child& child : children_) AppendLe<uint32_t>(raw, child.bytes);
  size_t end = 0;
  for (const Child& child : children_) {
    end += child.key_bytes - common;
    AppendLe<uint32_t>(raw, static_cast<uint32_t>(end));
  }
  raw->append(keys_.data(), common);
  for (const Child& child : children_) {
    raw->append(keys_.data() + child.key_at + common, child.key_bytes - common);
  }
  children_.clear();
  keys_.clear();
}

Slice Separator(Slice last, Slice next) {
  const size_t shared = SharedBytes(last, next);
  // One byte behind what they share is above `last`, and below `next` if that goes on.
  if (shared < last.size() && shared + 1 < next.size() && shared + 1 < last.size()) {
    return next.Sub(0, shared + 1);
  }
  return last;
}

}  // namespace gapless::table
