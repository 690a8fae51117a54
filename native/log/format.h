// Constants of the log's byte layouts. Tables: docs/FORMAT.md. No logic.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gapless::log {

inline constexpr uint32_t kFormatVersion = 1;

// Record header.
inline constexpr size_t kRecordHeaderBytes = 56;
inline constexpr size_t kRecordHeaderCrc = 0;
inline constexpr size_t kRecordBodyCrc = 4;
inline constexpr size_t kRecordBodyBytes = 8;
inline constexpr size_t kRecordKind = 12;
inline constexpr size_t kRecordFlags = 13;
inline constexpr size_t kRecordReserved = 14;
inline constexpr size_t kRecordTerm = 16;
inline constexpr size_t kRecordRun = 20;
inline constexpr size_t kRecordFirstSeq = 24;
inline constexpr size_t kRecordOperations = 32;
inline constexpr size_t kRecordReserved2 = 36;
inline constexpr size_t kRecordTimestamp = 40;
inline constexpr size_t kRecordChain = 48;

enum class RecordKind : uint8_t {
  kBatch = 1,
  kEpoch = 2,
  kNoop = 3,
  kCursor = 4,
  kDigest = 5,
  kConfig = 6,
};

enum class OpKind : uint8_t { kPut = 1, kDel = 2, kDelRange = 3 };
inline constexpr uint8_t kOpFlagExpiry = 1;
inline constexpr uint8_t kOpFlagUnbounded = 2;
inline constexpr size_t kOpHeaderBytes = 8;

inline constexpr size_t kKeyBytesMax = 32 * 1024;
inline constexpr size_t kValueBytesMax = 64 * 1024 * 1024;
inline constexpr size_t kBodyBytesMax = 128 * 1024 * 1024;
inline constexpr uint32_t kOperationsMax = 1000000;

// Segment header.
inline constexpr char kSegmentMagic[] = "GPLSLOG1";
inline constexpr size_t kSegmentHeaderBytes = 128;
inline constexpr uint32_t kSegmentFlagPadded = 1;

// Mark.
inline constexpr uint32_t kMarkMagic = 0x4B524D47;
inline constexpr size_t kMarkBytes = 32;

// Sidecar index.
inline constexpr char kIndexMagic[] = "GPLSIDX1";
inline constexpr size_t kIndexHeaderBytes = 32;
inline constexpr size_t kIndexEntryBytes = 48;

}  // namespace gapless::log
