// The result of every operation that can fail, in every room below napi.
//
// A Status is OK (no allocation) or a code with what the caller needs to act: message, errno, file,
// byte offset in that file, and named details. Codes are API: they are the codes of docs/ERRORS.md
// and of src/errors.ts, and a test compares the lists. Nothing decides by message text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/slice.h"

namespace gapless {

// One entry a code; the spelling is that of INTERFACES section 21.
#define GAPLESS_CODES(X)                              \
  X(kOk, "OK")                                        \
  X(kNotOpen, "NOT_OPEN")                             \
  X(kClosed, "CLOSED")                                \
  X(kLocked, "LOCKED")                                \
  X(kReadOnly, "READ_ONLY")                           \
  X(kOptionsConflict, "OPTIONS_CONFLICT")             \
  X(kAlreadyPrimary, "ALREADY_PRIMARY")               \
  X(kNotAStore, "NOT_A_STORE")                        \
  X(kExists, "EXISTS")                                \
  X(kNotReady, "NOT_READY")                           \
  X(kFenced, "FENCED")                                \
  X(kNeedsOperator, "NEEDS_OPERATOR")                 \
  X(kConflict, "CONFLICT")                            \
  X(kNotACounter, "NOT_A_COUNTER")                    \
  X(kCounterOverflow, "COUNTER_OVERFLOW")             \
  X(kViewExpired, "VIEW_EXPIRED")                     \
  X(kHistoryChanged, "HISTORY_CHANGED")               \
  X(kPositionNotInHistory, "POSITION_NOT_IN_HISTORY") \
  X(kPositionUnavailable, "POSITION_UNAVAILABLE")     \
  X(kNotARecordEnd, "NOT_A_RECORD_END")               \
  X(kCursorAheadOfLog, "CURSOR_AHEAD_OF_LOG")         \
  X(kKeyTooLarge, "KEY_TOO_LARGE")                    \
  X(kValueTooLarge, "VALUE_TOO_LARGE")                \
  X(kBatchTooLarge, "BATCH_TOO_LARGE")                \
  X(kQueueFull, "QUEUE_FULL")                         \
  X(kTooMany, "TOO_MANY")                             \
  X(kIo, "IO")                                        \
  X(kPoisoned, "POISONED")                            \
  X(kCorrupt, "CORRUPT")                              \
  X(kFormatUnsupported, "FORMAT_UNSUPPORTED")         \
  X(kStoreAheadOfLog, "STORE_AHEAD_OF_LOG")           \
  X(kNoSpace, "NO_SPACE")                             \
  X(kEvicted, "EVICTED")                              \
  X(kInDoubt, "IN_DOUBT")                             \
  X(kNotEnoughReplicas, "NOT_ENOUGH_REPLICAS")        \
  X(kTimeout, "TIMEOUT")                              \
  X(kAuthFailed, "AUTH_FAILED")                       \
  X(kClusterMismatch, "CLUSTER_MISMATCH")             \
  X(kEpochConflict, "EPOCH_CONFLICT")                 \
  X(kProtocol, "PROTOCOL")                            \
  X(kBehindPromised, "BEHIND_PROMISED")               \
  X(kNotFound, "NOT_FOUND")                           \
  X(kUsage, "USAGE")

enum class Code : uint8_t {
#define GAPLESS_CODE_ENUM(name, text) name,
  GAPLESS_CODES(GAPLESS_CODE_ENUM)
#undef GAPLESS_CODE_ENUM
};

// Returns the stable text of a code, for instance "CORRUPT".
const char* CodeText(Code code);

// A named fact that goes into the `details` of the JavaScript error: text, or a number.
struct Detail {
  std::string name;
  std::string text;    // used when !is_number; bytes of any kind
  int64_t number = 0;  // used when is_number
  bool is_number = false;
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  static Status Ok() { return Status(); }
  static Status Error(Code code, std::string message);
  // `sys_errno` is kept and its text appended to the message. ENOSPC and EDQUOT become kNoSpace.
  static Status FromErrno(int sys_errno, std::string what, std::string file);
  // Damage: `offset` is the byte in `file`.
  static Status Corrupt(std::string what, std::string file, uint64_t offset);

  bool ok() const { return rep_ == nullptr; }
  Code code() const { return rep_ == nullptr ? Code::kOk : rep_->code; }
  bool Is(Code wanted) const { return code() == wanted; }
  const std::string& message() const;
  int sys_errno() const { return rep_ == nullptr ? 0 : rep_->sys_errno; }
  const std::string& file() const;
  int64_t offset() const { return rep_ == nullptr ? -1 : rep_->offset; }  // -1: none
  const std::vector<Detail>& details() const;

  // Each returns a copy with one more fact. Requires: !ok().
  Status WithFile(std::string file, int64_t offset) const;
  Status With(std::string name, std::string text) const;
  Status With(std::string name, int64_t number) const;
  // Prefixes the message with a verb phrase: "replay log: " + message.
  Status Wrap(const std::string& doing) const;

  std::string ToString() const;

 private:
  struct Rep {
    Code code = Code::kOk;
    std::string message;
    int sys_errno = 0;
    std::string file;
    int64_t offset = -1;
    std::vector<Detail> details;
  };
  explicit Status(std::shared_ptr<const Rep> rep) : rep_(std::move(rep)) {}
  std::shared_ptr<const Rep> rep_;
};

// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit on purpose
    GAPLESS_ASSERT(!status_.ok());
  }
  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  // Requires: ok().
  T& value() {
    GAPLESS_ASSERT(ok());
    return value_;
  }
  const T& value() const {
    GAPLESS_ASSERT(ok());
    return value_;
  }
  std::string ToString() const { return status_.ToString(); }

 private:
  Status status_;
  T value_{};
};

#define GAPLESS_CONCAT_INNER(a, b) a##b
#define GAPLESS_CONCAT(a, b) GAPLESS_CONCAT_INNER(a, b)

// The only macro that returns.
#define RETURN_IF_ERROR(expression)                  \
  do {                                               \
    ::gapless::Status status_of_call = (expression); \
    if (!status_of_call.ok()) return status_of_call; \
  } while (false)

}  // namespace gapless
