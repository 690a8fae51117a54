// The LZ4 block codec: blocks of the reference implementation, round trips, exact capacities, and
// blocks that are none. Buffers are exactly as large as announced, for the address sanitizer.
#include "base/lz4.h"

#include <memory>

#include "base/hex.h"
#include "check.h"
#include "snapshot/flows.h"

namespace gapless::snapshot::test {
namespace {

struct Exact {
  explicit Exact(size_t bytes) : size(bytes), data(new char[bytes]) {}
  Slice slice() const { return Slice(data.get(), size); }
  size_t size;
  std::unique_ptr<char[]> data;
};
Exact Copy(Slice bytes) {
  Exact copy(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.data.get(), bytes.data(), bytes.size());
  return copy;
}

std::string Repeat(const std::string& part, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

std::string Compressed(Slice raw) {
  Lz4Compressor compressor;
  const Exact from = Copy(raw);
  const Exact to(raw.size() + raw.size() / 255 + 16);
  const size_t size = compressor.Compress(from.slice(), to.data.get(), to.size);
  return to.slice().Sub(0, size).ToString();
}

std::string Text(size_t bytes, Seeded* random) {
  static const char* const kWords[] = {"gap", "less ", "record", "  ", "ordered", "\n", "log"};
  std::string out;
  while (out.size() < bytes) out += kWords[random->Below(7)];
  out.resize(bytes);
  return out;
}

TEST("blocks of the reference implementation decompress") {
  const std::string counting = []() {
    std::string out;
    for (char c = 0; c < 40; ++c) out += c;
    return out;
  }();
  const struct {
    const char* block;
    std::string raw;
  } vectors[] = {
      {"1f610100ff14506161616161", std::string(300, 'a')},
      {"8f6162636465666768080035507461696c21", Repeat("abcdefgh", 10) + "tail!"},
      {"f01074686520717569636b2062726f776e20666f78206a756d7073206f766572201f00916c617a7920646f672e"
       "0e000f2d003e50646f672e20",
       Repeat("the quick brown fox jumps over the lazy dog. ", 3)},
      {"ff19000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627280015"
       "5078797a3132",
       counting + counting + "xyz12"},
      {"2f61620200ffffffd1506261626162", Repeat("ab", 500)},
      {"00", ""},
      {"10ff", "\xff"},
  };
  for (const auto& vector : vectors) {
    std::string block;
    REQUIRE(HexDecode(vector.block, &block));
    const Exact from = Copy(block);
    const Exact to(vector.raw.size());
    CHECK(Lz4Decompress(from.slice(), to.data.get(), to.size));
    CHECK_EQ(to.slice().ToString(), vector.raw);
  }
}

TEST("the compressor writes the bytes it always wrote") {
  CHECK_EQ(HexEncode(Compressed(std::string(300, 'a'))), "1f610100ff14506161616161");
  CHECK_EQ(HexEncode(Compressed("abc")), "30616263");
}

TEST("what is compressed comes back") {
  Seeded random(7);
  for (size_t size = 0; size < 400; ++size) {
    for (const std::string& raw : {Text(size, &random), random.Bytes(size), Repeat("x", size)}) {
      const std::string block = Compressed(raw);
      REQUIRE(!block.empty());
      const Exact from = Copy(block);
      const Exact to(size);
      REQUIRE(Lz4Decompress(from.slice(), to.data.get(), to.size));
      REQUIRE_EQ(to.slice().ToString(), raw);
    }
  }
  const std::string far = random.Bytes(70000);  // repeats farther back than a distance reaches
  for (const std::string& raw : {Text(1 << 20, &random), far + far, random.Bytes(1 << 20),
                                 std::string(1 << 20, '\0'), far.substr(0, 65535) + far}) {
    const std::string block = Compressed(raw);
    const Exact to(raw.size());
    REQUIRE(Lz4Decompress(block, to.data.get(), to.size));
    CHECK(to.slice().View() == raw);
  }
  CHECK_LT(Compressed(Text(1 << 20, &random)).size(), (1u << 20) / 2);
}

TEST("a block that needs more than the capacity is refused, one that needs it exactly is not") {
  Seeded random(11);
  Lz4Compressor compressor;
  for (size_t size = 1; size < 300; size += 7) {
    for (const std::string& raw : {Text(size, &random), random.Bytes(size)}) {
      const size_t needed = Compressed(raw).size();
      for (size_t capacity = 0; capacity < needed; ++capacity) {
        const Exact to(capacity);
        REQUIRE_EQ(compressor.Compress(raw, to.data.get(), capacity), 0u);
      }
      const Exact to(needed);
      REQUIRE_EQ(compressor.Compress(raw, to.data.get(), needed), needed);
    }
  }
}

TEST("a block of another raw size is refused") {
  Seeded random(13);
  const std::string raw = Text(1000, &random);
  const std::string block = Compressed(raw);
  for (size_t size = 0; size < 1100; ++size) {
    const Exact to(size);
    CHECK_EQ(Lz4Decompress(block, to.data.get(), size), size == raw.size());
  }
  for (size_t cut = 0; cut < block.size(); ++cut) {
    const Exact from = Copy(Slice(block).Sub(0, cut));
    const Exact to(raw.size());
    CHECK(!Lz4Decompress(from.slice(), to.data.get(), to.size));
  }
}

TEST("garbage never makes the decompressor leave its buffers") {
  Seeded random(17);
  size_t accepted = 0;
  for (int round = 0; round < 60000; ++round) {
    std::string block;
    size_t raw_size = random.Below(300);
    if (round % 3 == 0) {
      block = random.Bytes(random.Below(60));
    } else {
      const std::string raw = Text(raw_size, &random);
      block = Compressed(raw);
      for (uint64_t flips = 1 + random.Below(3); flips > 0 && !block.empty(); --flips) {
        block[random.Below(block.size())] = static_cast<char>(
            round % 2 == 0 ? random.Below(256) : (random.Below(2) == 0 ? 0xFF : 0x0F));
      }
      if (random.Below(4) == 0) raw_size = random.Below(600);
    }
    const Exact from = Copy(block);
    const Exact to(raw_size);
    if (Lz4Decompress(from.slice(), to.data.get(), to.size)) ++accepted;
  }
  CHECK_GT(accepted, 0u);
  CHECK_LT(accepted, 60000u);
}

}  // namespace
}  // namespace gapless::snapshot::test
