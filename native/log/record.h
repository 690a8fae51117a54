// Encoding and verification of records: pure functions over bytes.
#pragma once

#include "base/slice.h"
#include "log/format.h"
#include "log/position.h"

namespace gapless::log {

struct RecordHeader {
  uint32_t header_crc = 0;
  uint32_t body_crc = 0;
  uint32_t body_bytes = 0;
  RecordKind kind = RecordKind::kNoop;
  uint8_t flags = 0;
  Epoch epoch;
  uint64_t first_seq = 0;
  uint32_t operations = 0;
  uint64_t timestamp = 0;
  uint64_t chain = 0;

  uint64_t RecordBytes() const;                  // header, body and padding
  uint64_t LastSeq() const;                      // first_seq + max(1, operations) - 1
  Position After(uint64_t record_offset) const;  // position behind this record
};

// Fills chain and header CRC and writes the 56 header bytes. Fixed cost, whatever the body's size.
// Requires: body_crc, body_bytes and everything else of `header` are set.
void SealHeader(const ClusterId& cluster, const Position& before, RecordHeader* header, void* to);

// What CheckRecord found; kOk or the first rule that does not hold.
enum class RecordCheck : uint8_t {
  kOk,
  kShort,  // fewer bytes than header or body need
  kHeaderCrc,
  kFormat,  // CRCs hold, but kind, flags, reserved bytes or limits are unknown to this version
  kBodyCrc,
  kPadding,
  kSequence,  // first_seq is not before.seq + 1
  kChain,
  kTimestamp,  // not above the record before
};
const char* RecordCheckText(RecordCheck check);  // "header_crc", "body_crc", "chain", "short", ...

struct RecordView {
  RecordHeader header;
  Slice body;   // points into the checked bytes
  Slice bytes;  // the whole record, with its padding
};

// Checks the header alone: CRC at `offset`, kind, limits. `bytes` must hold 56.
RecordCheck CheckHeader(const ClusterId& cluster, uint64_t offset, const void* bytes,
                        RecordHeader* header);
// Checks everything against the position and timestamp before. The view lives as long as `bytes`.
RecordCheck CheckRecord(const ClusterId& cluster, const Position& before, uint64_t timestamp_before,
                        Slice bytes, RecordView* view);
// How many whole records this process has checked: tests count that no record is checked twice.
uint64_t RecordsChecked();

// One operation of a batch body, pointing into it.
struct Operation {
  OpKind kind = OpKind::kPut;
  Slice key;                   // delRange: lower bound, inclusive
  Slice value;                 // delRange: upper bound, exclusive
  bool unbounded = false;      // delRange without upper bound
  uint64_t expires_at_ms = 0;  // 0: none
};

// Walks a batch body; never reads outside it, whatever it holds.
class BatchReader {
 public:
  explicit BatchReader(Slice body) : rest_(body) {}
  // Returns false at the end or at a malformed operation; then `malformed()` tells which.
  bool Next(Operation* operation);
  bool malformed() const { return malformed_; }

 private:
  Slice rest_;
  bool malformed_ = false;
};

// Returns kOk, kUsage (malformed) or the limit that is broken; used once per batch at the trust
// boundary (commit, and records from a peer). *operations is the count.
Status CheckBatchBody(Slice body, uint32_t* operations);

// Control bodies.
struct EpochBody {
  NodeId node;
  uint64_t random = 0;
  uint8_t cause = 0;
  Position before;
};
std::string EncodeEpochBody(const EpochBody& body);
bool DecodeEpochBody(Slice bytes, EpochBody* body);
struct CursorBody {
  Position position;
  std::string name;
};
std::string EncodeCursorBody(const CursorBody& body);
bool DecodeCursorBody(Slice bytes, CursorBody* body);
struct ConfigBody {
  uint8_t kind = 0;  // 1 slot created, 2 slot removed
  NodeId node;
};
std::string EncodeConfigBody(const ConfigBody& body);
bool DecodeConfigBody(Slice bytes, ConfigBody* body);

}  // namespace gapless::log
