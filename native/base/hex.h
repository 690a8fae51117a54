// Bytes as lower-case hex digits and back. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/slice.h"

namespace gapless {

std::string HexEncode(Slice bytes);
// Takes both cases; false on an odd length or any other character, `*bytes` is left empty then.
bool HexDecode(Slice text, std::string* bytes);

// Numbers, most significant digit first: 8, 16 digits.
std::string HexU32(uint32_t value);
std::string HexU64(uint64_t value);
// A number of 128 bits as 32 digits: `high` first.
std::string HexU128(uint64_t high, uint64_t low);
// Exactly 16 digits, else false and `*value` is untouched.
bool ParseHexU64(Slice text, uint64_t* value);

}  // namespace gapless
