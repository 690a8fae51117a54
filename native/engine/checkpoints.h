// The checkpoints of one generation: its kept manifests, and the run and value files that they
// name.
//
// Kept are the newest manifest and the newest one at or below the undo floor (often the same).
// Order of a publication: the runs are durable (the caller's part), their directory is synced, the
// manifest is published, and only then go runs and manifests that no kept manifest needs. A crash
// at any step leaves the former manifest or the new one in force, with every run that it names, and
// files that none names: those go at the next open (RemoveStrays).
//
// Log first: the caller has synced the log up to the position before it publishes a checkpoint
// there.
//
// Threads: any. publish_mutex_ puts publications in a row and is held while they wait for the disk;
// mutex_ guards what is shown, so that base_offset, newest, kept and NextRunNumber never wait. A
// caller that publishes makes the tree, publishes it and installs it in the store in one step of
// its own lock: a tree that lacks runs of another publication in between would drop them.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/manifest.h"
#include "io/file_system.h"
#include "table/run_tree.h"

namespace gapless::engine {

class Checkpoints {
 public:
  // `found` are the manifests of the directory; `next_run` is above every run file in it.
  Checkpoints(io::FileSystem* fs, std::string generation_directory, KeptManifests found,
              uint64_t next_run);
  // Looks through the directory of runs. Changes nothing on disk.
  static Result<std::unique_ptr<Checkpoints>> Open(io::FileSystem* fs,
                                                   const std::string& generation_directory,
                                                   KeptManifests found);
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  // For a new run file; never the same twice, not after a crash either.
  uint64_t NextRunNumber();

  // A flush: `tree` holds the state at meta.position. Waits for the disk.
  Status PublishCheckpoint(const log::MetaState& meta, const table::RunTree& tree,
                           const Position& undo_floor);
  // A merge: the same state in other runs. What it replaces goes at once unless the other kept
  // checkpoint names it. Waits for the disk.
  Status PublishMerge(const table::RunTree& tree);
  // Lets go of the older checkpoint once the floor has passed the newest; otherwise does nothing.
  // Waits for the disk.
  Status MoveUndoFloor(const Position& undo_floor);

  // Files of new runs that are not going to be published, or whose publication failed. They are
  // removed now, or, if a manifest in doubt may name them, when that is settled.
  void Discard(const std::vector<table::RunInfo>& runs);

  // Removes files that no kept manifest needs: what a crash left behind. Requires: no publication
  // and no run writer before. A file that cannot be removed stays until the next open.
  Status RemoveStrays();

  std::shared_ptr<const Manifest> newest() const;
  std::vector<std::shared_ptr<const Manifest>> kept() const;  // newest first
  // What Log::SetBase must keep: the lowest offset that a kept checkpoint is replayed from.
  uint64_t base_offset() const;
  // The last publication failed in such a way that either manifest may be found after a crash. The
  // former one is in force here; every further publication begins with settling this.
  bool in_doubt() const;

 private:
  using ManifestPtr = std::shared_ptr<const Manifest>;

  Manifest Draft(const table::RunTree* tree) const REQUIRES(publish_mutex_);
  Status Publish(Manifest next) REQUIRES(publish_mutex_);
  Status WriteOut(const Manifest& next) REQUIRES(publish_mutex_);
  Status CheckTrusted(const Manifest& next) const REQUIRES(publish_mutex_);
  Status SettleDoubt() REQUIRES(publish_mutex_);
  void Adopt(Manifest next) REQUIRES(publish_mutex_);
  void RemoveGarbage() REQUIRES(publish_mutex_);
  ManifestPtr OlderFor(const Position& newest, const Position& undo_floor) const
      REQUIRES(publish_mutex_);
  std::string RunsDirectory() const;

  io::FileSystem* const fs_;
  const std::string directory_;

  mutable Mutex publish_mutex_;  // taken before mutex_
  uint64_t next_number_ GUARDED_BY(publish_mutex_);
  // Number of a manifest of which is not known whether it will be found; 0: none.
  uint64_t doubtful_ GUARDED_BY(publish_mutex_) = 0;
  std::set<uint64_t> garbage_runs_ GUARDED_BY(publish_mutex_);
  std::set<uint64_t> garbage_values_ GUARDED_BY(publish_mutex_);
  std::set<uint64_t> garbage_manifests_ GUARDED_BY(publish_mutex_);
  std::set<std::string> garbage_temporaries_ GUARDED_BY(publish_mutex_);  // paths
  // Runs below this number that are in no manifest yet may have lost their names: the sync of their
  // directory failed with this status.
  uint64_t distrusted_below_ GUARDED_BY(publish_mutex_) = 0;
  Status distrust_ GUARDED_BY(publish_mutex_);

  mutable Mutex mutex_;
  ManifestPtr newest_ GUARDED_BY(mutex_);
  ManifestPtr older_ GUARDED_BY(mutex_);  // may be null
  uint64_t next_run_ GUARDED_BY(mutex_);
  bool in_doubt_ GUARDED_BY(mutex_) = false;
};

}  // namespace gapless::engine
