// Pages from the system: aligned as asked, zeroed, and gone once they are given back.
#include "base/pages.h"

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "check.h"

namespace gapless {
namespace {

constexpr size_t kBytes = size_t{4} << 20;

// Of the whole process.
uint64_t MappedPages() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  unsigned long long pages = 0;
  CHECK_EQ(std::fscanf(file, "%llu", &pages), 1);
  (void)std::fclose(file);
  return pages;
}

TEST("pages are aligned as asked, zeroed, and go back to the last one") {
  for (const size_t alignment : {size_t{4096}, size_t{2} << 20}) {
    const uint64_t before = MappedPages();
    auto* const memory = static_cast<char*>(MapPages(kBytes, alignment));
    CHECK_EQ(reinterpret_cast<uintptr_t>(memory) % alignment, 0u);
    CHECK_EQ(memory[0], 0);
    CHECK_EQ(memory[kBytes - 1], 0);
    std::memset(memory, 1, kBytes);
    UnmapPages(memory, kBytes);
    CHECK_EQ(MappedPages(), before);
  }
}

}  // namespace
}  // namespace gapless
