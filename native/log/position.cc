// Encoding and text of positions and epochs. Pure functions, any thread. Layout: docs/FORMAT.md.
#include "log/position.h"

#include "base/coding.h"
#include "base/hex.h"

namespace gapless {

void EncodePosition(const Position& position, void* to) {
  auto* bytes = static_cast<uint8_t*>(to);
  StoreU32(bytes, position.epoch.term);
  StoreU32(bytes + 4, position.epoch.run);
  StoreU64(bytes + 8, position.seq);
  StoreU64(bytes + 16, position.offset);
  StoreU64(bytes + 24, position.chain);
}

Position DecodePosition(const void* from) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  Position position;
  position.epoch.term = LoadU32(bytes);
  position.epoch.run = LoadU32(bytes + 4);
  position.seq = LoadU64(bytes + 8);
  position.offset = LoadU64(bytes + 16);
  position.chain = LoadU64(bytes + 24);
  return position;
}

std::string ToText(const Epoch& epoch) {
  return std::to_string(epoch.term) + "." + std::to_string(epoch.run);
}

std::string ToText(const Position& position) {
  return ToText(position.epoch) + ":" + std::to_string(position.seq) + ":" +
         std::to_string(position.offset) + ":" + HexU64(position.chain);
}

}  // namespace gapless
