// Constants of the byte layout of runs. Tables: docs/FORMAT.md "Run". No logic.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gapless::table {

// File header.
inline constexpr char kRunMagic[] = "GPLSRUN1";
inline constexpr size_t kRunMagicBytes = 8;
inline constexpr uint32_t kRunVersion = 1;
inline constexpr size_t kRunHeaderBytes = 64;
inline constexpr size_t kRunHeaderVersion = 8;
inline constexpr size_t kRunHeaderShard = 12;
inline constexpr size_t kRunHeaderNumber = 16;
inline constexpr size_t kRunHeaderClusterId = 24;
inline constexpr size_t kRunHeaderReserved = 40;
inline constexpr size_t kRunHeaderCrc = 60;

// Block header.
inline constexpr size_t kBlockHeaderBytes = 16;
inline constexpr size_t kBlockStoredBytes = 0;
inline constexpr size_t kBlockRawBytes = 4;
inline constexpr size_t kBlockType = 8;
inline constexpr size_t kBlockCompression = 9;
inline constexpr size_t kBlockReserved = 10;
inline constexpr size_t kBlockCrc = 12;

enum class BlockType : uint8_t { kData = 1, kPage = 2, kRanges = 3, kTop = 4 };

inline constexpr size_t kRunKeyBytesMax = 32 * 1024 + 1;  // a bound may be a byte longer than a key
inline constexpr size_t kRunValueBytesMax = 64 * 1024 * 1024;
inline constexpr uint32_t kRunBlockBytesMax = 1024 * 1024;  // of RunOptions::block_bytes
// The largest value with its key, or a block of kRunBlockBytesMax.
inline constexpr uint32_t kDataRawBytesMax = 65 * 1024 * 1024;
inline constexpr uint32_t kPageRawBytesMax = 256 * 1024 * 1024;
inline constexpr uint32_t kOtherRawBytesMax = 1024 * 1024 * 1024;

// Raw content of a data block, and its entries.
inline constexpr size_t kDataEntries = 0;
inline constexpr size_t kDataCommonBytes = 4;
inline constexpr size_t kDataHeadBytes = 8;
inline constexpr size_t kDataNarrowMax = 65535;  // up to this raw size offsets have two bytes
inline constexpr uint8_t kEntryDeleted = 1;
inline constexpr uint8_t kEntryExpires = 2;
inline constexpr uint8_t kEntryAgain = 4;   // an older version of the entry before
inline constexpr uint8_t kEntryStored = 8;  // the value is a reference into a value file
inline constexpr uint8_t kEntryFlagsKnown = 15;

// A reference into a value file, in the place of a value.
inline constexpr size_t kValueRefBytes = 28;
inline constexpr size_t kValueRefFile = 0;
inline constexpr size_t kValueRefPosition = 8;
inline constexpr size_t kValueRefStoredBytes = 16;
inline constexpr size_t kValueRefRawBytes = 20;
inline constexpr size_t kValueRefCrc = 24;

// Raw content of a page and of the top block.
inline constexpr size_t kIndexChildren = 0;
inline constexpr size_t kIndexCommonBytes = 4;
inline constexpr size_t kIndexExtraBytes = 8;
inline constexpr size_t kIndexReserved = 12;
inline constexpr size_t kIndexHeadBytes = 16;
inline constexpr size_t kIndexChildBytes = 24;
inline constexpr uint32_t kPageChildrenMax = 64;

inline constexpr size_t kFilterLineBytes = 64;

// Extent and ranges.
inline constexpr size_t kExtentHeadBytes = 12;
inline constexpr size_t kRangesHeadBytes = 8;
inline constexpr size_t kFragmentHeadBytes = 16;
inline constexpr uint32_t kFlagUnbounded = 1;

// Footer.
inline constexpr char kRunEndMagic[] = "GPLSRNE1";
inline constexpr size_t kRunFooterBytes = 128;
inline constexpr size_t kRunFooterTopPosition = 0;
inline constexpr size_t kRunFooterTopBytes = 8;
inline constexpr size_t kRunFooterRangesBytes = 12;
inline constexpr size_t kRunFooterRangesPosition = 16;
inline constexpr size_t kRunFooterCells = 24;
inline constexpr size_t kRunFooterDeletions = 32;
inline constexpr size_t kRunFooterRangeDeletes = 40;
inline constexpr size_t kRunFooterRawBytes = 48;
inline constexpr size_t kRunFooterMinSeq = 56;
inline constexpr size_t kRunFooterMaxSeq = 64;
inline constexpr size_t kRunFooterPages = 72;
inline constexpr size_t kRunFooterDataBlocks = 76;
inline constexpr size_t kRunFooterReserved = 80;
inline constexpr size_t kRunFooterCrc = 116;
inline constexpr size_t kRunFooterEnd = 120;

// Header of a value file.
inline constexpr char kValuesMagic[] = "GPLSVAL1";
inline constexpr size_t kValuesMagicBytes = 8;
inline constexpr uint32_t kValuesVersion = 1;
inline constexpr size_t kValuesHeaderBytes = 64;
inline constexpr size_t kValuesHeaderVersion = 8;
inline constexpr size_t kValuesHeaderShard = 12;
inline constexpr size_t kValuesHeaderNumber = 16;
inline constexpr size_t kValuesHeaderClusterId = 24;
inline constexpr size_t kValuesHeaderReserved = 40;
inline constexpr size_t kValuesHeaderCrc = 60;

}  // namespace gapless::table
