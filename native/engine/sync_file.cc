// The layout of incoming/SYNC. See the header.
#include "engine/sync_file.h"

#include <cstring>

#include "base/coding.h"
#include "base/crc32c.h"

namespace gapless::engine {

std::string EncodeSyncFile(const Id128& sync, const snapshot::Token& token) {
  const std::string announced = snapshot::EncodeToken(token);
  std::string out(kSyncHeadBytes, '\0');
  std::memcpy(out.data(), kSyncMagic, sizeof kSyncMagic - 1);
  StoreU32(out.data() + kSyncVersionAt, kSyncVersion);
  StoreU32(out.data() + kSyncTokenBytesAt, static_cast<uint32_t>(announced.size()));
  std::memcpy(out.data() + kSyncIdAt, sync.data(), sync.size());
  out += announced;
  AppendLe<uint32_t>(&out, Crc32c(out));
  return out;
}

Status DecodeSyncFile(Slice bytes, const std::string& file, Id128* sync, snapshot::Token* token) {
  const char* const from = bytes.data();
  if (bytes.size() < kSyncHeadBytes + kSyncCrcBytes ||
      std::memcmp(from, kSyncMagic, sizeof kSyncMagic - 1) != 0) {
    return Status::Corrupt("not the SYNC file of a full sync", file, 0).With("what", "magic");
  }
  const size_t body = bytes.size() - kSyncCrcBytes;
  if (Crc32c(bytes.Sub(0, body)) != LoadU32(from + body)) {
    return Status::Corrupt("SYNC fails its checksum", file, 0).With("what", "body_crc");
  }
  const uint32_t version = LoadU32(from + kSyncVersionAt);
  if (version != kSyncVersion) {
    return Status::Error(Code::kFormatUnsupported, "SYNC of another version")
        .WithFile(file, kSyncVersionAt)
        .With("found", static_cast<int64_t>(version))
        .With("supported", static_cast<int64_t>(kSyncVersion));
  }
  if (LoadU32(from + kSyncTokenBytesAt) != body - kSyncHeadBytes) {
    return Status::Corrupt("SYNC with a wrong length", file, kSyncTokenBytesAt)
        .With("what", "format");
  }
  Result<snapshot::Token> announced =
      snapshot::DecodeToken(bytes.Sub(kSyncHeadBytes, body - kSyncHeadBytes), file);
  if (!announced.ok()) return announced.status();
  std::memcpy(sync->data(), from + kSyncIdAt, sync->size());
  *token = std::move(announced.value());
  return Status::Ok();
}

}  // namespace gapless::engine
