// CRC32C: published vectors, and every implementation of this machine against every other.
#include "base/crc32c.h"

#include <string>

#include "base/random.h"
#include "check.h"

namespace gapless {
namespace {

std::string RandomBytes(SeededRandom* random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random->Next() & 255);
  return bytes;
}

// One bit at a time, straight from the definition.
uint32_t Reference(uint32_t crc, const char* data, size_t size) {
  uint32_t state = ~crc;
  for (size_t i = 0; i < size; i++) {
    state ^= static_cast<uint8_t>(data[i]);
    for (int bit = 0; bit < 8; bit++) state = (state >> 1) ^ ((state & 1) != 0 ? 0x82f63b78U : 0);
  }
  return ~state;
}

TEST("crc32c of the published vectors") {
  std::string ascending;
  std::string descending;
  for (int i = 0; i < 32; i++) {
    ascending.push_back(static_cast<char>(i));
    descending.push_back(static_cast<char>(31 - i));
  }
  for (const Crc32cImplementation& each : Crc32cImplementations()) {
    CHECK_EQ(each.extend(0, "", 0), 0U);
    CHECK_EQ(each.extend(0, "a", 1), 0xc1d04330U);
    CHECK_EQ(each.extend(0, "123456789", 9), 0xe3069283U);
    CHECK_EQ(each.extend(0, std::string(32, '\0').data(), 32), 0x8a9136aaU);
    CHECK_EQ(each.extend(0, std::string(32, '\xff').data(), 32), 0x62a8ab43U);
    CHECK_EQ(each.extend(0, ascending.data(), 32), 0x46dd794eU);
    CHECK_EQ(each.extend(0, descending.data(), 32), 0x113fdb5cU);
  }
  CHECK_EQ(Crc32c("123456789"), 0xe3069283U);
}

TEST("all crc32c implementations agree for every length and alignment") {
  SeededRandom random(1);
  const std::string bytes = RandomBytes(&random, 70000);
  for (const Crc32cImplementation& each : Crc32cImplementations()) {
    for (size_t size = 0; size < 900; size++) {
      const size_t from = size % 17;
      const auto seed = static_cast<uint32_t>(random.Next());
      CHECK_EQ(each.extend(seed, bytes.data() + from, size),
               Reference(seed, bytes.data() + from, size));
    }
    for (int round = 0; round < 150 && !check::Failed(); round++) {
      const size_t from = static_cast<size_t>(random.Below(64));
      const size_t size = static_cast<size_t>(random.Below(bytes.size() - from));
      CHECK_EQ(each.extend(7, bytes.data() + from, size), Reference(7, bytes.data() + from, size));
    }
  }
}

TEST("a crc32c continues over pieces") {
  SeededRandom random(2);
  const std::string bytes = RandomBytes(&random, 30000);
  const uint32_t whole = Crc32c(bytes);
  for (int round = 0; round < 200; round++) {
    const size_t cut = static_cast<size_t>(random.Below(bytes.size() + 1));
    const uint32_t first = Crc32c(0, bytes.data(), cut);
    CHECK_EQ(Crc32c(first, bytes.data() + cut, bytes.size() - cut), whole);
  }
}

TEST("combining two crc32c values gives that of both parts") {
  SeededRandom random(3);
  const std::string bytes = RandomBytes(&random, 20000);
  const uint32_t whole = Crc32c(bytes);
  for (size_t cut = 0; cut <= bytes.size(); cut += cut < 40 || cut > 19960 ? 1 : 997) {
    const uint32_t a = Crc32c(0, bytes.data(), cut);
    const uint32_t b = Crc32c(0, bytes.data() + cut, bytes.size() - cut);
    CHECK_EQ(Crc32cCombine(a, b, bytes.size() - cut), whole);
  }
}

TEST("combining crc32c values is associative for lengths beyond memory") {
  const uint32_t a = Crc32c("a");
  const uint32_t b = Crc32c("b");
  const uint32_t c = Crc32c("c");
  const uint64_t size_b = uint64_t{1} << 40;
  const uint64_t size_c = (uint64_t{1} << 61) + 12345;
  CHECK_EQ(Crc32cCombine(Crc32cCombine(a, b, size_b), c, size_c),
           Crc32cCombine(a, Crc32cCombine(b, c, size_c), size_b + size_c));
}

}  // namespace
}  // namespace gapless
