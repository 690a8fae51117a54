// One flow of a snapshot: the same bytes go to a file or to a socket. Layout: docs/FORMAT.md
// "Flow".
//
// Pure over bytes: entries come from an EntrySource given by the caller (this room never includes
// engine), bytes go where the caller puts them. One thread uses a writer or reader at a time.
#pragma once

#include <memory>
#include <string>

#include "base/slice.h"
#include "base/status.h"
#include "log/position.h"
#include "table/store.h"

namespace gapless::snapshot {

enum class Compression : uint8_t { kNone = 0, kLz4 = 1 };

struct FlowHeader {
  uint32_t flow = 0;
  uint32_t flows = 1;
  Compression compression = Compression::kNone;
  uint64_t features = 0;
  ClusterId cluster;
  Position position;
  uint64_t clock = 0;
  bool operator==(const FlowHeader&) const = default;
};

// What the token says of a flow, and what its footer must agree with.
struct FlowSummary {
  uint32_t flow = 0;
  uint64_t entries = 0;
  uint64_t bytes = 0;       // key and value bytes
  uint64_t file_bytes = 0;  // the whole flow, header and footer included
  uint32_t crc = 0;         // CRC of the whole flow, footer included
  bool operator==(const FlowSummary&) const = default;
};

// Gives live entries in key order. The slices live until the next call.
class EntrySource {
 public:
  virtual ~EntrySource() = default;
  // Returns false at the end; *error is set if it ended because of one.
  virtual bool Next(table::Entry* entry, Status* error) = 0;
};

// Turns entries into the bytes of a flow, piece by piece: header first, one chunk a call, footer
// last. Memory is bounded by two chunks, whatever the size of a value.
class FlowWriter {
 public:
  FlowWriter(const FlowHeader& header, std::unique_ptr<EntrySource> source);
  ~FlowWriter();
  // Appends the next piece to `out` (at most kPieceBytesMax). Returns false when the footer has
  // been given already.
  Result<bool> NextPiece(std::string* out);
  // Requires: NextPiece returned false.
  FlowSummary summary() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};
inline constexpr size_t kChunkRawBytesMax = 1 << 20;
inline constexpr size_t kPieceBytesMax = kChunkRawBytesMax + 4096;

// Checks the bytes of a flow as they arrive, in pieces of any size, without applying anything. Used
// on a socket: accepts exactly one flow with the expected header and tells where verified chunks
// end.
class FlowVerifier {
 public:
  FlowVerifier(const FlowHeader& expected, const std::string& name_in_errors);
  ~FlowVerifier();
  Status Feed(Slice bytes);         // kCorrupt with offset; kFormatUnsupported
  bool Complete() const;            // footer seen and right; more bytes are an error
  uint64_t verified_bytes() const;  // end of the last whole verified piece
  FlowSummary summary() const;      // requires Complete()

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Parses a flow that was verified as a whole before. Gives entries in order.
class FlowReader {
 public:
  virtual ~FlowReader() = default;
  virtual const FlowHeader& header() const = 0;
  // Returns false at the end. kCorrupt with file and offset.
  virtual Result<bool> Next(table::Entry* entry) = 0;  // slices live until the next call
};

}  // namespace gapless::snapshot
