// Little-endian integers in byte buffers. Every number on disk and on the wire goes through here.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace gapless {

static_assert(std::endian::native == std::endian::little, "big-endian hosts need byte swaps here");

template <typename T>
inline T LoadLe(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <typename T>
inline void StoreLe(void* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}
inline uint16_t LoadU16(const void* from) { return LoadLe<uint16_t>(from); }
inline uint32_t LoadU32(const void* from) { return LoadLe<uint32_t>(from); }
inline uint64_t LoadU64(const void* from) { return LoadLe<uint64_t>(from); }
inline void StoreU16(void* to, uint16_t value) { StoreLe(to, value); }
inline void StoreU32(void* to, uint32_t value) { StoreLe(to, value); }
inline void StoreU64(void* to, uint64_t value) { StoreLe(to, value); }

template <typename T>
inline void AppendLe(std::string* to, T value) {
  char bytes[sizeof(T)];
  StoreLe(bytes, value);
  to->append(bytes, sizeof(T));
}

inline constexpr uint64_t AlignUp8(uint64_t value) { return (value + 7) & ~uint64_t{7}; }

}  // namespace gapless
