// Background jobs around engine/offline.h and snapshot/snapshot.h. See offline.h.
#include "napi/offline.h"

#include "base/hex.h"
#include "engine/offline_lost.h"
#include "napi/convert.h"
#include "napi/env_data.h"
#include "napi/job.h"
#include "napi/store_handle.h"

namespace gapless::napi {

namespace {

template <typename T>
Status Keep(Result<T> result, T* to) {
  if (!result.ok()) return result.status();
  *to = std::move(result.value());
  return Status::Ok();
}

// A bigint, or null for "none".
bool ReadOptionalBig(napi_env env, napi_value value, const char* name,
                     std::optional<uint64_t>* to) {
  if (IsNullish(env, value)) return true;
  uint64_t number = 0;
  if (!ReadBig(env, value, name, &number)) return false;
  *to = number;
  return true;
}

napi_value MakeReport(napi_env env, const engine::VerifyReport& report, napi_value position) {
  ObjectBuilder object(env);
  object.Count("files", report.files).Count("bytes", report.bytes).Set("position", position);
  return object.Set("damage", MakeDamageList(env, report.damage)).Done();
}

// verifyStore(path, deep)
napi_value Verify(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  bool deep = false;
  if (!ReadText(env, args[0], "the path", &path) || !args.Flag(1, &deep)) return nullptr;
  return StartJob<engine::VerifyReport>(
      env, "gaplessdb verify",
      [path, deep](engine::VerifyReport* to) {
        return Keep(engine::Verify(io::PosixFileSystem(), path, deep), to);
      },
      [](napi_env answer_env, const engine::VerifyReport& report) {
        return MakeReport(answer_env, report, MakePosition(answer_env, report.position));
      });
}

// verifySnapshot(path)
napi_value VerifySnapshotOf(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  if (!ReadText(env, args[0], "the path", &path)) return nullptr;
  return StartJob<engine::VerifyReport>(
      env, "gaplessdb verify",
      [path](engine::VerifyReport* to) {
        return Keep(snapshot::VerifySnapshot(io::PosixFileSystem(), path, &to->files, &to->bytes),
                    &to->damage);
      },
      [](napi_env answer_env, const engine::VerifyReport& report) {
        return MakeReport(answer_env, report, MakeNull(answer_env));
      });
}

napi_value MakeStat(napi_env env, const engine::StatReport& report) {
  const napi_value levels = MakeArray(env);
  for (const engine::StatReport::Level& level : report.levels) {
    ObjectBuilder object(env);
    object.Count("level", level.level).Count("runs", level.runs).Count("bytes", level.bytes);
    Push(env, levels, object.Done());
  }
  ObjectBuilder object(env);
  object.Set("checkpoint", MakePosition(env, report.checkpoint));
  object.Set("levels", levels).Count("runs", report.run_count).Count("runBytes", report.run_bytes);
  object.Count("keys", report.keys).Count("liveBytes", report.live_bytes);
  return object.Count("totalBytes", report.total_bytes).Done();
}

// statStore(path)
napi_value Stat(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  if (!ReadText(env, args[0], "the path", &path)) return nullptr;
  return StartJob<engine::StatReport>(
      env, "gaplessdb stat",
      [path](engine::StatReport* to) {
        return Keep(engine::Stat(io::PosixFileSystem(), path), to);
      },
      MakeStat);
}

// digestStore(path, atSeq)
napi_value Digest(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  std::optional<uint64_t> at;
  if (!ReadText(env, args[0], "the path", &path) || !ReadOptionalBig(env, args[1], "atSeq", &at)) {
    return nullptr;
  }
  return StartJob<engine::DigestReport>(
      env, "gaplessdb digest",
      [path, at](engine::DigestReport* to) {
        return Keep(engine::Digest(io::PosixFileSystem(), path, at), to);
      },
      [](napi_env answer_env, const engine::DigestReport& report) {
        ObjectBuilder object(answer_env);
        object.Set("position", MakePosition(answer_env, report.position));
        object.Count("keys", report.keys).Count("bytes", report.bytes);
        return object.Text("digest", HexU128(report.digest.high, report.digest.low)).Done();
      });
}

struct LogRecord {
  log::RecordHeader header;
  std::string body;
  Position before;
  Position after;
};

napi_value MakeLogRecord(napi_env env, const LogRecord& record) {
  ObjectBuilder object(env);
  object.Set("before", MakePosition(env, record.before));
  object.Set("after", MakePosition(env, record.after));
  object.Count("kind", static_cast<uint64_t>(record.header.kind));
  object.Count("bytes", record.header.RecordBytes());
  object.Text("epoch", ToText(record.header.epoch)).Big("firstSeq", record.header.first_seq);
  object.Count("operations", record.header.operations);
  object.Big("timestamp", record.header.timestamp);
  object.Set("chain", MakeHex64(env, record.header.chain));
  return object.Set("body", MakeBytes(env, record.body)).Done();
}

// visitLog(path, fromSeq, maxRecords, maxBytes)
napi_value Visit(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  uint64_t from = 0;
  uint64_t max_records = 0;
  uint64_t max_bytes = 0;
  if (!ReadText(env, args[0], "the path", &path) || !ReadBig(env, args[1], "fromSeq", &from) ||
      !ReadCount(env, args[2], "maxRecords", &max_records) ||
      !ReadCount(env, args[3], "maxBytes", &max_bytes)) {
    return nullptr;
  }
  using Records = std::vector<LogRecord>;
  return StartJob<Records>(
      env, "gaplessdb log",
      [path, from, max_records, max_bytes](Records* records) {
        uint64_t bytes = 0;
        return engine::VisitLog(
            io::PosixFileSystem(), path, from,
            [&](const log::RecordView& view, const Position& before, const Position& after) {
              records->push_back({view.header, view.body.ToString(), before, after});
              bytes += view.body.size();
              return records->size() < max_records && bytes < max_bytes;
            });
      },
      [](napi_env answer_env, const Records& records) {
        const napi_value list = MakeArray(answer_env);
        for (const LogRecord& record : records) {
          Push(answer_env, list, MakeLogRecord(answer_env, record));
        }
        return list;
      });
}

const char* ReasonText(engine::LostReason reason) {
  switch (reason) {
    case engine::LostReason::kRewind:
      return "rewind";
    case engine::LostReason::kFull:
      return "full";
    case engine::LostReason::kPadding:
      return "padding";
    case engine::LostReason::kRepair:
      break;
  }
  return "repair";
}

// listLost(path)
napi_value ListLost(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  if (!ReadText(env, args[0], "the path", &path)) return nullptr;
  using Files = std::vector<engine::LostFile>;
  return StartJob<Files>(
      env, "gaplessdb lost",
      [path](Files* to) { return Keep(engine::ListLost(io::PosixFileSystem(), path), to); },
      [](napi_env answer_env, const Files& files) {
        const napi_value list = MakeArray(answer_env);
        for (const engine::LostFile& file : files) {
          ObjectBuilder object(answer_env);
          object.Text("file", file.name).Set("from", MakePosition(answer_env, file.header.from));
          object.Set("to", MakePosition(answer_env, file.header.to));
          object.Count("records", file.header.records).Count("operations", file.header.operations);
          object.Count("bytes", file.header.bytes).Count("time", file.header.time_ms);
          Push(answer_env, list, object.Text("reason", ReasonText(file.header.reason)).Done());
        }
        return list;
      });
}

// What visitLost answers: records, and where the next page begins.
struct LostPage {
  Position from;
  std::vector<LogRecord> records;
  uint64_t next = 0;
  bool ended = true;
};

// Behind a gap, or at the first one, only the place of the record is known.
LogRecord LostRecord(const ClusterId& cluster, const engine::LostEntry& entry,
                     const Position& before) {
  LogRecord record;
  record.before = before.offset == entry.offset ? before : Position{{}, 0, entry.offset, 0};
  record.after = Position{{}, 0, entry.offset + entry.bytes.size(), 0};
  const bool known = entry.whole && entry.bytes.size() >= log::kRecordHeaderBytes &&
                     log::CheckHeader(cluster, entry.offset, entry.bytes.data(), &record.header) ==
                         log::RecordCheck::kOk;
  if (!known) {
    record.header = log::RecordHeader();
    record.body = entry.bytes.ToString();
    return record;
  }
  record.body = entry.bytes.Sub(log::kRecordHeaderBytes, record.header.body_bytes).ToString();
  record.after = record.header.After(entry.offset);
  return record;
}

// visitLost(path, file, begin, maxRecords, maxBytes)
napi_value VisitLost(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  std::string file;
  uint64_t begin = 0;
  uint64_t max_records = 0;
  uint64_t max_bytes = 0;
  if (!ReadText(env, args[0], "the path", &path) || !ReadText(env, args[1], "the file", &file) ||
      !ReadCount(env, args[2], "begin", &begin) ||
      !ReadCount(env, args[3], "maxRecords", &max_records) ||
      !ReadCount(env, args[4], "maxBytes", &max_bytes)) {
    return nullptr;
  }
  return StartJob<LostPage>(
      env, "gaplessdb lost",
      [path, file, begin, max_records, max_bytes](LostPage* page) {
        engine::LostHeader header;
        uint64_t bytes = 0;
        const Status visited = engine::VisitLost(
            io::PosixFileSystem(), path, file, begin, &header, [&](const engine::LostEntry& entry) {
              const Position before =
                  page->records.empty() ? header.from : page->records.back().after;
              page->records.push_back(LostRecord(header.cluster, entry, before));
              page->next = entry.next;
              bytes += entry.bytes.size();
              page->ended = page->records.size() < max_records && bytes < max_bytes;
              return page->ended;
            });
        page->from = header.from;
        return visited;
      },
      [](napi_env answer_env, const LostPage& page) {
        const napi_value list = MakeArray(answer_env);
        for (const LogRecord& record : page.records) {
          Push(answer_env, list, MakeLogRecord(answer_env, record));
        }
        ObjectBuilder object(answer_env);
        object.Set("from", MakePosition(answer_env, page.from)).Set("records", list);
        return object.Count("next", page.next).Bool("ended", page.ended).Done();
      });
}

// repairStore(path, truncateAt)
napi_value Repair(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  std::optional<uint64_t> at;
  if (!ReadText(env, args[0], "the path", &path) ||
      !ReadOptionalBig(env, args[1], "truncateAt", &at)) {
    return nullptr;
  }
  return StartJob<engine::RepairReport>(
      env, "gaplessdb repair",
      [path, at](engine::RepairReport* to) {
        return Keep(engine::Repair(io::PosixFileSystem(), io::SystemClock(), path, at), to);
      },
      [](napi_env answer_env, const engine::RepairReport& report) {
        ObjectBuilder object(answer_env);
        object.Set("damage", MakeDamageList(answer_env, report.damage));
        object.Bool("wouldDrop", report.would_drop);
        object.Set("from", MakePosition(answer_env, report.from));
        object.Count("records", report.records).Count("operations", report.operations);
        object.Count("bytes", report.bytes).Bool("dropped", report.dropped);
        return object.Text("saved", report.saved).Text("advice", report.advice).Done();
      });
}

// restoreSnapshot(snapshot, target, newCluster, shards)
napi_value Restore(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string source;
  std::string target;
  engine::RestoreOptions options;
  if (!ReadText(env, args[0], "the snapshot", &source) ||
      !ReadText(env, args[1], "the target", &target) || !args.Flag(2, &options.new_cluster)) {
    return nullptr;
  }
  if (!IsNullish(env, args[3])) {
    uint32_t shards = 0;
    if (!ReadU32(env, args[3], "shards", &shards)) return nullptr;
    options.shards = shards;
  }
  return StartJob<engine::RestoreReport>(
      env, "gaplessdb restore",
      [source, target, options](engine::RestoreReport* to) {
        return Keep(engine::Restore(io::PosixFileSystem(), io::SystemClock(), io::SystemRandom(),
                                    source, target, options),
                    to);
      },
      [](napi_env answer_env, const engine::RestoreReport& report) {
        ObjectBuilder object(answer_env);
        object.Set("position", MakePosition(answer_env, report.position));
        return object.Count("keys", report.keys).Count("bytes", report.bytes).Done();
      });
}

// snapshotInfo(path)
napi_value SnapshotInfo(napi_env env, napi_callback_info info) {
  const Args args(env, info);
  std::string path;
  if (!ReadText(env, args[0], "the path", &path)) return nullptr;
  return StartJob<snapshot::Token>(
      env, "gaplessdb snapshot info",
      [path](snapshot::Token* to) {
        return Keep(snapshot::ReadToken(io::PosixFileSystem(), path), to);
      },
      MakeToken);
}

}  // namespace

void AddOfflineExports(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      Method("verifyStore", Verify),        Method("verifySnapshot", VerifySnapshotOf),
      Method("digestStore", Digest),        Method("visitLog", Visit),
      Method("repairStore", Repair),        Method("restoreSnapshot", Restore),
      Method("snapshotInfo", SnapshotInfo), Method("statStore", Stat),
      Method("listLost", ListLost),         Method("visitLost", VisitLost),
  };
  napi_define_properties(env, exports, std::size(functions), functions);
}

}  // namespace gapless::napi
