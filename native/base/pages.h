// Large pieces of memory straight from the system, and straight back to it.
//
// Why not malloc: glibc raises its threshold for mapped allocations with each one that is freed, so
// that blocks of a megabyte soon come from its heaps, which many threads with memory of different
// ages fill with holes: a store that flushes and merges for minutes then keeps several times the
// memory that it uses.
//
// Threads: any.
#pragma once

#include <cstddef>

namespace gapless {

// Zeroed. `alignment` is a power of two and a multiple of the page size; `bytes` is a multiple of
// it or of the page size. Never null: the process ends when the system has no memory left, as with
// operator new.
void* MapPages(size_t bytes, size_t alignment);
// Both as given to and by MapPages.
void UnmapPages(void* memory, size_t bytes);

}  // namespace gapless
