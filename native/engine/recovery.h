// From a directory on disk to a generation in memory: manifest, base flows, log scan with replay.
//
// Order: identity -> state -> CURRENT -> manifest -> base -> scan -> decide -> cut -> log. Nothing
// is changed on disk before the verdict, and nothing at all if the options say read-only. The
// caller holds the directory's lock; all wait.
#pragma once

#include <memory>
#include <string>

#include "engine/directory.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "log/recovery.h"

namespace gapless::engine {

// Everything that stands in front of the log.
struct StoreFiles {
  IdentityFile identity;
  std::unique_ptr<StateFile> state;
  uint64_t generation = 0;
  std::string generation_path;
  Manifest manifest;
};
// Reads and checks them. An adoption of a cluster id that a crash cut short is completed (in memory
// only with read_only).
Result<StoreFiles> ReadStoreFiles(io::FileSystem* fs, const std::string& path, bool read_only);

// Applies one verified record to tables that nobody else writes, makes it visible, and advances
// `history`.
void ReplayRecord(const log::RecordView& record, const Position& before, const Position& after,
                  table::Store* store, History* history);
// The operations of a verified batch body, with their sequences.
table::Mutation ToMutation(const log::Operation& operation, uint64_t seq);

// The flow files of the manifest's base; *header is what the file says of its compression.
std::string BaseFlowPath(const std::string& generation_path, const Manifest& manifest,
                         size_t index);
Status VerifyBaseFlow(io::FileSystem* fs, const std::string& generation_path,
                      const Manifest& manifest, size_t index, snapshot::FlowHeader* header);
// Verifies and loads the flows of the manifest's base, several at a time.
Status LoadBase(io::FileSystem* fs, const std::string& generation_path, const Manifest& manifest,
                table::Store* store);

log::ScanOptions MakeScanOptions(io::FileSystem* fs, const StoreFiles& files);

struct Recovered {
  std::shared_ptr<Generation> generation;  // with an open log
  RecoveryReport report;
};
// Requires: `files` is of this directory.
Result<Recovered> RecoverGeneration(const Options& options, const std::string& path,
                                    const StoreFiles& files);

// Generations older than the live one were switched away from; a crash may have kept their files.
Status RemoveOlderGenerations(io::FileSystem* fs, const std::string& path, uint64_t live);

// The refusal that `scan` stands for: kStoreAheadOfLog, or kCorrupt with the repair command.
Status RefusalOf(const log::ScanResult& scan, const Manifest& manifest, const std::string& path);

}  // namespace gapless::engine
