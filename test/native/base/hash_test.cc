// Murmur3 and the digest of entries: vectors of the design, streaming against one piece.
#include "base/hash.h"

#include <algorithm>
#include <bit>
#include <set>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/hex.h"
#include "base/random.h"
#include "check.h"

namespace gapless {
namespace {

std::string Hex(Hash128 hash) { return HexU128(hash.high, hash.low); }

TEST("digest of an entry equals the vectors of the design") {
  const Slice fox = "The quick brown fox jumps over the lazy dog";
  CHECK_EQ(Hex(DigestEntry("a", "1")), "d79e105ea63f8a35a3a5326c4c77b623");
  CHECK_EQ(Hex(DigestEntry("user:1", fox)), "c1d2a960f0391c8deae2717eec913f7f");
  CHECK_EQ(Hex(DigestEntry("", "")), "589623161cf526f1cfa0f7ddd84c76bc");
}

TEST("a digest is the sum of its entries in any order") {
  const Slice fox = "The quick brown fox jumps over the lazy dog";
  std::vector<Hash128> hashes{DigestEntry("a", "1"), DigestEntry("user:1", fox),
                              DigestEntry("", "")};
  const DigestSum none;
  CHECK_EQ(HexU128(none.high, none.low), "00000000000000000000000000000000");
  for (int order = 0; order < 3; order++) {
    DigestSum sum;
    for (const Hash128 hash : hashes) sum.Add(hash);
    CHECK_EQ(HexU128(sum.high, sum.low), "f206dcd5b36dcdb55e289bc911556c5e");
    std::rotate(hashes.begin(), hashes.begin() + 1, hashes.end());
  }
}

TEST("a digest sum carries from the low half") {
  DigestSum sum;
  sum.Add(Hash128{UINT64_MAX, 1});
  sum.Add(Hash128{1, 1});
  CHECK_EQ(sum.low, 0U);
  CHECK_EQ(sum.high, 3U);
}

TEST("murmur3 of its published vectors") {
  // Appleby's own check of a hash: keys 0, 01, 0102, ... with seeds 256 - length, hashed together.
  std::string key;
  std::string hashes;
  for (uint32_t i = 0; i < 256; i++) {
    const Hash128 hash = Murmur3_128(key.data(), key.size(), 256 - i);
    AppendLe(&hashes, hash.low);
    AppendLe(&hashes, hash.high);
    key.push_back(static_cast<char>(i));
  }
  const Hash128 verification = Murmur3_128(hashes.data(), hashes.size(), 0);
  CHECK_EQ(static_cast<uint32_t>(verification.low), 0x6384ba69U);
}

TEST("murmur3 in pieces equals murmur3 in one") {
  SeededRandom random(4);
  std::string bytes(200, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Next() & 255);
  for (size_t size = 0; size <= bytes.size(); size++) {
    const std::string whole = Hex(Murmur3_128(bytes.data(), size, 9));
    for (int round = 0; round < 20; round++) {
      Murmur3Stream stream(9);
      for (size_t at = 0; at < size;) {
        const size_t piece = std::min(size - at, static_cast<size_t>(random.Below(40)));
        stream.Update(bytes.data() + at, piece);
        at += piece;
      }
      CHECK_EQ(Hex(stream.Finish()), whole);
    }
  }
}

TEST("the border between key and value changes the digest") {
  CHECK_NE(Hex(DigestEntry("ab", "c")), Hex(DigestEntry("a", "bc")));
  CHECK_NE(Hex(DigestEntry("", "abc")), Hex(DigestEntry("abc", "")));
}

TEST("a key's hash reads the whole key and nothing else") {
  std::set<uint64_t> seen;
  for (size_t size = 0; size < 100; size++) {
    std::string key(size, 'k');
    CHECK(seen.insert(HashKey(key)).second);
    for (size_t at = 0; at < size; at++) {
      key[at] = 'x';
      CHECK(seen.insert(HashKey(key)).second);
      key[at] = 'k';
    }
    const std::string elsewhere = "?" + key + "?";
    CHECK_EQ(HashKey(Slice(elsewhere).Sub(1, size)), HashKey(key));
  }
}

TEST("hashes of keys that differ in one digit spread over shards and bits") {
  std::vector<int> shards(16, 0);
  int bits = 0;
  constexpr int kKeys = 16000;
  for (int i = 0; i < kKeys; i++) {
    const uint64_t hash = HashKey("user:" + std::to_string(i));
    shards[hash % 16]++;
    bits += std::popcount(hash ^ HashKey("user:" + std::to_string(i + 1)));
  }
  for (const int count : shards) {
    CHECK_GT(count, kKeys / 16 - 160);
    CHECK_LT(count, kKeys / 16 + 160);
  }
  CHECK_GT(bits / kKeys, 30);
  CHECK_LT(bits / kKeys, 34);
}

}  // namespace
}  // namespace gapless
