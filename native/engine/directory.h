// A data directory as a whole: its lock, what stands in it, its creation.
//
// Creation order: log and manifest, STATE, IDENTITY, CURRENT last. A directory with our names only,
// without CURRENT and without anything that was ever served, is an unfinished creation and is made
// anew; anything else that is not whole is kNotAStore or kCorrupt. Callers' threads; all wait.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/identity.h"
#include "engine/manifest.h"
#include "engine/state_file.h"
#include "io/file_system.h"
#include "log/log.h"

namespace gapless::engine {

// Takes LOCK and, if exclusive, writes who holds it. kLocked with details pid and host.
Result<std::unique_ptr<io::FileLock>> LockDirectory(io::FileSystem* fs, io::Clock* clock,
                                                    const std::string& path, io::LockMode mode);

enum class DirectoryKind : uint8_t {
  kMissing,     // nothing of that name
  kEmpty,       // nothing in it but LOCK
  kUnfinished,  // a creation that did not reach CURRENT
  kStore,
};
// Looks, changes nothing. kNotAStore, kCorrupt with the missing file.
Result<DirectoryKind> InspectDirectory(io::FileSystem* fs, const std::string& path);

// Creates `path` and the directories above it that are missing, each synced into its parent.
Status CreateDirectories(io::FileSystem* fs, const std::string& path);

// What a new store begins with.
struct NewStore {
  IdentityFile identity;
  NodeState state;
};
NewStore MakeNewStore(const Options& options);

// Fills an empty or unfinished directory. Requires: the exclusive lock is held.
Status CreateStore(const Options& options, const std::string& path, const NewStore& store);

// Makes directory, empty log and manifest of a generation: everything but CURRENT. Whatever stood
// under that name is removed first.
Status CreateEmptyGeneration(const Options& options, const std::string& path,
                             const IdentityFile& identity, uint64_t generation);

Result<IdentityFile> ReadIdentity(io::FileSystem* fs, const std::string& path);
Status PublishIdentity(io::FileSystem* fs, const std::string& path, const IdentityFile& identity);

std::string GenerationPath(const std::string& path, uint64_t generation);
// Where the runs of a generation stand, and how they are written.
table::RunOptions MakeRunOptions(const Options& options, const std::string& generation_path,
                                 const ClusterId& cluster);
log::LogOptions MakeLogOptions(const Options& options, const std::string& generation_path,
                               const IdentityFile& identity);

}  // namespace gapless::engine
