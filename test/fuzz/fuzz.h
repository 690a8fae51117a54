// What a fuzz target is: bytes in, properties checked, nothing returned. A target registers itself
// before main; driver.cc runs one of them by name, with its own mutator or under libFuzzer. One
// thread.
//
// Most mutated inputs die at a checksum. The first byte of an input therefore tells a target to
// repair checksums before it parses, so that what stands behind them is reached, too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/slice.h"

namespace gapless::fuzz {

struct Target {
  const char* name = "";
  void (*run)(Slice input) = nullptr;
  std::vector<std::string> (*seeds)() = nullptr;
};

struct Registration {
  explicit Registration(const Target& target);
};

// Prints the property that does not hold and aborts: the driver saves the input.
[[noreturn]] void Fail(const char* file, int line, const char* property);

// Takes the first byte off: what to repair.
inline uint8_t TakeMode(Slice* input) {
  if (input->empty()) return 0;
  const uint8_t mode = input->bytes()[0];
  input->RemovePrefix(1);
  return mode;
}

}  // namespace gapless::fuzz

#define FUZZ_CHECK(property)                                               \
  do {                                                                     \
    if (!(property)) ::gapless::fuzz::Fail(__FILE__, __LINE__, #property); \
  } while (false)
