// LZ4 blocks. A block is a row of sequences: a token (two lengths of four bits), more length bytes,
// literals, a distance back of two bytes, more length bytes. The last sequence ends after its
// literals.
//
// The rules of the format for a writer: the last five bytes are literals, and the last match begins
// twelve bytes before the end or earlier. Readers may rely on neither, and this one does not.
#include "base/lz4.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "base/coding.h"

namespace gapless {
namespace {

constexpr uint32_t kTableBits = 14;
constexpr size_t kMatchMin = 4;
constexpr size_t kDistanceMax = 65535;
constexpr size_t kLastLiterals = 5;
constexpr size_t kMatchStartMargin = 12;
constexpr size_t kShortLength = 15;  // in the token; this value says that more bytes follow
constexpr size_t kWide = 16;
// The longer nothing matches, the larger the steps: data without repetition passes quickly.
constexpr uint32_t kStepShift = 6;

uint32_t HashFour(uint32_t four) { return (four * 2654435761u) >> (32 - kTableBits); }

size_t CommonLength(const uint8_t* a, const uint8_t* b, const uint8_t* b_end) {
  const uint8_t* const begin = b;
  while (b_end - b >= 8) {
    const uint64_t differ = LoadU64(a) ^ LoadU64(b);
    if (differ != 0) {
      return static_cast<size_t>(b - begin) + static_cast<size_t>(std::countr_zero(differ)) / 8;
    }
    a += 8;
    b += 8;
  }
  while (b < b_end && *a == *b) {
    ++a;
    ++b;
  }
  return static_cast<size_t>(b - begin);
}

// Appends sequences within a capacity; the first that does not fit ends it.
class BlockWriter {
 public:
  BlockWriter(void* to, size_t capacity)
      : begin_(static_cast<uint8_t*>(to)), at_(begin_), end_(begin_ + capacity) {}

  bool Sequence(const uint8_t* literals, size_t count, size_t distance, size_t match) {
    if (!Literals(literals, count, std::min(match - kMatchMin, kShortLength))) return false;
    const size_t rest = match - kMatchMin;
    if (Room() < 2 + ExtraBytes(rest)) return false;
    StoreU16(at_, static_cast<uint16_t>(distance));
    at_ += 2;
    Extra(rest);
    return true;
  }
  bool Literals(const uint8_t* literals, size_t count, size_t match_token) {
    if (Room() < 1 + ExtraBytes(count) + count) return false;
    *at_++ = static_cast<uint8_t>((std::min(count, kShortLength) << 4) | match_token);
    Extra(count);
    std::memcpy(at_, literals, count);
    at_ += count;
    return true;
  }
  size_t size() const { return static_cast<size_t>(at_ - begin_); }

 private:
  size_t Room() const { return static_cast<size_t>(end_ - at_); }
  static size_t ExtraBytes(size_t length) {
    return length < kShortLength ? 0 : (length - kShortLength) / 255 + 1;
  }
  void Extra(size_t length) {
    if (length < kShortLength) return;
    length -= kShortLength;
    for (; length >= 255; length -= 255) *at_++ = 255;
    *at_++ = static_cast<uint8_t>(length);
  }

  uint8_t* const begin_;
  uint8_t* at_;
  uint8_t* const end_;
};

// Adds the bytes behind a full token half to `*length`; false at the end of the input.
bool ReadExtra(const uint8_t** at, const uint8_t* end, size_t* length) {
  if (*length < kShortLength) return true;
  uint8_t more = 255;
  while (more == 255) {
    if (*at == end) return false;
    more = *(*at)++;
    *length += more;
  }
  return true;
}

// Copies `length` bytes from `distance` before `to`; the ranges may overlap, which repeats. May
// write up to `room` bytes. Requires: length <= room, and `distance` bytes stand before `to`.
void CopyMatch(uint8_t* to, size_t distance, size_t length, size_t room) {
  const uint8_t* from = to - distance;
  uint8_t* const end = to + length;
  if (distance >= kWide && room - length >= kWide) {
    for (; to < end; to += kWide, from += kWide) std::memcpy(to, from, kWide);
  } else if (distance >= 8 && room - length >= 8) {
    for (; to < end; to += 8, from += 8) std::memcpy(to, from, 8);
  } else if (distance == 1) {
    std::memset(to, *from, length);
  } else {
    while (to < end) *to++ = *from++;
  }
}

}  // namespace

size_t Lz4Compressor::Compress(Slice raw, void* to, size_t capacity) {
  GAPLESS_ASSERT(raw.size() < (size_t{1} << 31));
  table_.assign(size_t{1} << kTableBits, 0);
  const uint8_t* const base = raw.bytes();
  const size_t size = raw.size();
  BlockWriter writer(to, capacity);
  size_t anchor = 0;  // everything before it is written
  size_t at = 1;      // position 0 is what an empty place of the table names
  while (at + kMatchStartMargin <= size) {
    const uint32_t four = LoadU32(base + at);
    uint32_t* const place = &table_[HashFour(four)];
    size_t candidate = *place;
    *place = static_cast<uint32_t>(at);
    if (at - candidate > kDistanceMax || LoadU32(base + candidate) != four) {
      at += 1 + ((at - anchor) >> kStepShift);
      continue;
    }
    while (at > anchor && candidate > 0 && base[at - 1] == base[candidate - 1]) {
      --at;
      --candidate;
    }
    const size_t match =
        kMatchMin + CommonLength(base + candidate + kMatchMin, base + at + kMatchMin,
                                 base + size - kLastLiterals);
    if (!writer.Sequence(base + anchor, at - anchor, at - candidate, match)) return 0;
    at += match;
    anchor = at;
    if (at + kMatchStartMargin <= size) {
      table_[HashFour(LoadU32(base + at - 2))] = static_cast<uint32_t>(at - 2);
    }
  }
  return writer.Literals(base + anchor, size - anchor, 0) ? writer.size() : 0;
}

bool Lz4Decompress(Slice stored, void* to, size_t raw_size) {
  const uint8_t* from = stored.bytes();
  const uint8_t* const from_end = from + stored.size();
  uint8_t* const begin = static_cast<uint8_t*>(to);
  uint8_t* at = begin;
  uint8_t* const end = begin + raw_size;
  while (from < from_end) {
    const uint8_t token = *from++;
    size_t literals = token >> 4;
    if (!ReadExtra(&from, from_end, &literals)) return false;
    const auto left = static_cast<size_t>(from_end - from);
    auto room = static_cast<size_t>(end - at);
    if (literals > left || literals > room) return false;
    if (literals <= kWide && left >= kWide && room >= kWide) {
      std::memcpy(at, from, kWide);
    } else if (literals != 0) {
      std::memcpy(at, from, literals);
    }
    at += literals;
    from += literals;
    room -= literals;
    if (from == from_end) return room == 0;
    if (from_end - from < 2) return false;
    const size_t distance = LoadU16(from);
    from += 2;
    size_t match = token & kShortLength;
    if (!ReadExtra(&from, from_end, &match)) return false;
    match += kMatchMin;
    if (distance == 0 || distance > static_cast<size_t>(at - begin) || match > room) return false;
    CopyMatch(at, distance, match, room);
    at += match;
  }
  return false;  // an empty block, or one that ends with a match
}

}  // namespace gapless
