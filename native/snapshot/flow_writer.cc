// FlowWriter: from entries to the bytes of a flow. One thread at a time; layout: docs/FORMAT.md
// "Flow".
//
// Entries are copied straight from the source's memory into the chunk; one that does not fit is
// continued in the next. What reading would refuse is refused here: no flow is written that cannot
// be read.
#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/lz4.h"
#include "snapshot/flow.h"
#include "snapshot/flow_decoder.h"
#include "snapshot/flow_format.h"

namespace gapless::snapshot {

class FlowWriter::Impl {
 public:
  Impl(const FlowHeader& header, std::unique_ptr<EntrySource> source)
      : header_(header), source_(std::move(source)) {
    GAPLESS_ASSERT(header.flow < header.flows && source_ != nullptr);
  }

  Result<bool> NextPiece(std::string* out) {
    if (!failed_.ok()) return failed_;
    if (state_ == State::kDone) return false;
    const size_t before = out->size();
    if (state_ == State::kHeader) {
      *out += EncodeFlowHeader(header_);
      flow_crc_ = Crc32c(0, out->data() + before, kFlowHeaderBytes);
      state_ = State::kChunks;
    } else {
      failed_ = AppendChunk(out);
      if (!failed_.ok()) {
        out->resize(before);
        return failed_;
      }
      if (out->size() == before) AppendFooter(out);
    }
    file_bytes_ += out->size() - before;
    return true;
  }

  FlowSummary summary() const {
    GAPLESS_ASSERT(state_ == State::kDone);
    FlowSummary summary;
    summary.flow = header_.flow;
    summary.entries = entries_;
    summary.bytes = bytes_;
    summary.file_bytes = file_bytes_;
    summary.crc = flow_crc_;
    return summary;
  }

 private:
  enum class State : uint8_t { kHeader, kChunks, kDone };

  // Appends nothing when no entry is left.
  Status AppendChunk(std::string* out) {
    const size_t start = out->size();
    const bool begins_inside = inside_entry();
    const uint64_t begun_before = begun_;
    const bool compress = header_.compression == Compression::kLz4;
    out->resize(start + kChunkHeaderBytes + kChunkRawBytesMax);
    char* const stored = out->data() + start + kChunkHeaderBytes;
    if (compress && raw_ == nullptr) {
      raw_ = std::make_unique_for_overwrite<char[]>(kChunkRawBytesMax);
    }
    char* const raw = compress ? raw_.get() : stored;
    size_t raw_bytes = 0;
    RETURN_IF_ERROR(Fill(raw, &raw_bytes));
    if (raw_bytes == 0) {
      out->resize(start);
      return Status::Ok();
    }
    size_t stored_bytes = raw_bytes;
    if (compress) {
      stored_bytes = compressor_.Compress(Slice(raw, raw_bytes), stored, raw_bytes - 1);
      if (stored_bytes == 0) {
        std::memcpy(stored, raw, raw_bytes);
        stored_bytes = raw_bytes;
      }
    }
    const uint32_t stored_crc = Crc32c(0, stored, stored_bytes);
    char* const head = out->data() + start;
    StoreU32(head, kChunkMagic);
    StoreU32(head + kChunkEntries, static_cast<uint32_t>(begun_ - begun_before));
    StoreU32(head + kChunkRawBytes, static_cast<uint32_t>(raw_bytes));
    StoreU32(head + kChunkStoredBytes, static_cast<uint32_t>(stored_bytes));
    StoreU32(head + kChunkStoredCrc, stored_crc);
    StoreU32(head + kChunkNumber, chunks_++);
    StoreU32(head + kChunkFlags,
             (begins_inside ? kChunkBeginsInside : 0) | (inside_entry() ? kChunkEndsInside : 0));
    StoreU32(head + kChunkCrc, Crc32c(0, head, kChunkCrc));
    flow_crc_ = Crc32c(flow_crc_, head, kChunkHeaderBytes);
    flow_crc_ = Crc32cCombine(flow_crc_, stored_crc, stored_bytes);
    out->resize(start + kChunkHeaderBytes + stored_bytes);
    return Status::Ok();
  }

