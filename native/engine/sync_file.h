// incoming/SYNC: which full sync the files beside it belong to. Layout: docs/FORMAT.md.
//
// Pure functions, any thread.
#pragma once

#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "log/position.h"
#include "snapshot/snapshot.h"

namespace gapless::engine {

inline constexpr char kSyncFile[] = "SYNC";  // in incoming/
inline constexpr char kSyncMagic[] = "GPLSSYN1";
inline constexpr uint32_t kSyncVersion = 1;
inline constexpr size_t kSyncVersionAt = 8;
inline constexpr size_t kSyncTokenBytesAt = 12;
inline constexpr size_t kSyncIdAt = 16;
inline constexpr size_t kSyncHeadBytes = 32;
inline constexpr size_t kSyncCrcBytes = 4;
inline constexpr size_t kSyncBytesMax = 80 * 1024 * 1024;

std::string EncodeSyncFile(const Id128& sync, const snapshot::Token& token);
// kCorrupt, kFormatUnsupported.
Status DecodeSyncFile(Slice bytes, const std::string& file, Id128* sync, snapshot::Token* token);

}  // namespace gapless::engine
