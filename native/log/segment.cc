// Codecs of segment headers, marks and sidecar indexes. Pure functions but for LoadSegmentIndex.
#include "log/segment.h"

#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/hash.h"

namespace gapless::log {
namespace {

constexpr size_t kHeaderCrcAt = kSegmentHeaderBytes - 4;
constexpr size_t kHeaderReservedAt = 72;
constexpr size_t kIndexCrcAt = 24;
constexpr uint64_t kIndexFileBytesMax = 64 << 20;

uint64_t MarkHash(const MarkPlace& place, const void* bytes) {
  uint8_t covered[56];
  std::memcpy(covered, place.secret.data(), 16);
  StoreU64(covered + 16, place.segment_start);
  StoreU64(covered + 24, place.file_position);
  std::memcpy(covered + 32, bytes, 24);
  return Murmur3_128(covered, sizeof covered, 0).low;
}

uint32_t IndexCrc(Slice bytes) {
  const uint32_t head = Crc32c(bytes.Sub(0, kIndexCrcAt));
  return Crc32c(head, bytes.data() + kIndexHeaderBytes, bytes.size() - kIndexHeaderBytes);
}

}  // namespace

const char* HeaderCheckText(HeaderCheck check) {
  switch (check) {
    case HeaderCheck::kOk:
      return "ok";
    case HeaderCheck::kShort:
      return "short";
    case HeaderCheck::kMagic:
      return "magic";
    case HeaderCheck::kCrc:
      return "header_crc";
    case HeaderCheck::kFormat:
    case HeaderCheck::kCluster:
      return "format";
  }
  return "format";
}

void EncodeSegmentHeader(const SegmentHeader& header, void* to) {
  auto* bytes = static_cast<uint8_t*>(to);
  std::memset(bytes, 0, kSegmentHeaderBytes);
  std::memcpy(bytes, kSegmentMagic, 8);
  StoreU32(bytes + 8, kFormatVersion);
  StoreU32(bytes + 12, header.padded ? kSegmentFlagPadded : 0);
  std::memcpy(bytes + 16, header.cluster.bytes.data(), 16);
  EncodePosition(header.start, bytes + 32);
  StoreU64(bytes + 64, header.clock);
  StoreU32(bytes + kHeaderCrcAt, Crc32c(0, bytes, kHeaderCrcAt));
}

HeaderCheck DecodeSegmentHeader(const ClusterId& cluster, Slice bytes, SegmentHeader* header) {
  if (bytes.size() < kSegmentHeaderBytes) return HeaderCheck::kShort;
  const uint8_t* at = bytes.bytes();
  if (std::memcmp(at, kSegmentMagic, 8) != 0) return HeaderCheck::kMagic;
  if (LoadU32(at + kHeaderCrcAt) != Crc32c(0, at, kHeaderCrcAt)) return HeaderCheck::kCrc;
  const uint32_t flags = LoadU32(at + 12);
  if (LoadU32(at + 8) != kFormatVersion || (flags & ~kSegmentFlagPadded) != 0) {
    return HeaderCheck::kFormat;
  }
  for (size_t i = kHeaderReservedAt; i < kHeaderCrcAt; ++i) {
    if (at[i] != 0) return HeaderCheck::kFormat;
  }
  std::memcpy(header->cluster.bytes.data(), at + 16, 16);
  header->start = DecodePosition(at + 32);
  header->clock = LoadU64(at + 64);
  header->padded = (flags & kSegmentFlagPadded) != 0;
  return header->cluster == cluster ? HeaderCheck::kOk : HeaderCheck::kCluster;
}

void EncodeMark(const MarkPlace& place, const Mark& mark, void* to) {
  auto* bytes = static_cast<uint8_t*>(to);
  StoreU32(bytes, kMarkMagic);
  StoreU32(bytes + 4, 0);
  StoreU64(bytes + 8, mark.offset);
  StoreU64(bytes + 16, mark.durable);
  StoreU64(bytes + 24, MarkHash(place, bytes));
}

bool DecodeMark(const MarkPlace& place, const void* bytes, Mark* mark) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  if (LoadU64(at) != kMarkMagic) return false;  // magic, and the reserved zero behind it
  if (LoadU64(at + 24) != MarkHash(place, at)) return false;
  mark->offset = LoadU64(at + 8);
  mark->durable = LoadU64(at + 16);
  return true;
}

std::string EncodeSegmentIndex(uint64_t start, const std::vector<IndexEntry>& entries) {
  std::string out(kIndexHeaderBytes + entries.size() * kIndexEntryBytes, '\0');
  std::memcpy(out.data(), kIndexMagic, 8);
  StoreU32(out.data() + 8, kFormatVersion);
  StoreU32(out.data() + 12, static_cast<uint32_t>(entries.size()));
  StoreU64(out.data() + 16, start);
  char* at = out.data() + kIndexHeaderBytes;
  for (const IndexEntry& entry : entries) {
    EncodePosition(entry.before, at);
    StoreU64(at + 32, entry.file_position);
    StoreU64(at + 40, entry.timestamp);
    at += kIndexEntryBytes;
  }
  StoreU32(out.data() + kIndexCrcAt, IndexCrc(out));
  return out;
}

bool DecodeSegmentIndex(Slice bytes, uint64_t start, std::vector<IndexEntry>* entries) {
  entries->clear();
  if (bytes.size() < kIndexHeaderBytes) return false;
  const uint8_t* at = bytes.bytes();
  if (std::memcmp(at, kIndexMagic, 8) != 0) return false;
  if (LoadU32(at + kIndexCrcAt) != IndexCrc(bytes)) return false;
  const size_t count = LoadU32(at + 12);
  if (LoadU32(at + 8) != kFormatVersion || LoadU32(at + 28) != 0) return false;
  if (LoadU64(at + 16) != start) return false;
  if (bytes.size() != kIndexHeaderBytes + count * kIndexEntryBytes) return false;
  entries->reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* entry = at + kIndexHeaderBytes + i * kIndexEntryBytes;
    entries->push_back(IndexEntry{DecodePosition(entry), LoadU64(entry + 32), LoadU64(entry + 40)});
  }
  return true;
}

std::vector<IndexEntry> LoadSegmentIndex(io::FileSystem* fs, const std::string& path,
                                         uint64_t start) {
  std::vector<IndexEntry> entries;
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok() || !exists.value()) return entries;
  const Result<std::string> bytes = io::ReadWholeFile(fs, path, kIndexFileBytesMax);
  // A cache that cannot be read is as good as none: the segment itself is walked then.
  if (!bytes.ok() || !DecodeSegmentIndex(bytes.value(), start, &entries)) entries.clear();
  return entries;
}

const IndexEntry* FindIndexEntry(const std::vector<IndexEntry>& entries, uint64_t offset) {
  const auto above = std::upper_bound(
      entries.begin(), entries.end(), offset,
      [](uint64_t wanted, const IndexEntry& entry) { return wanted < entry.before.offset; });
  return above == entries.begin() ? nullptr : &*(above - 1);
}

}  // namespace gapless::log
