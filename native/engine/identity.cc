// Encoding and decoding of IDENTITY: pure functions, any thread.
#include "engine/identity.h"

#include "base/coding.h"
#include "base/crc32c.h"

namespace gapless::engine {
namespace {

constexpr size_t kVersionAt = 8;
constexpr size_t kShardsAt = 12;
constexpr size_t kClusterAt = 16;
constexpr size_t kNodeAt = 32;
constexpr size_t kSecretAt = 48;
constexpr size_t kCreatedAt = 64;
constexpr size_t kReservedAt = 72;
constexpr size_t kCrcAt = 124;

}  // namespace

std::string EncodeIdentity(const IdentityFile& identity) {
  std::string bytes(kIdentityBytes, '\0');
  std::memcpy(bytes.data(), kIdentityMagic, 8);
  StoreU32(bytes.data() + kVersionAt, kIdentityVersion);
  StoreU32(bytes.data() + kShardsAt, identity.shards);
  std::memcpy(bytes.data() + kClusterAt, identity.cluster.bytes.data(), 16);
  std::memcpy(bytes.data() + kNodeAt, identity.node.bytes.data(), 16);
  std::memcpy(bytes.data() + kSecretAt, identity.secret.data(), 16);
  StoreU64(bytes.data() + kCreatedAt, identity.created_ms);
  StoreU32(bytes.data() + kCrcAt, Crc32c(Slice(bytes.data(), kCrcAt)));
  return bytes;
}

Result<IdentityFile> DecodeIdentity(Slice bytes, const std::string& file) {
  if (bytes.size() != kIdentityBytes) {
    return Status::Corrupt("the identity has " + std::to_string(bytes.size()) + " bytes, not 128",
                           file, bytes.size() < kIdentityBytes ? bytes.size() : kIdentityBytes);
  }
  if (std::memcmp(bytes.data(), kIdentityMagic, 8) != 0) {
    return Status::Corrupt("the identity has another magic", file, 0);
  }
  if (Crc32c(bytes.Sub(0, kCrcAt)) != LoadU32(bytes.data() + kCrcAt)) {
    return Status::Corrupt("the checksum of the identity does not hold", file, kCrcAt);
  }
  IdentityFile identity;
  identity.shards = LoadU32(bytes.data() + kShardsAt);
  bool known = LoadU32(bytes.data() + kVersionAt) == kIdentityVersion && identity.shards >= 1 &&
               identity.shards <= kShardsMax;
  for (size_t i = kReservedAt; i < kCrcAt; ++i) known = known && bytes[i] == 0;
  if (!known) {
    return Status::Error(Code::kFormatUnsupported, "the identity is of another version")
        .WithFile(file, kVersionAt);
  }
  std::memcpy(identity.cluster.bytes.data(), bytes.data() + kClusterAt, 16);
  std::memcpy(identity.node.bytes.data(), bytes.data() + kNodeAt, 16);
  std::memcpy(identity.secret.data(), bytes.data() + kSecretAt, 16);
  identity.created_ms = LoadU64(bytes.data() + kCreatedAt);
  return identity;
}

}  // namespace gapless::engine
