// Reading commits: see the header.
#include "engine/write_request.h"

#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/coding.h"
#include "base/crc32c.h"

namespace gapless::engine {
namespace {

constexpr size_t kCheckHeadBytes = 20;
constexpr uint8_t kCheckAbsent = 1;
constexpr size_t kIncrementBytes = 8;

Status Malformed(const char* what) { return Status::Error(Code::kUsage, what); }

// One operation of a request, increments included, with the bytes that it takes.
struct RequestOp {
  bool increment = false;
  int64_t by = 0;
  log::Operation operation;  // of an increment only the key
  Slice bytes;
};

// Walks a body in which op 4 may stand. Bounds are checked for every operation.
class RequestReader {
 public:
  explicit RequestReader(Slice body) : rest_(body) {}

  bool Next(RequestOp* op) {
    if (malformed_ || rest_.empty()) return false;
    malformed_ = true;
    if (rest_.size() < log::kOpHeaderBytes) return false;
    if (rest_.bytes()[0] == kOpIncrement) return NextIncrement(op);
    op->increment = false;
    const size_t bytes = PlainBytes();
    if (bytes == 0 || bytes > rest_.size()) return false;
    log::BatchReader reader(rest_.Sub(0, bytes));
    if (!reader.Next(&op->operation)) return false;
    return Take(bytes, op);
  }
  bool malformed() const { return malformed_; }

 private:
  size_t PlainBytes() const {
    const uint8_t flags = rest_.bytes()[1];
    return log::kOpHeaderBytes + ((flags & log::kOpFlagExpiry) != 0 ? 8 : 0) +
           LoadU16(rest_.data() + 2) + size_t{LoadU32(rest_.data() + 4)};
  }

  bool NextIncrement(RequestOp* op) {
    const size_t key_bytes = LoadU16(rest_.data() + 2);
    const size_t bytes = log::kOpHeaderBytes + key_bytes + kIncrementBytes;
    if (rest_.bytes()[1] != 0 || LoadU32(rest_.data() + 4) != kIncrementBytes) return false;
    if (rest_.size() < bytes) return false;
    op->increment = true;
    op->operation = log::Operation{};
    op->operation.key = rest_.Sub(log::kOpHeaderBytes, key_bytes);
    op->by = LoadLe<int64_t>(rest_.data() + log::kOpHeaderBytes + key_bytes);
    return Take(bytes, op);
  }

  bool Take(size_t bytes, RequestOp* op) {
    op->bytes = rest_.Sub(0, bytes);
    rest_.RemovePrefix(bytes);
    malformed_ = false;
    return true;
  }

  Slice rest_;
  bool malformed_ = false;
};

bool HoldsIncrement(Slice body) {
  // A first, unchecked walk over the headers: anything odd is left to the checked one.
  while (body.size() >= log::kOpHeaderBytes) {
    if (body.bytes()[0] == kOpIncrement) return true;
    const size_t bytes = log::kOpHeaderBytes +
                         ((body.bytes()[1] & log::kOpFlagExpiry) != 0 ? 8 : 0) +
                         LoadU16(body.data() + 2) + size_t{LoadU32(body.data() + 4)};
    if (bytes > body.size()) return false;
    body.RemovePrefix(bytes);
  }
  return false;
}

Status CheckMixedBody(Slice body, uint32_t* operations) {
  if (body.size() > log::kBodyBytesMax) {
    return Status::Error(Code::kBatchTooLarge, "an encoded batch is longer than 128 MiB");
  }
  RequestReader reader(body);
  RequestOp op;
  *operations = 0;
  while (reader.Next(&op)) {
    if (++*operations > log::kOperationsMax) {
      return Status::Error(Code::kBatchTooLarge, "a batch has more than 1000000 operations");
    }
    if (!op.increment) {
      uint32_t one = 0;
      RETURN_IF_ERROR(log::CheckBatchBody(op.bytes, &one));
    } else if (op.operation.key.size() > log::kKeyBytesMax) {
      return Status::Error(Code::kKeyTooLarge, "a key is longer than 32 KiB");
    }
  }
  return reader.malformed() ? Malformed("a batch body is malformed") : Status::Ok();
}

struct Check {
  bool absent = false;
  Epoch epoch;
  uint64_t seq = 0;
  Slice key;
};

// Takes one check from the front; false if it is malformed.
bool TakeCheck(Slice* checks, Check* check) {
  if (checks->size() < kCheckHeadBytes) return false;
  const char* at = checks->data();
  const size_t key_bytes = LoadU16(at);
  const auto flags = static_cast<uint8_t>(at[2]);
  if (flags > kCheckAbsent || at[3] != 0) return false;
  if (checks->size() < kCheckHeadBytes + key_bytes) return false;
  check->absent = (flags & kCheckAbsent) != 0;
  check->epoch = Epoch{LoadU32(at + 4), LoadU32(at + 8)};
  check->seq = LoadU64(at + 12);
  check->key = checks->Sub(kCheckHeadBytes, key_bytes);
  checks->RemovePrefix(kCheckHeadBytes + key_bytes);
  return true;
}

Status CheckForm(Slice checks) {
  Check check;
  while (!checks.empty()) {
    if (!TakeCheck(&checks, &check)) return Malformed("a check is malformed");
    if (check.key.size() > log::kKeyBytesMax) {
      return Status::Error(Code::kKeyTooLarge, "a key is longer than 32 KiB");
    }
  }
  return Status::Ok();
}

std::string VersionText(const Epoch& epoch, uint64_t seq) {
  return ToText(epoch) + ":" + std::to_string(seq);
}

// What the operations of the batch so far have made of its keys.
class Overlay {
 public:
  struct Effect {
    bool live = false;
    Slice value;  // lives in the request, or in numbers_
    uint64_t expires_at_ms = 0;
  };

