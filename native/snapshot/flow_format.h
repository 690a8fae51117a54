// Constants of the byte layout of flows and of the SNAPSHOT token. Tables: docs/FORMAT.md. No
// logic.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gapless::snapshot {

// Flow header.
inline constexpr char kFlowMagic[] = "GPLSFLW1";
inline constexpr uint32_t kFlowVersion = 1;
inline constexpr size_t kMagicBytes = 8;
inline constexpr size_t kFlowHeaderBytes = 128;
inline constexpr size_t kFlowHeaderVersion = 8;
inline constexpr size_t kFlowHeaderFlow = 12;
inline constexpr size_t kFlowHeaderFlows = 16;
inline constexpr size_t kFlowHeaderCompression = 20;
inline constexpr size_t kFlowHeaderFeatures = 24;
inline constexpr size_t kFlowHeaderClusterId = 32;
inline constexpr size_t kFlowHeaderPosition = 48;
inline constexpr size_t kFlowHeaderClock = 80;
inline constexpr size_t kFlowHeaderReserved = 88;
inline constexpr size_t kFlowHeaderCrc = 124;

// Chunk header. A chunk header and a footer have their CRC at the same place, over the same bytes:
// it is checked before the magic says which of the two this is.
inline constexpr uint32_t kChunkMagic = 0x4B4E4843;
inline constexpr size_t kChunkHeaderBytes = 32;
inline constexpr size_t kChunkEntries = 4;
inline constexpr size_t kChunkRawBytes = 8;
inline constexpr size_t kChunkStoredBytes = 12;
inline constexpr size_t kChunkStoredCrc = 16;
inline constexpr size_t kChunkNumber = 20;
inline constexpr size_t kChunkFlags = 24;
inline constexpr size_t kChunkCrc = 28;
inline constexpr uint32_t kChunkBeginsInside = 1;
inline constexpr uint32_t kChunkEndsInside = 2;

// Footer.
inline constexpr uint32_t kFooterMagic = 0x444E4546;
inline constexpr char kFlowEndMagic[] = "GPLSEND1";
inline constexpr size_t kFooterBytes = 40;
inline constexpr size_t kFooterChunks = 4;
inline constexpr size_t kFooterEntries = 8;
inline constexpr size_t kFooterKeyValueBytes = 16;
inline constexpr size_t kFooterFlowCrc = 24;
inline constexpr size_t kFooterCrc = 28;
inline constexpr size_t kFooterEnd = 32;
static_assert(kFooterCrc == kChunkCrc);

// Entry inside the raw bytes.
inline constexpr size_t kEntryHeadBytes = 16;
inline constexpr size_t kEntryExpiryBytes = 8;
inline constexpr size_t kEntryFlags = 2;
inline constexpr size_t kEntryZero = 3;
inline constexpr size_t kEntryValueBytes = 4;
inline constexpr size_t kEntrySeq = 8;
inline constexpr size_t kEntryExpiry = 16;
inline constexpr uint8_t kEntryFlagExpiry = 1;
inline constexpr size_t kEntryKeyBytesMax = 32 * 1024;
inline constexpr size_t kEntryValueBytesMax = 64 * 1024 * 1024;

// Token.
inline constexpr char kTokenMagic[] = "GPLSSNP1";
inline constexpr uint32_t kTokenVersion = 1;
inline constexpr size_t kTokenHeadBytes = 48;
inline constexpr size_t kTokenVersionAt = 8;
inline constexpr size_t kTokenLength = 12;
inline constexpr size_t kTokenClusterId = 16;
inline constexpr size_t kTokenCreated = 32;
inline constexpr size_t kTokenCompression = 40;
inline constexpr size_t kTokenFlows = 44;
inline constexpr size_t kTokenFlowBytes = 32;
inline constexpr size_t kTokenCrcBytes = 4;
inline constexpr uint32_t kFlowsMax = 64;  // one a shard
// Larger than the largest meta state: 4096 epochs and 1024 cursors with names of 64 KiB.
inline constexpr size_t kTokenBytesMax = 80 * 1024 * 1024;

}  // namespace gapless::snapshot
