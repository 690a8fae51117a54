// CRC32C in three implementations, one of which is chosen at the first call. Any thread.
//
// Inside this file a "state" is the inverted register (what the instructions work on); the public
// functions take and give the usual finished value. A CRC is a polynomial over GF(2) in reflected
// bit order: bit 31 is x^0. Moving a state over n bytes multiplies it by x^(8n) modulo the
// polynomial.
#include "base/crc32c.h"

#include <array>
#include <atomic>

#include "base/coding.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace gapless {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;

// a * b modulo the polynomial.
constexpr uint32_t Multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = uint32_t{1} << 31; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
  }
  return product;
}

// kSquares[i] is x^(2^i), enough for 8 times any 64-bit length.
constexpr size_t kSquareCount = 67;
constexpr std::array<uint32_t, kSquareCount> MakeSquares() {
  std::array<uint32_t, kSquareCount> squares{};
  uint32_t power = uint32_t{1} << 30;
  for (uint32_t& square : squares) {
    square = power;
    power = Multiply(power, power);
  }
  return squares;
}
constexpr std::array<uint32_t, kSquareCount> kSquares = MakeSquares();

// value * x^(exponent * 2^first).
constexpr uint32_t MultiplyByPower(uint32_t value, uint64_t exponent, size_t first) {
  for (size_t i = first; exponent != 0; i++, exponent >>= 1) {
    if ((exponent & 1) != 0) value = Multiply(value, kSquares[i]);
  }
  return value;
}

using Tables = std::array<std::array<uint32_t, 256>, 8>;
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t state = byte;
    for (int bit = 0; bit < 8; bit++) {
      state = (state & 1) != 0 ? (state >> 1) ^ kPolynomial : state >> 1;
    }
    tables[0][byte] = state;
  }
  for (size_t k = 1; k < 8; k++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 255];
    }
  }
  return tables;
}
constexpr Tables kTables = MakeTables();

uint32_t ExtendTable(uint32_t crc, const void* data, size_t size) {
  const auto* at = static_cast<const uint8_t*>(data);
  uint32_t state = ~crc;
  for (; size >= 8; size -= 8, at += 8) {
    const uint64_t word = LoadU64(at) ^ state;
    state = 0;
    for (size_t i = 0; i < 8; i++) state ^= kTables[7 - i][word >> (8 * i) & 255];
  }
  for (; size > 0; size--, at++) state = (state >> 8) ^ kTables[0][(state ^ *at) & 255];
  return ~state;
}

#if defined(__x86_64__)

#define GAPLESS_SSE42 __attribute__((target("sse4.2")))
#define GAPLESS_SSE42_PCLMUL __attribute__((target("sse4.2,pclmul")))

GAPLESS_SSE42 inline uint32_t ExtendStateSse42(uint32_t state, const uint8_t* at, size_t size) {
  uint64_t wide = state;
  for (; size >= 8; size -= 8, at += 8) wide = _mm_crc32_u64(wide, LoadU64(at));
  state = static_cast<uint32_t>(wide);
  for (; size > 0; size--, at++) state = _mm_crc32_u8(state, *at);
  return state;
}

GAPLESS_SSE42 uint32_t ExtendSse42(uint32_t crc, const void* data, size_t size) {
  return ~ExtendStateSse42(~crc, static_cast<const uint8_t*>(data), size);
}

// The factor that moves a state over `bytes` bytes when the carry-less product is folded by
// _mm_crc32_u64: product and fold contribute x^33 of their own.
constexpr uint32_t ShiftFactor(uint64_t bytes) {
  return MultiplyByPower(uint32_t{1} << 31, bytes * 8 - 33, 0);
}

GAPLESS_SSE42_PCLMUL inline uint64_t ShiftProduct(uint64_t state, uint32_t factor) {
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<int64_t>(state)),
                                               _mm_cvtsi32_si128(static_cast<int>(factor)), 0);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

