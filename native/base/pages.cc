// Maps more than is asked for where the system's alignment does not do, and returns the margins.
#include "base/pages.h"

#include <cstdint>
#include <cstdlib>

#include "base/assert.h"

#if defined(_WIN32)
#include <malloc.h>

#include <cstring>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace gapless {

#if defined(_WIN32)

void* MapPages(size_t bytes, size_t alignment) {
  void* const memory = _aligned_malloc(bytes, alignment);
  GAPLESS_ASSERT(memory != nullptr);
  std::memset(memory, 0, bytes);
  return memory;
}

void UnmapPages(void* memory, size_t bytes) {
  (void)bytes;
  _aligned_free(memory);
}

#else

void* MapPages(size_t bytes, size_t alignment) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t margin = alignment > page ? alignment - page : 0;
  void* const mapped =
      mmap(nullptr, bytes + margin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  GAPLESS_ASSERT(mapped != MAP_FAILED);
  const auto start = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (start + alignment - 1) & ~(uintptr_t{alignment} - 1);
  const size_t before = aligned - start;
  if (before > 0) UnmapPages(mapped, before);
  if (margin > before) UnmapPages(reinterpret_cast<char*>(aligned) + bytes, margin - before);
  return reinterpret_cast<void*>(aligned);
}

void UnmapPages(void* memory, size_t bytes) { GAPLESS_ASSERT(munmap(memory, bytes) == 0); }

#endif

}  // namespace gapless
