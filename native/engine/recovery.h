// From a directory on disk to a generation in memory: manifest, its runs, log scan with replay.
//
// Order: identity -> state -> CURRENT -> manifests -> runs -> scan -> decide -> cut -> log -> files
// that nothing names. Of the runs only what opens them is read, of the log only what lies behind
// the checkpoint: the time depends on that, not on the data. Nothing is changed on disk before the
// verdict, and nothing at all if the options say read-only. The caller holds the directory's lock;
// all wait.
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
  KeptManifests manifests;
};
// Reads and checks them. An adoption of a cluster id that a crash cut short is completed (in memory
// only with read_only).
Result<StoreFiles> ReadStoreFiles(io::FileSystem* fs, const std::string& path, bool read_only);

// Applies one verified record to tables that nobody else writes, makes it visible, and advances
// `history`.
void ReplayRecord(const log::RecordView& record, const Position& before, const Position& after,
                  table::Store* store, History* history);
// An operation of a verified batch, with its sequence.
table::Mutation ToMutation(const log::RecordHeader& batch, const log::Operation& operation,
                           uint64_t seq);

// Opens the runs of a manifest, several at a time: header, footer and top index of each, whatever
// its size; and gives them to `store`, which nobody has written to. kCorrupt with file and offset.
Status LoadRuns(const table::RunOptions& options, const Manifest& manifest, const std::string& file,
                table::Store* store);

// How the log behind the checkpoint of `manifest`, one of the kept ones, is scanned.
log::ScanOptions MakeScanOptions(io::FileSystem* fs, const StoreFiles& files,
                                 const Manifest& manifest);

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
