// What the offline commands share: the lock, loading a closed store, places in its log. Callers'
// threads; all wait, and nothing changes a byte on disk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/offline.h"
#include "engine/recovery.h"

namespace gapless::engine {

// kNotAStore where no store is (so that no LOCK file appears there), kLocked on a live one. A store
// that lacks some of its files is locked all the same: `verify` tells what is missing.
Result<std::unique_ptr<io::FileLock>> LockStore(io::FileSystem* fs, io::Clock* clock,
                                                const std::string& path, io::LockMode mode);

// The segments of a log directory whose headers are whole, in order.
struct SegmentHead {
  std::string path;
  Position start;
  uint64_t clock = 0;
};
Result<std::vector<SegmentHead>> ListSegmentHeads(io::FileSystem* fs, const std::string& directory,
                                                  const ClusterId& cluster);
// Files of segments, whatever they hold: paths in order of their offsets.
Result<std::vector<std::string>> ListSegmentFiles(io::FileSystem* fs, const std::string& directory);

// A store as it is at `position`, in memory.
struct LoadedStore {
  std::unique_ptr<table::Store> store;
  History history;
  log::ScanResult scan;
};
// Runs and replay up to the end, or up to the record end with sequence `at_seq`, from the newest
// kept checkpoint at or below it: kPositionUnavailable if there is none. Refuses damage as an open
// does; a torn tail is left out.
Result<LoadedStore> LoadStore(io::FileSystem* fs, const std::string& path, const StoreFiles& files,
                              std::optional<uint64_t> at_seq);
// The same from one of the kept manifests.
Result<LoadedStore> LoadStoreFrom(io::FileSystem* fs, const std::string& path,
                                  const StoreFiles& files, const Manifest& manifest,
                                  std::optional<uint64_t> at_seq);
Result<DigestReport> DigestOfStore(LoadedStore* loaded);

// VerifyReport without taking the lock.
Result<VerifyReport> VerifyFiles(io::FileSystem* fs, const std::string& path, bool deep);

// `file` as INTERFACES section 15 shows it.
std::string RelativeTo(const std::string& path, const std::string& file);

}  // namespace gapless::engine
