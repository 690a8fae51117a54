// MurmurHash3_x64_128 as a stream, and the hash of keys.
#include "base/hash.h"

#include <bit>
#include <cstring>

#include "base/assert.h"
#include "base/coding.h"

namespace gapless {
namespace {

constexpr uint64_t kC1 = 0x87c37b91114253d5;
constexpr uint64_t kC2 = 0x4cf5ad432745937f;
constexpr size_t kBlock = 16;

uint64_t MixK1(uint64_t k1) { return std::rotl(k1 * kC1, 31) * kC2; }
uint64_t MixK2(uint64_t k2) { return std::rotl(k2 * kC2, 33) * kC1; }

uint64_t FinalMix(uint64_t k) {
  k = (k ^ (k >> 33)) * 0xff51afd7ed558ccd;
  k = (k ^ (k >> 33)) * 0xc4ceb9fe1a85ec53;
  return k ^ (k >> 33);
}

// 64 x 64 -> 128 bits, both halves folded together.
uint64_t Fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

constexpr uint64_t kSecret0 = 0xa0761d6478bd642f;
constexpr uint64_t kSecret1 = 0xe7037ed1a0b428db;
constexpr uint64_t kSecret2 = 0x8ebc6af09c88c6e3;

}  // namespace

void Murmur3Stream::Block(const uint8_t* block) {
  h1_ ^= MixK1(LoadU64(block));
  h1_ = (std::rotl(h1_, 27) + h2_) * 5 + 0x52dce729;
  h2_ ^= MixK2(LoadU64(block + 8));
  h2_ = (std::rotl(h2_, 31) + h1_) * 5 + 0x38495ab5;
}

void Murmur3Stream::Update(const void* data, size_t size) {
  if (size == 0) return;
  const auto* at = static_cast<const uint8_t*>(data);
  total_ += size;
  if (held_ > 0) {
    const size_t taken = size < kBlock - held_ ? size : kBlock - held_;
    std::memcpy(block_ + held_, at, taken);
    held_ += taken;
    at += taken;
    size -= taken;
    if (held_ < kBlock) return;
    Block(block_);
    held_ = 0;
  }
  for (; size >= kBlock; size -= kBlock, at += kBlock) Block(at);
  if (size > 0) std::memcpy(block_, at, size);
  held_ = size;
}

Hash128 Murmur3Stream::Finish() {
  GAPLESS_ASSERT(held_ < kBlock);
  // Padding with zeros is exact: both mixes map 0 to 0.
  std::memset(block_ + held_, 0, kBlock - held_);
  h2_ ^= MixK2(LoadU64(block_ + 8));
  h1_ ^= MixK1(LoadU64(block_));
  h1_ ^= total_;
  h2_ ^= total_;
  h1_ += h2_;
  h2_ += h1_;
  h1_ = FinalMix(h1_);
  h2_ = FinalMix(h2_);
  h1_ += h2_;
  h2_ += h1_;
  return Hash128{h1_, h2_};
}

Hash128 Murmur3_128(const void* data, size_t size, uint32_t seed) {
  Murmur3Stream stream(seed);
  stream.Update(data, size);
  return stream.Finish();
}

uint64_t HashKey(Slice key) {
  const uint8_t* at = key.bytes();
  size_t left = key.size();
  uint64_t state = kSecret0 ^ Fold(left ^ kSecret1, kSecret2);
  for (; left > 16; left -= 16, at += 16) {
    state = Fold(LoadU64(at) ^ kSecret1, LoadU64(at + 8) ^ state);
  }
  uint64_t a = 0;
  uint64_t b = 0;
  if (left >= 8) {
    a = LoadU64(at);
    b = LoadU64(at + left - 8);
  } else if (left >= 4) {
    a = LoadU32(at);
    b = LoadU32(at + left - 4);
  } else if (left > 0) {
    a = uint64_t{at[0]} << 16 | uint64_t{at[left >> 1]} << 8 | at[left - 1];
  }
  return Fold(kSecret2 ^ key.size(), Fold(a ^ kSecret1, b ^ state) ^ kSecret0);
}

Hash128 DigestEntry(Slice key, Slice value) {
  uint8_t length[4];
  StoreU32(length, static_cast<uint32_t>(key.size()));
  Murmur3Stream stream(0);
  stream.Update(length, sizeof(length));
  stream.Update(key.data(), key.size());
  stream.Update(value.data(), value.size());
  return stream.Finish();
}

}  // namespace gapless