  explicit Overlay(const StateBefore& before) : before_(before) {}

  void Note(const log::Operation& operation) {
    ++turn_;
    if (operation.kind == log::OpKind::kDelRange) {
      ranges_.push_back({turn_, operation});
      return;
    }
    const bool put = operation.kind == log::OpKind::kPut;
    keys_[operation.key.View()] = {turn_, {put, operation.value, operation.expires_at_ms}};
  }

  Result<Effect> Find(Slice key) const {
    Effect effect;
    uint64_t turn = 0;
    const auto at = keys_.find(key.View());
    if (at != keys_.end()) {
      turn = at->second.turn;
      effect = at->second.effect;
    } else {
      table::Entry entry;
      const Result<bool> found = before_.store->Get(key, before_.at, &entry);
      if (!found.ok()) return found.status();
      if (found.value()) effect = {true, entry.value, entry.expires_at_ms};
    }
    for (auto range = ranges_.rbegin(); range != ranges_.rend() && range->turn > turn; ++range) {
      if (Covers(range->operation, key)) return Effect{};
    }
    if (effect.expires_at_ms != 0 && effect.expires_at_ms <= before_.at.as_of_ms) return Effect{};
    return effect;
  }

 private:
  struct Noted {
    uint64_t turn = 0;
    Effect effect;
  };
  struct Range {
    uint64_t turn = 0;
    log::Operation operation;
  };
  static bool Covers(const log::Operation& range, Slice key) {
    return !(key < range.key) && (range.unbounded || key < range.value);
  }

