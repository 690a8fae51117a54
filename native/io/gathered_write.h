// The loop of a gathered write over a call that may write less than it was given. Any thread.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "io/file_system.h"

namespace gapless::io {

inline constexpr size_t kPartsPerCall = 256;  // below every system's IOV_MAX

// Calls `write_some(const iovec*, int count, uint64_t offset) -> ssize_t` (-1: errno) until all
// parts are written. Returns 0 or the errno that ended it; *offset is then where the next byte
// goes.
template <typename WriteSome>
int WriteGathered(const IoVec* parts, size_t count, uint64_t* offset, WriteSome write_some) {
  size_t part = 0;
  size_t done = 0;  // bytes of parts[part] that are written
  while (true) {
    iovec vectors[kPartsPerCall];
    size_t used = 0;
    size_t skip = done;
    for (size_t i = part; i < count && used < kPartsPerCall; i++) {
      if (parts[i].size > skip) {
        // iovec holds a mutable pointer; a write puts nothing through it.
        auto* base = const_cast<char*>(static_cast<const char*>(parts[i].data)) + skip;
        vectors[used++] = iovec{base, parts[i].size - skip};
      }
      skip = 0;
    }
    if (used == 0) return 0;
    const ssize_t written = write_some(vectors, static_cast<int>(used), *offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    if (written == 0) return EIO;  // a file that takes nothing would keep this loop going for ever
    *offset += static_cast<uint64_t>(written);
    for (size_t left = static_cast<size_t>(written); left > 0;) {
      const size_t taken = std::min(left, parts[part].size - done);
      left -= taken;
      done += taken;
      if (done == parts[part].size) {
        part++;
        done = 0;
      }
    }
  }
}

}  // namespace gapless::io
