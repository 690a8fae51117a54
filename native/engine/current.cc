// Codec and publication of CURRENT.
#include "engine/current.h"

#include "base/crc32c.h"
#include "base/hex.h"
#include "io/file_names.h"

namespace gapless::engine {
namespace {

constexpr char kProgram[] = "gaplessdb ";
constexpr char kVersion[] = "1";
constexpr uint64_t kCurrentBytesMax = 128;

}  // namespace

std::string EncodeCurrent(uint64_t generation) {
  const std::string text = std::string(kProgram) + kVersion + " " + io::GenerationName(generation);
  return text + " " + HexU32(Crc32c(text)) + "\n";
}

Result<uint64_t> DecodeCurrent(Slice bytes, const std::string& file) {
  const std::string text = bytes.ToString();
  const size_t last = text.rfind(' ');
  if (last == std::string::npos || text.empty() || text.back() != '\n') {
    return Status::Corrupt("the pointer to the generation is no whole line", file, text.size());
  }
  const std::string covered = text.substr(0, last);
  if (text.substr(last + 1) != HexU32(Crc32c(covered)) + "\n") {
    return Status::Corrupt("the checksum of the pointer to the generation does not hold", file,
                           last + 1);
  }
  const std::string head = std::string(kProgram) + kVersion + " ";
  uint64_t generation = 0;
  if (covered.compare(0, head.size(), head) != 0 ||
      !io::ParseGenerationName(covered.substr(head.size()), &generation)) {
    return Status::Error(Code::kFormatUnsupported, "the pointer is of another version")
        .WithFile(file, 0);
  }
  return generation;
}

Result<uint64_t> ReadCurrent(io::FileSystem* fs, const std::string& directory) {
  const std::string path = io::JoinPath(directory, io::kCurrentFile);
  const Result<std::string> bytes = io::ReadWholeFile(fs, path, kCurrentBytesMax);
  if (!bytes.ok()) return bytes.status();
  return DecodeCurrent(bytes.value(), path);
}

Status PublishCurrent(io::FileSystem* fs, const std::string& directory, uint64_t generation) {
  return io::PublishFile(fs, directory, io::kCurrentFile, EncodeCurrent(generation));
}

}  // namespace gapless::engine
