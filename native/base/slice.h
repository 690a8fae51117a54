// A borrowed range of bytes: pointer and length, never owned.
//
// Whoever hands out a Slice says how long it lives. Comparison is bytewise, as unsigned chars,
// which is the key order of the whole project.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace gapless {

class Slice {
 public:
  constexpr Slice() = default;
  constexpr Slice(const char* data, size_t size) : data_(data), size_(size) {}
  Slice(const uint8_t* data, size_t size)
      : data_(reinterpret_cast<const char*>(data)), size_(size) {}
  Slice(const std::string& text) : data_(text.data()), size_(text.size()) {}          // NOLINT
  constexpr Slice(std::string_view text) : data_(text.data()), size_(text.size()) {}  // NOLINT
  Slice(const char* text) : data_(text), size_(std::strlen(text)) {}                  // NOLINT

  const char* data() const { return data_; }
  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(data_); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  char operator[](size_t index) const { return data_[index]; }

  Slice Sub(size_t from, size_t count) const { return Slice(data_ + from, count); }
  void RemovePrefix(size_t count) {
    data_ += count;
    size_ -= count;
  }
  std::string ToString() const { return std::string(data_, size_); }
  std::string_view View() const { return std::string_view(data_, size_); }

  // Returns <0, 0, >0 as bytewise order says.
  int Compare(Slice other) const {
    const size_t common = size_ < other.size_ ? size_ : other.size_;
    const int order = common == 0 ? 0 : std::memcmp(data_, other.data_, common);
    if (order != 0) return order;
    return size_ < other.size_ ? -1 : (size_ > other.size_ ? 1 : 0);
  }
  bool StartsWith(Slice prefix) const {
    return size_ >= prefix.size_ &&
           (prefix.size_ == 0 || std::memcmp(data_, prefix.data_, prefix.size_) == 0);
  }

 private:
  const char* data_ = "";
  size_t size_ = 0;
};

inline bool operator==(Slice a, Slice b) { return a.Compare(b) == 0; }
inline bool operator!=(Slice a, Slice b) { return a.Compare(b) != 0; }
inline bool operator<(Slice a, Slice b) { return a.Compare(b) < 0; }

}  // namespace gapless
