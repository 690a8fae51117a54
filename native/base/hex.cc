// Hex digits of bytes and numbers.
#include "base/hex.h"

namespace gapless {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

int DigitValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

std::string HexNumber(uint64_t value, size_t digits) {
  std::string text(digits, '0');
  for (size_t at = digits; at > 0; at--) {
    text[at - 1] = kDigits[value & 15];
    value >>= 4;
  }
  return text;
}

}  // namespace

std::string HexEncode(Slice bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (size_t i = 0; i < bytes.size(); i++) {
    text.push_back(kDigits[bytes.bytes()[i] >> 4]);
    text.push_back(kDigits[bytes.bytes()[i] & 15]);
  }
  return text;
}

bool HexDecode(Slice text, std::string* bytes) {
  bytes->clear();
  if (text.size() % 2 != 0) return false;
  bytes->reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = DigitValue(text[i]);
    const int low = DigitValue(text[i + 1]);
    if (high < 0 || low < 0) {
      bytes->clear();
      return false;
    }
    bytes->push_back(static_cast<char>(high * 16 + low));
  }
  return true;
}

std::string HexU32(uint32_t value) { return HexNumber(value, 8); }
std::string HexU64(uint64_t value) { return HexNumber(value, 16); }
std::string HexU128(uint64_t high, uint64_t low) { return HexU64(high) + HexU64(low); }

bool ParseHexU64(Slice text, uint64_t* value) {
  if (text.size() != 16) return false;
  uint64_t parsed = 0;
  for (size_t i = 0; i < text.size(); i++) {
    const int digit = DigitValue(text[i]);
    if (digit < 0) return false;
    parsed = parsed << 4 | static_cast<uint64_t>(digit);
  }
  *value = parsed;
  return true;
}

}  // namespace gapless
