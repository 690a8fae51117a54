// LZ4 blocks: a hostile block stays inside its two ranges; what was compressed comes back.
#include <memory>

#include "base/lz4.h"
#include "fuzz.h"

namespace gapless::fuzz {
namespace {

void Run(Slice input) {
  const uint8_t mode = TakeMode(&input);
  const size_t raw_size = size_t{mode} * 17;
  const std::unique_ptr<char[]> raw(new char[raw_size]);
  (void)Lz4Decompress(input, raw.get(), raw_size);

  Lz4Compressor compressor;
  const size_t capacity = (mode & 1) != 0 ? input.size() + input.size() / 200 + 32 : input.size();
  const std::unique_ptr<char[]> block(new char[capacity]);
  const size_t stored = compressor.Compress(input, block.get(), capacity);
  FUZZ_CHECK(stored <= capacity);
  if (stored == 0) return;
  const std::unique_ptr<char[]> back(new char[input.size()]);
  FUZZ_CHECK(Lz4Decompress(Slice(block.get(), stored), back.get(), input.size()));
  FUZZ_CHECK(Slice(back.get(), input.size()) == input);
  if (input.size() > 1) {
    FUZZ_CHECK(!Lz4Decompress(Slice(block.get(), stored), back.get(), input.size() - 1));
  }
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds = {"", std::string(1, '\x11'), std::string(300, 'a')};
  std::string text;
  for (int i = 0; i < 90; ++i) text += "key-" + std::to_string(i % 13) + "=value;";
  Lz4Compressor compressor;
  std::string block(4096, '\0');
  const std::string raw = text.substr(0, 60 * 17);
  block.resize(compressor.Compress(raw, block.data(), block.size()));
  seeds.push_back(std::string(1, static_cast<char>(60)) + block);
  seeds.push_back(std::string(1, '\x01') + text);
  return seeds;
}

const Registration kTarget({"lz4", Run, Seeds});

}  // namespace
}  // namespace gapless::fuzz
