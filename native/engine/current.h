// The CURRENT file: which generation lives. One line of text; published by rename, last at creation
// and at each switch. Layout: docs/FORMAT.md "CURRENT". Any thread.
#pragma once

#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "io/file_system.h"

namespace gapless::engine {

std::string EncodeCurrent(uint64_t generation);
// kCorrupt with file and offset, kFormatUnsupported.
Result<uint64_t> DecodeCurrent(Slice bytes, const std::string& file);
Result<uint64_t> ReadCurrent(io::FileSystem* fs, const std::string& directory);
// The switch: everything that the generation needs must be durable.
Status PublishCurrent(io::FileSystem* fs, const std::string& directory, uint64_t generation);

}  // namespace gapless::engine
