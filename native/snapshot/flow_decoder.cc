// Header, chunk and footer layouts, and the walk over them. One thread at a time; see the header.
#include "snapshot/flow_decoder.h"

#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/lz4.h"

namespace gapless::snapshot {
namespace {

bool AllZero(Slice bytes) {
  return std::all_of(bytes.data(), bytes.data() + bytes.size(), [](char c) { return c == 0; });
}

// The first field in which two headers differ, or null.
const char* Difference(const FlowHeader& a, const FlowHeader& b, uint64_t* offset) {
  const auto at = [offset](size_t place, const char* name) {
    *offset = place;
    return name;
  };
  if (!(a.cluster == b.cluster)) return at(kFlowHeaderClusterId, "cluster id");
  if (!(a.position == b.position)) return at(kFlowHeaderPosition, "position");
  if (a.flow != b.flow) return at(kFlowHeaderFlow, "flow number");
  if (a.flows != b.flows) return at(kFlowHeaderFlows, "number of flows");
  if (a.compression != b.compression) return at(kFlowHeaderCompression, "compression");
  if (a.features != b.features) return at(kFlowHeaderFeatures, "feature flags");
  if (a.clock != b.clock) return at(kFlowHeaderClock, "clock");
  return nullptr;
}

}  // namespace

Status Damaged(const char* what, const std::string& message, const std::string& file,
               uint64_t offset) {
  return Status::Corrupt(message, file, offset).With("what", what);
}

Status Unsupported(const std::string& message, const std::string& file, uint64_t offset,
                   uint64_t found, uint64_t supported) {
  return Status::Error(Code::kFormatUnsupported, message)
      .WithFile(file, static_cast<int64_t>(offset))
      .With("found", static_cast<int64_t>(found))
      .With("supported", static_cast<int64_t>(supported));
}

std::string EncodeFlowHeader(const FlowHeader& header) {
  std::string out(kFlowHeaderBytes, '\0');
  char* const to = out.data();
  std::memcpy(to, kFlowMagic, kMagicBytes);
  StoreU32(to + kFlowHeaderVersion, kFlowVersion);
  StoreU32(to + kFlowHeaderFlow, header.flow);
  StoreU32(to + kFlowHeaderFlows, header.flows);
  StoreU32(to + kFlowHeaderCompression, static_cast<uint32_t>(header.compression));
  StoreU64(to + kFlowHeaderFeatures, header.features);
  std::memcpy(to + kFlowHeaderClusterId, header.cluster.bytes.data(), header.cluster.bytes.size());
  EncodePosition(header.position, to + kFlowHeaderPosition);
  StoreU64(to + kFlowHeaderClock, header.clock);
  StoreU32(to + kFlowHeaderCrc, Crc32c(Slice(to, kFlowHeaderCrc)));
  return out;
}

Status CheckFlowHeader(Slice bytes, const FlowHeader& expected, const std::string& file) {
  GAPLESS_ASSERT(bytes.size() == kFlowHeaderBytes);
  const char* const from = bytes.data();
  if (std::memcmp(from, kFlowMagic, kMagicBytes) != 0) {
    return Damaged("magic", "not a flow of a snapshot", file, 0);
  }
  if (Crc32c(bytes.Sub(0, kFlowHeaderCrc)) != LoadU32(from + kFlowHeaderCrc)) {
    return Damaged("header_crc", "flow header fails its checksum", file, 0);
  }
  const uint32_t version = LoadU32(from + kFlowHeaderVersion);
  if (version != kFlowVersion) {
    return Unsupported("flow of another version", file, kFlowHeaderVersion, version, kFlowVersion);
  }
  const uint32_t compression = LoadU32(from + kFlowHeaderCompression);
  if (compression > static_cast<uint32_t>(Compression::kLz4)) {
    return Unsupported("flow with an unknown compression", file, kFlowHeaderCompression,
                       compression, static_cast<uint32_t>(Compression::kLz4));
  }
  const uint64_t features = LoadU64(from + kFlowHeaderFeatures);
  if (features != 0) {
    return Unsupported("flow with unknown features", file, kFlowHeaderFeatures, features, 0);
  }
  if (!AllZero(bytes.Sub(kFlowHeaderReserved, kFlowHeaderCrc - kFlowHeaderReserved))) {
    return Unsupported("flow header with reserved bytes set", file, kFlowHeaderReserved, 1, 0);
  }
  FlowHeader header;
  header.flow = LoadU32(from + kFlowHeaderFlow);
  header.flows = LoadU32(from + kFlowHeaderFlows);
  header.compression = static_cast<Compression>(compression);
  header.features = features;
  std::memcpy(header.cluster.bytes.data(), from + kFlowHeaderClusterId,
              header.cluster.bytes.size());
  header.position = DecodePosition(from + kFlowHeaderPosition);
  header.clock = LoadU64(from + kFlowHeaderClock);
  uint64_t place = 0;
  const char* const field = Difference(header, expected, &place);
  if (field == nullptr) return Status::Ok();
  return Damaged("token", std::string("flow of something else: another ") + field, file, place);
}

std::string EncodeFlowFooter(const FlowFooter& footer) {
  std::string out(kFooterBytes, '\0');
  char* const to = out.data();
  StoreU32(to, kFooterMagic);
  StoreU32(to + kFooterChunks, footer.chunks);
  StoreU64(to + kFooterEntries, footer.entries);
  StoreU64(to + kFooterKeyValueBytes, footer.bytes);
  StoreU32(to + kFooterFlowCrc, footer.flow_crc);
  StoreU32(to + kFooterCrc, Crc32c(Slice(to, kFooterCrc)));
  std::memcpy(to + kFooterEnd, kFlowEndMagic, kMagicBytes);
  return out;
}

Status DecodeFlowFooter(Slice bytes, const std::string& file, uint64_t offset, FlowFooter* footer) {
  GAPLESS_ASSERT(bytes.size() == kFooterBytes);
  const char* const from = bytes.data();
  if (std::memcmp(from + kFooterEnd, kFlowEndMagic, kMagicBytes) != 0) {
    return Damaged("footer", "flow does not end with its magic", file, offset + kFooterEnd);
  }
  if (Crc32c(bytes.Sub(0, kFooterCrc)) != LoadU32(from + kFooterCrc)) {
    return Damaged("footer", "flow footer fails its checksum", file, offset);
  }
  if (LoadU32(from) != kFooterMagic) {
    return Damaged("footer", "no footer where the flow ends", file, offset);
  }
  footer->chunks = LoadU32(from + kFooterChunks);
  footer->entries = LoadU64(from + kFooterEntries);
  footer->bytes = LoadU64(from + kFooterKeyValueBytes);
  footer->flow_crc = LoadU32(from + kFooterFlowCrc);
  return Status::Ok();
}

FlowDecoder::FlowDecoder(const FlowHeader& expected, std::string file, bool keep_values)
    : expected_(expected), file_(std::move(file)), parser_(keep_values) {}

Status FlowDecoder::Step(Slice bytes) {
  if (!failed_.ok()) return failed_;
  GAPLESS_ASSERT(wanted_ > 0 && bytes.size() == wanted_ && !in_chunk_);
  failed_ = Advance(bytes);
  return failed_;
}

Status FlowDecoder::Advance(Slice bytes) {
  switch (step_) {
    case StepKind::kHeader:
      RETURN_IF_ERROR(CheckFlowHeader(bytes, expected_, file_));
      flow_crc_ = Crc32c(bytes);
      offset_ = verified_ = kFlowHeaderBytes;
      return Want(StepKind::kUnit, kChunkHeaderBytes);
    case StepKind::kUnit:
      return StepUnit(bytes);
    case StepKind::kStored:
      return StepStored(bytes);
    case StepKind::kFooter:
      return StepFooter(bytes);
    case StepKind::kDone:
      break;
  }
  GAPLESS_ASSERT(false);
}

Status FlowDecoder::Want(StepKind step, size_t bytes) {
  step_ = step;
  wanted_ = bytes;
  return Status::Ok();
}

Status FlowDecoder::StepUnit(Slice bytes) {
  const char* const from = bytes.data();
  if (Crc32c(bytes.Sub(0, kChunkCrc)) != LoadU32(from + kChunkCrc)) {
    return Damaged("header_crc", "chunk header fails its checksum", file_, offset_);
  }
  const uint32_t magic = LoadU32(from);
  if (magic == kFooterMagic) {
    std::memcpy(unit_, from, bytes.size());
    offset_ += bytes.size();
    return Want(StepKind::kFooter, kFooterBytes - kChunkHeaderBytes);
  }
  if (magic != kChunkMagic) return Damaged("magic", "neither chunk nor footer", file_, offset_);
  chunk_.offset = offset_;
  chunk_.entries = LoadU32(from + kChunkEntries);
  chunk_.raw_bytes = LoadU32(from + kChunkRawBytes);
  chunk_.stored_bytes = LoadU32(from + kChunkStoredBytes);
  chunk_.stored_crc = LoadU32(from + kChunkStoredCrc);
  chunk_.flags = LoadU32(from + kChunkFlags);
  if ((chunk_.flags & ~(kChunkBeginsInside | kChunkEndsInside)) != 0) {
    return Unsupported("chunk with unknown flags", file_, offset_ + kChunkFlags, chunk_.flags,
                       kChunkBeginsInside | kChunkEndsInside);
  }
  if (LoadU32(from + kChunkNumber) != chunks_) {
    return Damaged("order", "chunk out of order", file_, offset_ + kChunkNumber);
  }
  if (chunk_.raw_bytes == 0 || chunk_.raw_bytes > kChunkRawBytesMax) {
    return Damaged("format", "chunk of a forbidden length", file_, offset_ + kChunkRawBytes);
  }
  const bool as_it_is = chunk_.stored_bytes == chunk_.raw_bytes;
  if (chunk_.stored_bytes == 0 || chunk_.stored_bytes > chunk_.raw_bytes ||
      (!as_it_is && expected_.compression == Compression::kNone)) {
    return Damaged("format", "chunk stored in a forbidden length", file_,
                   offset_ + kChunkStoredBytes);
  }
  if (((chunk_.flags & kChunkBeginsInside) != 0) != parser_.inside_entry()) {
    return Damaged("format", "chunk does not go on where the one before ended", file_,
                   offset_ + kChunkFlags);
  }
  flow_crc_ = Crc32c(flow_crc_, from, bytes.size());
  offset_ += bytes.size();
  return Want(StepKind::kStored, chunk_.stored_bytes);
}

Status FlowDecoder::StepStored(Slice bytes) {
#ifndef GAPLESS_BUG_CHUNK_CRC_NOT_CHECKED
  if (Crc32c(bytes) != chunk_.stored_crc) {
    return Damaged("body_crc", "chunk fails its checksum", file_, offset_);
  }
#endif
  Slice raw = bytes;
  if (chunk_.stored_bytes != chunk_.raw_bytes) {
    if (raw_ == nullptr) raw_ = std::make_unique_for_overwrite<char[]>(kChunkRawBytesMax);
    if (!Lz4Decompress(bytes, raw_.get(), chunk_.raw_bytes)) {
      return Damaged("format", "chunk cannot be decompressed", file_, offset_);
    }
    raw = Slice(raw_.get(), chunk_.raw_bytes);
  }
  flow_crc_ = Crc32cCombine(flow_crc_, chunk_.stored_crc, bytes.size());
  begun_before_ = parser_.begun();
  parser_.Feed(raw);
  in_chunk_ = true;
  return Want(StepKind::kUnit, kChunkHeaderBytes);
}

Result<bool> FlowDecoder::NextEntry(table::Entry* entry) {
  if (!failed_.ok()) return failed_;
  if (!in_chunk_) return false;
  switch (parser_.Next(entry)) {
    case ParseOutcome::kEntry:
      // Above the position an entry would never become visible; 0 is the sequence of nothing.
      if (entry->seq != 0 && entry->seq <= expected_.position.seq) return true;
      failed_ = Damaged("order", "entry that is not of the flow's position", file_, chunk_.offset);
      break;
    case ParseOutcome::kDrained:
      failed_ = EndChunk();
      break;
    case ParseOutcome::kOrder:
      failed_ = Damaged("order", "keys do not rise", file_, chunk_.offset);
      break;
    case ParseOutcome::kFormat:
      failed_ = Damaged("format", "entry with a forbidden length or expiry", file_, chunk_.offset);
      break;
    case ParseOutcome::kUnsupported:
      failed_ = Unsupported("entry with unknown flags", file_, chunk_.offset, 1, 0);
      break;
  }
  if (!failed_.ok()) return failed_;
  return false;
}

Status FlowDecoder::EndChunk() {
  if (parser_.begun() - begun_before_ != chunk_.entries) {
    return Damaged("format", "chunk with another number of entries than its header says", file_,
                   chunk_.offset + kChunkEntries);
  }
  if (((chunk_.flags & kChunkEndsInside) != 0) != parser_.inside_entry()) {
    return Damaged("format", "chunk ends otherwise than its header says", file_,
                   chunk_.offset + kChunkFlags);
  }
  in_chunk_ = false;
  ++chunks_;
  offset_ += chunk_.stored_bytes;
  verified_ = offset_;
  return Status::Ok();
}

Status FlowDecoder::StepFooter(Slice bytes) {
  const uint64_t begin = offset_ - kChunkHeaderBytes;
  const std::string whole = std::string(unit_, sizeof unit_) + bytes.ToString();
  FlowFooter footer;
  RETURN_IF_ERROR(DecodeFlowFooter(whole, file_, begin, &footer));
  if (parser_.inside_entry()) {
    return Damaged("format", "flow ends inside an entry", file_, begin);
  }
  if (footer.chunks != chunks_ || footer.entries != parser_.entries() ||
      footer.bytes != parser_.bytes()) {
    return Damaged("footer", "footer counts something else than the flow holds", file_, begin);
  }
  if (footer.flow_crc != flow_crc_) {
    return Damaged("footer", "flow fails the checksum of its footer", file_, begin);
  }
  offset_ += bytes.size();
  verified_ = offset_;
  summary_.flow = expected_.flow;
  summary_.entries = footer.entries;
  summary_.bytes = footer.bytes;
  summary_.file_bytes = offset_;
  summary_.crc = Crc32c(flow_crc_, whole.data(), whole.size());
  return Want(StepKind::kDone, 0);
}

FlowSummary FlowDecoder::summary() const {
  GAPLESS_ASSERT(complete() && failed_.ok());
  return summary_;
}

}  // namespace gapless::snapshot
