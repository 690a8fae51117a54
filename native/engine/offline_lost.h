// A file in lost/: records that were taken out of a history. Layout: docs/FORMAT.md "Lost file".
//
// Written piece by piece beside its name and published by rename. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"
#include "log/record.h"

namespace gapless::engine {

inline constexpr char kLostMagic[] = "GPLSLST1";
inline constexpr uint32_t kLostVersion = 1;
inline constexpr size_t kLostHeaderBytes = 128;
inline constexpr uint32_t kLostEntryMagic = 0x544E454C;
inline constexpr size_t kLostEntryBytes = 32;

enum class LostReason : uint32_t { kRewind = 1, kFull = 2, kPadding = 3, kRepair = 4 };

struct LostHeader {
  LostReason reason = LostReason::kRepair;
  ClusterId cluster;
  Position from;  // where the history was cut
  Position to;    // behind the last whole record that was saved; `from` if none is whole
  uint64_t time_ms = 0;
  uint64_t records = 0;
  uint64_t operations = 0;
  uint64_t bytes = 0;
  bool operator==(const LostHeader&) const = default;
};

// A whole record as it stood at `offset`, or bytes that no longer verify.
struct LostEntry {
  bool whole = false;
  uint64_t offset = 0;
  Slice bytes;
  uint64_t next = 0;  // byte of the file behind it, when it was read
};

class LostWriter {
 public:
  // Makes lost/ if need be. What an interrupted writer left is replaced.
  static Result<std::unique_ptr<LostWriter>> Begin(io::FileSystem* fs, const std::string& path,
                                                   const std::string& name);
  Status Add(const LostEntry& entry);
  // The file is durable under its name when this returns OK.
  Status Publish(const LostHeader& header);

 private:
  LostWriter(io::FileSystem* fs, std::string directory, std::string name)
      : fs_(fs), directory_(std::move(directory)), name_(std::move(name)) {}
  io::FileSystem* const fs_;
  const std::string directory_;
  const std::string name_;
  std::unique_ptr<io::File> file_;
  uint64_t at_ = kLostHeaderBytes;
};

// Verifies the header and each entry in turn; ends when `each` returns false. kCorrupt with file
// and offset, kFormatUnsupported.
Status ReadLostFile(io::FileSystem* fs, const std::string& path, LostHeader* header,
                    const std::function<bool(const LostEntry&)>& each,
                    uint64_t begin = kLostHeaderBytes);

struct LostFile {
  std::string name;
  LostHeader header;
};
// Under the shared lock: the files of a closed store's lost/, in the order of their names.
Result<std::vector<LostFile>> ListLost(io::FileSystem* fs, const std::string& path);
// The entries of one of them, from the byte `begin` on (0: the first). No lock: what has its name
// is never changed. kNotFound.
Status VisitLost(io::FileSystem* fs, const std::string& path, const std::string& name,
                 uint64_t begin, LostHeader* header,
                 const std::function<bool(const LostEntry&)>& each);

}  // namespace gapless::engine