  const StateBefore& before_;
  uint64_t turn_ = 0;
  std::unordered_map<std::string_view, Noted> keys_;
  std::vector<Range> ranges_;
};

void AppendPut(std::string* to, Slice key, Slice value, uint64_t expires_at_ms) {
  to->push_back(static_cast<char>(log::OpKind::kPut));
  to->push_back(static_cast<char>(expires_at_ms != 0 ? log::kOpFlagExpiry : 0));
  AppendLe<uint16_t>(to, static_cast<uint16_t>(key.size()));
  AppendLe<uint32_t>(to, static_cast<uint32_t>(value.size()));
  if (expires_at_ms != 0) AppendLe<uint64_t>(to, expires_at_ms);
  to->append(key.data(), key.size());
  to->append(value.data(), value.size());
}

Status AddTo(const Overlay::Effect& effect, Slice key, int64_t by, int64_t* sum) {
  int64_t value = 0;
  if (effect.live && !ParseCounter(effect.value, &value)) {
    return Status::Error(Code::kNotACounter, "the value is no decimal number of 64 bits")
        .With("key", key.ToString());
  }
  if (__builtin_add_overflow(value, by, sum)) {
    return Status::Error(Code::kCounterOverflow, "the counter would leave 64 bits")
        .With("key", key.ToString());
  }
  return Status::Ok();
}

}  // namespace

bool ParseCounter(Slice text, int64_t* value) {
  const bool negative = !text.empty() && text[0] == '-';
  Slice digits = text;
  if (negative) digits.RemovePrefix(1);
  if (digits.empty() || digits.size() > 19) return false;
  if (digits[0] == '0' && (digits.size() > 1 || negative)) return false;
  uint64_t number = 0;
  for (const char c : digits.View()) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (number > kMax + (negative ? 1 : 0)) return false;
  *value = static_cast<int64_t>(negative ? ~number + 1 : number);
  return true;
}

Status PrepareBatch(const WriteRequest& request, log::Durability store_default, Work* work) {
  work->kind = log::RecordKind::kBatch;
  work->body = request.body;
  work->checks = request.checks;
  work->want = request.durability.value_or(store_default);
  if (!request.checks.empty()) RETURN_IF_ERROR(CheckForm(request.checks));
  if (!request.body.empty()) {
    work->increments = HoldsIncrement(request.body);
    RETURN_IF_ERROR(work->increments ? CheckMixedBody(request.body, &work->operations)
                                     : log::CheckBatchBody(request.body, &work->operations));
  }
  if (work->operations != request.operations) {
    return Malformed("the number of operations is not that of the body");
  }
  if (!work->increments) work->body_crc = Crc32c(request.body);
  return Status::Ok();
}

Status PrepareControl(log::RecordKind kind, Slice body, log::Durability store_default, Work* work) {
  constexpr size_t kDigestBodyBytes = 16;
  log::CursorBody cursor;
  log::ConfigBody config;
  const bool known = (kind == log::RecordKind::kNoop && body.empty()) ||
                     (kind == log::RecordKind::kCursor && log::DecodeCursorBody(body, &cursor)) ||
                     (kind == log::RecordKind::kDigest && body.size() == kDigestBodyBytes) ||
                     (kind == log::RecordKind::kConfig && log::DecodeConfigBody(body, &config));
  if (!known) return Malformed("not the body of a control record");
  work->kind = kind;
  work->body = body;
  work->want = store_default;
  work->body_crc = Crc32c(body);
  return Status::Ok();
}

Status EvaluateChecks(Slice checks, const StateBefore& before) {
  Check check;
  while (!checks.empty()) {
    const bool whole = TakeCheck(&checks, &check);
    GAPLESS_ASSERT(whole);
    table::Entry entry;
    const Result<bool> found = before.store->Get(check.key, before.at, &entry);
    if (!found.ok()) return found.status();
    const bool live = found.value();
    const Epoch epoch = live ? before.epoch_of(entry.seq) : Epoch{};
    const bool holds =
        check.absent ? !live : live && entry.seq == check.seq && epoch == check.epoch;
    if (holds) continue;
    return Status::Error(Code::kConflict, "a check of the batch does not hold")
        .With("key", check.key.ToString())
        .With("expected", check.absent ? "" : VersionText(check.epoch, check.seq))
        .With("actual", live ? VersionText(epoch, entry.seq) : "");
  }
  return Status::Ok();
}

Status EvaluateIncrements(Slice body, const StateBefore& before, std::string* effects,
                          std::vector<int64_t>* results) {
  effects->clear();
  results->clear();
  Overlay overlay(before);
  // The overlay's slices must stay where they are: results go to a place that does not move.
  std::vector<std::unique_ptr<std::string>> numbers;
  RequestReader reader(body);
  RequestOp op;
  while (reader.Next(&op)) {
    if (!op.increment) {
      overlay.Note(op.operation);
      effects->append(op.bytes.data(), op.bytes.size());
      continue;
    }
    const Result<Overlay::Effect> found = overlay.Find(op.operation.key);
    if (!found.ok()) return found.status();
    const Overlay::Effect& effect = found.value();
    int64_t sum = 0;
    RETURN_IF_ERROR(AddTo(effect, op.operation.key, op.by, &sum));
    numbers.push_back(std::make_unique<std::string>(std::to_string(sum)));
    op.operation.kind = log::OpKind::kPut;
    op.operation.value = *numbers.back();
    op.operation.expires_at_ms = effect.expires_at_ms;
    overlay.Note(op.operation);
    AppendPut(effects, op.operation.key, op.operation.value, effect.expires_at_ms);
    results->push_back(sum);
  }
  if (effects->size() > log::kBodyBytesMax) {
    return Status::Error(Code::kBatchTooLarge, "an encoded batch is longer than 128 MiB");
  }
  return Status::Ok();
}

void WarmKeys(const Work& work, const table::Store& store) {
  if ((work.checks.empty() && !work.increments) || store.runs()->count() == 0) return;
  const table::ReadGuard guard(&store);
  const table::ReadPoint at{guard.visible_seq(), 0};
  table::Entry entry;
  // An error of the disk is met again, and told, where the answer counts.
  Slice checks = work.checks;
  Check check;
  while (TakeCheck(&checks, &check)) (void)store.Get(check.key, at, &entry);
  RequestReader reader(work.increments ? work.body : Slice());
  RequestOp op;
  while (reader.Next(&op)) {
    if (op.increment) (void)store.Get(op.operation.key, at, &entry);
  }
}

}  // namespace gapless::engine
