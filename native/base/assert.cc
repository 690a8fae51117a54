// The end of the process when an invariant is broken. Any thread.
#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace gapless {

void AssertFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "gaplessdb: assertion failed: %s (%s:%d)\n", condition, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace gapless
