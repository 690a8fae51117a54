// What every log test needs: options on a fault file system, an appender that keeps the model, and
// a
// scan that collects what it saw. Single thread, but for the log's own flusher.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "check.h"
#include "io/clock.h"
#include "io/fault_file_system.h"
#include "log/log.h"
#include "log/record.h"
#include "log/recovery.h"
#include "log/segment.h"

namespace gapless::log::test {

inline constexpr char kDir[] = "/log";

inline ClusterId TestCluster() {
  ClusterId cluster;
  for (size_t i = 0; i < 16; ++i) cluster.bytes[i] = static_cast<uint8_t>(0xA0 + i);
  return cluster;
}

inline Id128 TestSecret() {
  Id128 secret{};
  for (size_t i = 0; i < 16; ++i) secret[i] = static_cast<uint8_t>(0x11 * i);
  return secret;
}

inline LogOptions OptionsFor(io::FileSystem* fs, uint64_t segment_bytes = 4096) {
  LogOptions options;
  options.fs = fs;
  options.clock = io::SystemClock();
  options.directory = kDir;
  options.cluster = TestCluster();
  options.secret = TestSecret();
  options.segment_bytes = segment_bytes;
  options.retain_bytes = 1 << 30;
  options.pending_bytes = 1 << 20;
  return options;
}

inline ScanOptions ScanFor(io::FileSystem* fs, uint64_t durable_mark = 0,
                           const Position& from = Position{}, uint64_t from_timestamp = 0) {
  ScanOptions options;
  options.fs = fs;
  options.directory = kDir;
  options.cluster = TestCluster();
  options.secret = TestSecret();
  options.from = from;
  options.from_timestamp = from_timestamp;
  options.durable_mark = durable_mark;
  return options;
}

// A batch body with one put.
inline std::string PutBody(const std::string& key, const std::string& value) {
  std::string body;
  body.push_back(1);
  body.push_back(0);
  body.push_back(static_cast<char>(key.size() & 255));
  body.push_back(static_cast<char>(key.size() >> 8));
  for (int shift = 0; shift < 32; shift += 8) {
    body.push_back(static_cast<char>((value.size() >> shift) & 255));
  }
  return body + key + value;
}

struct TestRecord {
  std::string header;
  std::string body;
  RecordHeader fields;
  Position after;
  std::string Bytes() const {
    std::string bytes = header + body;
    bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
    return bytes;
  }
};

inline TestRecord MakeRecord(const Position& before, uint64_t timestamp, const std::string& body,
                             RecordKind kind = RecordKind::kBatch, Epoch epoch = Epoch{1, 0}) {
  TestRecord record;
  record.body = body;
  record.fields.body_crc = Crc32c(body);
  record.fields.body_bytes = static_cast<uint32_t>(body.size());
  record.fields.kind = kind;
  record.fields.epoch = epoch;
  record.fields.first_seq = before.seq + 1;
  record.fields.operations = kind == RecordKind::kBatch ? 1 : 0;
  record.fields.timestamp = timestamp;
  record.header.resize(kRecordHeaderBytes);
  SealHeader(TestCluster(), before, &record.fields, record.header.data());
  record.after = record.fields.After(before.offset);
  return record;
}

// What a scan saw.
struct Seen {
  ScanResult result;
  Status status;
  std::vector<std::string> bodies;
};

inline Seen Scan(const ScanOptions& options) {
  Seen seen;
  Result<ScanResult> result =
      ScanLog(options, [&seen](const RecordView& record, const Position&, const Position&) {
        seen.bodies.push_back(record.body.ToString());
        return Status::Ok();
      });
  seen.status = result.status();
  if (result.ok()) seen.result = std::move(result.value());
  return seen;
}

// Appends to a log and remembers what it appended.
class Appender {
 public:
  Appender(Log* log, const Position& at, uint64_t timestamp)
      : log_(log), at_(at), timestamp_(timestamp) {}

  // False if the log refuses for good (poisoned, closed), or has no space.
  bool Append(const std::string& body, Durability want) {
    const TestRecord record = MakeRecord(at_, timestamp_ + 1, body);
    const uint64_t bytes = record.after.offset - at_.offset;
    while (true) {
      admission = log_->Admit(bytes);
      if (admission == Admission::kGo) break;
      if (admission != Admission::kWait) return false;
      sched_yield();
    }
    log_->Append(record.header.data(), record.body, record.after, want);
    if (want != Durability::kMemory) log_->Kick();
    at_ = record.after;
    ++timestamp_;
    bodies.push_back(body);
    return true;
  }
  bool AppendSynced(const std::string& body) {
    return Append(body, Durability::kSync) && log_->SyncTo(at_.offset, 10000).ok();
  }
  const Position& at() const { return at_; }
  uint64_t timestamp() const { return timestamp_; }

  std::vector<std::string> bodies;
  Admission admission = Admission::kGo;

 private:
  Log* log_;
  Position at_;
  uint64_t timestamp_;
};

inline std::string BodyOf(size_t number, size_t value_bytes) {
  std::string value = "v" + std::to_string(number) + ".";
  while (value.size() < value_bytes) value.push_back(static_cast<char>('a' + number % 26));
  return PutBody("k" + std::to_string(number), value);
}

// A log of `records` values in segments of `segment_bytes`, closed properly. *mark: STATE's.
inline std::vector<std::string> BuildClosedLog(io::FileSystem* fs, size_t records,
                                               size_t value_bytes, uint64_t segment_bytes,
                                               Position* mark) {
  const LogOptions options = OptionsFor(fs, segment_bytes);
  CHECK_OK(fs->CreateDirectory(kDir));
  CHECK_OK(fs->SyncDirectory("/"));
  CHECK_OK(Log::Create(options, Position{}, 0));
  Seen seen = Scan(ScanFor(fs));
  CHECK_OK(seen.status);
  Result<std::unique_ptr<Log>> log = Log::Open(options, seen.result, nullptr);
  CHECK_OK(log);
  Appender appender(log.value().get(), Position{}, 0);
  for (size_t i = 0; i < records; ++i) CHECK(appender.AppendSynced(BodyOf(i, value_bytes)));
  CHECK_OK(log.value()->Close([mark](const Position& end) {
    *mark = end;
    return Status::Ok();
  }));
  return appender.bodies;
}

}  // namespace gapless::log::test
