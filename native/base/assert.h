// Assertions stay on in release: a broken invariant must stop the process before it reaches disk.
#pragma once

namespace gapless {

[[noreturn]] void AssertFailed(const char* condition, const char* file, int line);

}  // namespace gapless

#define GAPLESS_ASSERT(condition)                                              \
  do {                                                                         \
    if (!(condition)) ::gapless::AssertFailed(#condition, __FILE__, __LINE__); \
  } while (false)
