// The one reading of a flow, behind the verifier (socket, whole file) and the reader (entries).
//
// Walks header, chunks and footer in order and judges each before anything in it is used: CRC, then
// limits, then content. Owns no file: its owner gives exactly the bytes it asks for. Errors are
// sticky. One thread at a time.
#pragma once

#include <memory>
#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "snapshot/flow.h"
#include "snapshot/flow_entries.h"
#include "snapshot/flow_format.h"

namespace gapless::snapshot {

// Damage in the words of `verify`: the detail "what" is one of its list.
Status Damaged(const char* what, const std::string& message, const std::string& file,
               uint64_t offset);
Status Unsupported(const std::string& message, const std::string& file, uint64_t offset,
                   uint64_t found, uint64_t supported);

std::string EncodeFlowHeader(const FlowHeader& header);
// Requires: bytes.size() == kFlowHeaderBytes.
Status CheckFlowHeader(Slice bytes, const FlowHeader& expected, const std::string& file);

struct FlowFooter {
  uint32_t chunks = 0;
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint32_t flow_crc = 0;
};
std::string EncodeFlowFooter(const FlowFooter& footer);
// Requires: bytes.size() == kFooterBytes. `offset` is that of the footer.
Status DecodeFlowFooter(Slice bytes, const std::string& file, uint64_t offset, FlowFooter* footer);

class FlowDecoder {
 public:
  // Without values NextEntry gives keys only: nothing larger than a chunk is held.
  FlowDecoder(const FlowHeader& expected, std::string file, bool keep_values);

  // How many bytes Step needs; 0 when the footer was right.
  size_t wanted() const { return wanted_; }
  // Requires: exactly wanted() bytes, wanted() > 0, and NextEntry returned false since the last
  // Step. The bytes of a chunk must live until NextEntry returned false.
  Status Step(Slice bytes);
  // Next entry of the chunk given last; false: give more. Slices live until the next call.
  Result<bool> NextEntry(table::Entry* entry);

  bool complete() const { return step_ == StepKind::kDone; }
  uint64_t offset() const { return offset_; }  // of the next byte wanted
  uint64_t verified_bytes() const { return verified_; }
  FlowSummary summary() const;  // requires complete()
  const std::string& file() const { return file_; }

 private:
  enum class StepKind : uint8_t { kHeader, kUnit, kStored, kFooter, kDone };
  struct Chunk {
    uint64_t offset = 0;
    uint32_t entries = 0;
    uint32_t raw_bytes = 0;
    uint32_t stored_bytes = 0;
    uint32_t stored_crc = 0;
    uint32_t flags = 0;
  };
  Status Advance(Slice bytes);
  Status StepUnit(Slice bytes);
  Status StepStored(Slice bytes);
  Status StepFooter(Slice bytes);
  Status EndChunk();
  Status Want(StepKind step, size_t bytes);

  const FlowHeader expected_;
  const std::string file_;
  EntryParser parser_;
  StepKind step_ = StepKind::kHeader;
  size_t wanted_ = kFlowHeaderBytes;
  uint64_t offset_ = 0;
  uint64_t verified_ = 0;
  uint32_t flow_crc_ = 0;  // of everything before the unit in work
  uint32_t chunks_ = 0;
  Chunk chunk_;
  bool in_chunk_ = false;         // entries of chunk_ are being given out
  uint64_t begun_before_ = 0;     // entries begun before chunk_
  char unit_[kChunkHeaderBytes];  // first part of a footer
  std::unique_ptr<char[]> raw_;   // a decompressed chunk
  FlowSummary summary_;
  Status failed_;
};

}  // namespace gapless::snapshot
