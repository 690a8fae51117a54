// A snapshot directory: flow files and the SNAPSHOT token that names them, published last.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_system.h"
#include "log/meta_state.h"
#include "log/recovery.h"
#include "snapshot/flow.h"

namespace gapless::snapshot {

struct Token {
  ClusterId cluster;
  uint64_t created_ms = 0;
  Compression compression = Compression::kNone;
  std::vector<FlowSummary> flows;  // by number, complete
  log::MetaState meta;             // its position is the snapshot's
};

std::string EncodeToken(const Token& token);
Result<Token> DecodeToken(Slice bytes, const std::string& file);

// The header that flow `flow` of this snapshot must carry.
FlowHeader ExpectedHeader(const Token& token, uint32_t flow);

// Reads the token of a directory. kNotAStore if there is none, kCorrupt, kFormatUnsupported.
Result<Token> ReadToken(io::FileSystem* fs, const std::string& directory);
// Verifies one flow file against the token in the order of docs/FORMAT.md: size, footer, whole
// body. No side effect. Damage is returned as kCorrupt with file and offset.
Status VerifyFlowFile(io::FileSystem* fs, const std::string& path, const FlowHeader& expected,
                      const FlowSummary& summary);
// All files; every damage found, the first of each file.
Result<std::vector<log::Damage>> VerifySnapshot(io::FileSystem* fs, const std::string& directory,
                                                uint64_t* files, uint64_t* bytes);
// Requires: VerifyFlowFile said OK.
Result<std::unique_ptr<FlowReader>> OpenFlow(io::FileSystem* fs, const std::string& path,
                                             const FlowHeader& expected);
// Writes a flow to a new file and fsyncs it. Between pieces it asks `cancelled` (may be null).
Result<FlowSummary> WriteFlowFile(io::FileSystem* fs, const std::string& path, FlowWriter* writer,
                                  const std::function<bool()>& cancelled);
// Publishes the token (temp, fsync, rename, directory fsync). Requires: every flow file is synced.
Status PublishToken(io::FileSystem* fs, const std::string& directory, const Token& token);

}  // namespace gapless::snapshot