  void AppendFooter(std::string* out) {
    FlowFooter footer;
    footer.chunks = chunks_;
    footer.entries = entries_;
    footer.bytes = bytes_;
    footer.flow_crc = flow_crc_;
    const std::string bytes = EncodeFlowFooter(footer);
    flow_crc_ = Crc32c(flow_crc_, bytes.data(), bytes.size());
    *out += bytes;
    state_ = State::kDone;
  }

  // Copies entries until the chunk is full or the source has ended.
  Status Fill(char* raw, size_t* filled) {
    while (*filled < kChunkRawBytesMax) {
      if (!inside_entry()) {
        bool more = false;
        RETURN_IF_ERROR(Take(&more));
        if (!more) break;
      }
      while (part_ < kParts && *filled < kChunkRawBytesMax) {
        Slice* const part = &parts_[part_];
        const size_t count = std::min(part->size(), kChunkRawBytesMax - *filled);
        if (count != 0) std::memcpy(raw + *filled, part->data(), count);
        *filled += count;
        part->RemovePrefix(count);
        if (part->empty()) ++part_;
      }
      // An empty value behind a full chunk must not look like an entry that goes on.
      while (part_ < kParts && parts_[part_].empty()) ++part_;
    }
    return Status::Ok();
  }

  // Fetches the next entry and lays it out in parts_.
  Status Take(bool* more) {
    *more = false;
    if (ended_) return Status::Ok();
    table::Entry entry;
    Status error;
    if (!source_->Next(&entry, &error)) {
      ended_ = true;
      return error;
    }
    RETURN_IF_ERROR(Check(entry));
    StoreU16(head_, static_cast<uint16_t>(entry.key.size()));
    head_[kEntryFlags] = entry.expires_at_ms != 0 ? kEntryFlagExpiry : 0;
    head_[kEntryZero] = 0;
    StoreU32(head_ + kEntryValueBytes, static_cast<uint32_t>(entry.value.size()));
    StoreU64(head_ + kEntrySeq, entry.seq);
    StoreU64(head_ + kEntryExpiry, entry.expires_at_ms);
    parts_[0] = Slice(head_, kEntryHeadBytes + (entry.expires_at_ms != 0 ? kEntryExpiryBytes : 0));
    parts_[1] = entry.key;
    parts_[2] = entry.value;
    part_ = 0;
    ++begun_;
    ++entries_;
    bytes_ += entry.key.size() + entry.value.size();
    *more = true;
    return Status::Ok();
  }

  Status Check(const table::Entry& entry) {
    if (entry.key.size() > kEntryKeyBytesMax) {
      return Status::Error(Code::kKeyTooLarge,
                           "write flow: key of " + std::to_string(entry.key.size()) + " bytes");
    }
    if (entry.value.size() > kEntryValueBytesMax) {
      return Status::Error(Code::kValueTooLarge,
                           "write flow: value of " + std::to_string(entry.value.size()) + " bytes");
    }
    if (begun_ != 0 && Slice(last_key_).Compare(entry.key) >= 0) {
      return Status::Error(Code::kCorrupt, "write flow: keys do not rise").With("what", "order");
    }
    last_key_.assign(entry.key.data(), entry.key.size());
    return Status::Ok();
  }

  bool inside_entry() const { return part_ < kParts; }

  static constexpr size_t kParts = 3;  // head, key, value
  const FlowHeader header_;
  const std::unique_ptr<EntrySource> source_;
  State state_ = State::kHeader;
  Status failed_;
  bool ended_ = false;
  char head_[kEntryHeadBytes + kEntryExpiryBytes];
  Slice parts_[kParts];  // what is left of the entry in work
  size_t part_ = kParts;
  std::string last_key_;
  std::unique_ptr<char[]> raw_;  // a chunk before its compression
  Lz4Compressor compressor_;
  uint32_t chunks_ = 0;
  uint64_t begun_ = 0;
  uint64_t entries_ = 0;
  uint64_t bytes_ = 0;
  uint64_t file_bytes_ = 0;
  uint32_t flow_crc_ = 0;
};

FlowWriter::FlowWriter(const FlowHeader& header, std::unique_ptr<EntrySource> source)
    : impl_(std::make_unique<Impl>(header, std::move(source))) {}
FlowWriter::~FlowWriter() = default;
Result<bool> FlowWriter::NextPiece(std::string* out) { return impl_->NextPiece(out); }
FlowSummary FlowWriter::summary() const { return impl_->summary(); }

}  // namespace gapless::snapshot
