// Snapshot directories: verifying, writing a flow file, publishing the token. Workers' threads.
//
// Nothing is changed by reading. A flow file is complete and on disk, name included, before the
// token that makes the directory a snapshot appears.
#include "snapshot/snapshot.h"

#include <algorithm>

#include "base/crc32c.h"
#include "io/file_names.h"
#include "snapshot/flow_decoder.h"

namespace gapless::snapshot {
namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kWriteBytesMin = 256 * 1024;
// Dirty pages are handed to the disk bit by bit: one large fsync at the end would stall the log's.
constexpr uint64_t kSyncEveryBytes = 32 << 20;

std::string FlowPath(const std::string& directory, uint32_t flow) {
  return io::JoinPath(directory, io::FlowName(flow));
}

// Size, then footer, both against the token. The CRC speaks of the stored bytes of the chunks
// alone: what ends with its own CRC (headers, footer) leaves the same CRC whatever it holds. Those
// fields are compared one by one, here and by the decoder.
Status CheckEnds(io::File* file, const FlowSummary& summary) {
  const Result<uint64_t> size = file->Size();
  if (!size.ok()) return size.status();
  const uint64_t least = std::max<uint64_t>(summary.file_bytes, kFlowHeaderBytes + kFooterBytes);
  if (size.value() < least) {
    return Damaged("short", "flow file is shorter than the token says", file->path(), size.value());
  }
  if (size.value() != summary.file_bytes) {
    return Damaged("token", "flow file is longer than the token says", file->path(),
                   summary.file_bytes);
  }
  const uint64_t at = size.value() - kFooterBytes;
  char bytes[kFooterBytes];
  size_t got = 0;
  RETURN_IF_ERROR(file->ReadAt(at, bytes, sizeof bytes, &got));
  if (got != sizeof bytes) {
    return Damaged("short", "flow file became shorter", file->path(), at + got);
  }
  FlowFooter footer;
  RETURN_IF_ERROR(DecodeFlowFooter(Slice(bytes, sizeof bytes), file->path(), at, &footer));
  if (footer.entries != summary.entries || footer.bytes != summary.bytes ||
      Crc32c(footer.flow_crc, bytes, sizeof bytes) != summary.crc) {
    return Damaged("token", "footer is not that of the flow which the token names", file->path(),
                   at);
  }
  return Status::Ok();
}

Status CheckBody(io::File* file, const FlowHeader& expected, const FlowSummary& summary) {
  FlowVerifier verifier(expected, file->path());
  const auto room = static_cast<size_t>(std::min<uint64_t>(kReadBytes, summary.file_bytes));
  const std::unique_ptr<char[]> buffer = std::make_unique_for_overwrite<char[]>(room);
  uint64_t at = 0;
  while (at < summary.file_bytes) {
    const auto want = static_cast<size_t>(std::min<uint64_t>(room, summary.file_bytes - at));
    size_t got = 0;
    RETURN_IF_ERROR(file->ReadAt(at, buffer.get(), want, &got));
    if (got == 0) return Damaged("short", "flow file became shorter", file->path(), at);
    RETURN_IF_ERROR(verifier.Feed(Slice(buffer.get(), got)));
    at += got;
  }
  if (!verifier.Complete()) {
    return Damaged("footer", "flow file ends before its footer", file->path(),
                   verifier.verified_bytes());
  }
  if (!(verifier.summary() == summary)) {
    return Damaged("token", "flow is not the one which the token names", file->path(), 0);
  }
  return Status::Ok();
}

log::Damage DamageOf(const Status& status) {
  log::Damage damage;
  damage.kind = "snapshot";
  damage.file = status.file();
  damage.offset = static_cast<uint64_t>(std::max<int64_t>(status.offset(), 0));
  damage.what = "format";
  for (const Detail& detail : status.details()) {
    if (detail.name == "what") damage.what = detail.text;
  }
  return damage;
}

bool IsDamage(const Status& status) {
  return status.Is(Code::kCorrupt) || status.Is(Code::kFormatUnsupported);
}

}  // namespace

