// The SNAPSHOT token's bytes. Pure functions, any thread. Layout: docs/FORMAT.md "SNAPSHOT".
//
// Decoding: length and CRC of the whole file first, then version, then counts against their limits.
#include "base/coding.h"
#include "base/crc32c.h"
#include "snapshot/flow_decoder.h"
#include "snapshot/snapshot.h"

namespace gapless::snapshot {
namespace {

// Everything but the last four bytes is under the CRC.
Status CheckFrame(Slice bytes, const std::string& file) {
  if (bytes.size() < kTokenHeadBytes + kTokenCrcBytes) {
    return Damaged("short", "SNAPSHOT is too short", file, bytes.size());
  }
  if (std::memcmp(bytes.data(), kTokenMagic, kMagicBytes) != 0) {
    return Damaged("magic", "not a SNAPSHOT", file, 0);
  }
  const size_t length = LoadU32(bytes.data() + kTokenLength);
  if (bytes.size() < length) {
    return Damaged("short", "SNAPSHOT is cut", file, bytes.size());
  }
  if (bytes.size() > length) {
    return Damaged("format", "SNAPSHOT is longer than it says", file, kTokenLength);
  }
  const size_t covered = length - kTokenCrcBytes;
  if (Crc32c(bytes.Sub(0, covered)) != LoadU32(bytes.data() + covered)) {
    return Damaged("body_crc", "SNAPSHOT fails its checksum", file, 0);
  }
  return Status::Ok();
}

FlowSummary DecodeSummary(const char* from) {
  FlowSummary summary;
  summary.entries = LoadU64(from);
  summary.bytes = LoadU64(from + 8);
  summary.file_bytes = LoadU64(from + 16);
  summary.crc = LoadU32(from + 24);
  summary.flow = LoadU32(from + 28);
  return summary;
}

}  // namespace

std::string EncodeToken(const Token& token) {
  GAPLESS_ASSERT(!token.flows.empty() && token.flows.size() <= kFlowsMax);
  const std::string meta = log::EncodeMetaState(token.meta);
  std::string out(kTokenMagic, kMagicBytes);
  AppendLe<uint32_t>(&out, kTokenVersion);
  AppendLe<uint32_t>(&out,
                     static_cast<uint32_t>(kTokenHeadBytes + kTokenFlowBytes * token.flows.size() +
                                           meta.size() + kTokenCrcBytes));
  out.append(reinterpret_cast<const char*>(token.cluster.bytes.data()), token.cluster.bytes.size());
  AppendLe<uint64_t>(&out, token.created_ms);
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(token.compression));
  AppendLe<uint32_t>(&out, static_cast<uint32_t>(token.flows.size()));
  for (size_t i = 0; i < token.flows.size(); ++i) {
    const FlowSummary& flow = token.flows[i];
    GAPLESS_ASSERT(flow.flow == i);
    AppendLe<uint64_t>(&out, flow.entries);
    AppendLe<uint64_t>(&out, flow.bytes);
    AppendLe<uint64_t>(&out, flow.file_bytes);
    AppendLe<uint32_t>(&out, flow.crc);
    AppendLe<uint32_t>(&out, flow.flow);
  }
  out += meta;
  AppendLe<uint32_t>(&out, Crc32c(out));
  return out;
}

Result<Token> DecodeToken(Slice bytes, const std::string& file) {
  RETURN_IF_ERROR(CheckFrame(bytes, file));
  const char* const from = bytes.data();
  const uint32_t version = LoadU32(from + kTokenVersionAt);
  if (version != kTokenVersion) {
    return Unsupported("SNAPSHOT of another version", file, kTokenVersionAt, version,
                       kTokenVersion);
  }
  const uint32_t compression = LoadU32(from + kTokenCompression);
  if (compression > static_cast<uint32_t>(Compression::kLz4)) {
    return Unsupported("SNAPSHOT with an unknown compression", file, kTokenCompression, compression,
                       static_cast<uint32_t>(Compression::kLz4));
  }
  const uint32_t flows = LoadU32(from + kTokenFlows);
  const size_t meta_at = kTokenHeadBytes + size_t{flows} * kTokenFlowBytes;
  if (flows == 0 || flows > kFlowsMax || meta_at + kTokenCrcBytes > bytes.size()) {
    return Damaged("format", "SNAPSHOT with a forbidden number of flows", file, kTokenFlows);
  }
  Token token;
  std::memcpy(token.cluster.bytes.data(), from + kTokenClusterId, token.cluster.bytes.size());
  token.created_ms = LoadU64(from + kTokenCreated);
  token.compression = static_cast<Compression>(compression);
  for (uint32_t i = 0; i < flows; ++i) {
    const size_t at = kTokenHeadBytes + i * kTokenFlowBytes;
    token.flows.push_back(DecodeSummary(from + at));
    if (token.flows.back().flow != i) {
      return Damaged("format", "SNAPSHOT does not name its flows in order", file, at + 28);
    }
  }
  Result<log::MetaState> meta = log::DecodeMetaState(
      bytes.Sub(meta_at, bytes.size() - kTokenCrcBytes - meta_at), file, meta_at);
  if (!meta.ok()) return meta.status();
  token.meta = std::move(meta.value());
  return token;
}

FlowHeader ExpectedHeader(const Token& token, uint32_t flow) {
  FlowHeader header;
  header.flow = flow;
  header.flows = static_cast<uint32_t>(token.flows.size());
  header.compression = token.compression;
  header.features = token.meta.features;
  header.cluster = token.cluster;
  header.position = token.meta.position;
  header.clock = token.meta.clock;
  return header;
}

}  // namespace gapless::snapshot