// Three streams of kStream bytes side by side hide the three-cycle latency of the instruction.
template <size_t kStream>
GAPLESS_SSE42_PCLMUL inline uint32_t ExtendThreeStreams(uint32_t state, const uint8_t* at) {
  constexpr uint32_t kFirst = ShiftFactor(2 * kStream);
  constexpr uint32_t kSecond = ShiftFactor(kStream);
  uint64_t a = state;
  uint64_t b = 0;
  uint64_t c = 0;
  for (size_t i = 0; i + 8 < kStream; i += 8) {
    a = _mm_crc32_u64(a, LoadU64(at + i));
    b = _mm_crc32_u64(b, LoadU64(at + kStream + i));
    c = _mm_crc32_u64(c, LoadU64(at + 2 * kStream + i));
  }
  a = _mm_crc32_u64(a, LoadU64(at + kStream - 8));
  b = _mm_crc32_u64(b, LoadU64(at + 2 * kStream - 8));
  const uint64_t moved = ShiftProduct(a, kFirst) ^ ShiftProduct(b, kSecond);
  return static_cast<uint32_t>(_mm_crc32_u64(c, LoadU64(at + 3 * kStream - 8) ^ moved));
}

GAPLESS_SSE42_PCLMUL uint32_t ExtendSse42Pclmul(uint32_t crc, const void* data, size_t size) {
  constexpr size_t kLong = 4096;
  constexpr size_t kShort = 128;
  const auto* at = static_cast<const uint8_t*>(data);
  uint32_t state = ~crc;
  for (; size >= 3 * kLong; size -= 3 * kLong, at += 3 * kLong) {
    state = ExtendThreeStreams<kLong>(state, at);
  }
  for (; size >= 3 * kShort; size -= 3 * kShort, at += 3 * kShort) {
    state = ExtendThreeStreams<kShort>(state, at);
  }
  return ~ExtendStateSse42(state, at, size);
}

#elif defined(__aarch64__)

#if defined(__clang__)
#define GAPLESS_ARM_CRC __attribute__((target("crc")))
#define GAPLESS_ARM_CRC_WORD __builtin_arm_crc32cd
#define GAPLESS_ARM_CRC_BYTE __builtin_arm_crc32cb
#else
#define GAPLESS_ARM_CRC __attribute__((target("+crc")))
#define GAPLESS_ARM_CRC_WORD __builtin_aarch64_crc32cx
#define GAPLESS_ARM_CRC_BYTE __builtin_aarch64_crc32cb
#endif

GAPLESS_ARM_CRC uint32_t ExtendArm(uint32_t crc, const void* data, size_t size) {
  const auto* at = static_cast<const uint8_t*>(data);
  uint32_t state = ~crc;
  for (; size >= 8; size -= 8, at += 8) state = GAPLESS_ARM_CRC_WORD(state, LoadU64(at));
  for (; size > 0; size--, at++) state = GAPLESS_ARM_CRC_BYTE(state, *at);
  return ~state;
}

bool HasArmCrc() {
#if defined(__APPLE__)
  return true;
#elif defined(__linux__)
  constexpr unsigned long kHwcapCrc32 = 1UL << 7;
  return (getauxval(AT_HWCAP) & kHwcapCrc32) != 0;
#else
  return false;
#endif
}

#endif

using Extend = uint32_t (*)(uint32_t, const void*, size_t);
uint32_t ChooseAndExtend(uint32_t crc, const void* data, size_t size);
// Threads that race for the first call store the same value.
std::atomic<Extend> chosen{ChooseAndExtend};

uint32_t ChooseAndExtend(uint32_t crc, const void* data, size_t size) {
  const Extend fastest = Crc32cImplementations().back().extend;
  chosen.store(fastest, std::memory_order_relaxed);
  return fastest(crc, data, size);
}

}  // namespace

// Slowest first: the last one is used.
std::vector<Crc32cImplementation> Crc32cImplementations() {
  std::vector<Crc32cImplementation> found{{"table", ExtendTable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) {
    found.push_back({"sse4.2", ExtendSse42});
    if (__builtin_cpu_supports("pclmul")) found.push_back({"sse4.2+pclmul", ExtendSse42Pclmul});
  }
#elif defined(__aarch64__)
  if (HasArmCrc()) found.push_back({"armv8-crc", ExtendArm});
#endif
  return found;
}

uint32_t Crc32c(uint32_t crc, const void* data, size_t size) {
  return chosen.load(std::memory_order_relaxed)(crc, data, size);
}

uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b) {
  return MultiplyByPower(crc_a, size_b, 3) ^ crc_b;
}

}  // namespace gapless