Result<Token> ReadToken(io::FileSystem* fs, const std::string& directory) {
  const std::string path = io::JoinPath(directory, io::kSnapshotFile);
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) {
    return Status::Error(Code::kNotAStore, "no snapshot: it has no SNAPSHOT file")
        .WithFile(path, -1);
  }
  const Result<std::string> bytes = io::ReadWholeFile(fs, path, kTokenBytesMax);
  if (!bytes.ok()) return bytes.status();
  return DecodeToken(bytes.value(), path);
}

Status VerifyFlowFile(io::FileSystem* fs, const std::string& path, const FlowHeader& expected,
                      const FlowSummary& summary) {
  const Result<bool> exists = fs->Exists(path);
  if (!exists.ok()) return exists.status();
  if (!exists.value()) return Damaged("missing", "flow file is missing", path, 0);
  const Result<std::unique_ptr<io::File>> file = fs->Open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  RETURN_IF_ERROR(CheckEnds(file.value().get(), summary));
  return CheckBody(file.value().get(), expected, summary);
}

Result<std::vector<log::Damage>> VerifySnapshot(io::FileSystem* fs, const std::string& directory,
                                                uint64_t* files, uint64_t* bytes) {
  *files = 1;
  *bytes = 0;
  std::vector<log::Damage> damage;
  const Result<Token> token = ReadToken(fs, directory);
  if (token.status().Is(Code::kCorrupt)) {
    damage.push_back(DamageOf(token.status()));
    return damage;
  }
  if (!token.ok()) return token.status();
  const Result<uint64_t> token_bytes = fs->FileSize(io::JoinPath(directory, io::kSnapshotFile));
  if (!token_bytes.ok()) return token_bytes.status();
  *bytes = token_bytes.value();
  for (const FlowSummary& flow : token.value().flows) {
    const Status status = VerifyFlowFile(fs, FlowPath(directory, flow.flow),
                                         ExpectedHeader(token.value(), flow.flow), flow);
    if (!status.ok() && !IsDamage(status)) return status;
    if (!status.ok()) damage.push_back(DamageOf(status));
    *files += 1;
    *bytes += flow.file_bytes;
  }
  return damage;
}

Result<FlowSummary> WriteFlowFile(io::FileSystem* fs, const std::string& path, FlowWriter* writer,
                                  const std::function<bool()>& cancelled) {
  const Result<std::unique_ptr<io::File>> opened = fs->Open(path, io::OpenMode::kCreateNew);
  if (!opened.ok()) return opened.status();
  io::File* const file = opened.value().get();
  std::string buffer;
  uint64_t at = 0;
  uint64_t unsynced = 0;
  bool more = true;
  while (more) {
    if (cancelled && cancelled()) {
      return Status::Error(Code::kClosed, "write flow: cancelled").WithFile(path, -1);
    }
    const Result<bool> piece = writer->NextPiece(&buffer);
    if (!piece.ok()) return piece.status();
    more = piece.value();
    if (more ? buffer.size() < kWriteBytesMin : buffer.empty()) continue;
    RETURN_IF_ERROR(file->WriteAt(at, buffer));
    at += buffer.size();
    unsynced += buffer.size();
    buffer.clear();
    if (unsynced >= kSyncEveryBytes) {
      RETURN_IF_ERROR(file->SyncData());
      unsynced = 0;
    }
  }
  RETURN_IF_ERROR(file->Sync());
  const FlowSummary summary = writer->summary();
  GAPLESS_ASSERT(summary.file_bytes == at);
  return summary;
}

Status PublishToken(io::FileSystem* fs, const std::string& directory, const Token& token) {
  // The names of the flow files first: the rename below must never survive without them.
  RETURN_IF_ERROR(fs->SyncDirectory(directory));
  return io::PublishFile(fs, directory, io::kSnapshotFile, EncodeToken(token));
}

}  // namespace gapless::snapshot
