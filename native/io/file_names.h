// Every file name of a data directory and of a snapshot: constants, formatters and strict parsers.
//
//   LOCK IDENTITY STATE CURRENT
//   gen-000001/log/00000000000000000000.log        segment, named by its first offset
//   gen-000001/log/00000000000000000000.idx        its sidecar index
//   gen-000001/runs/run-000001
//   gen-000001/runs/values-000001                  large values that run 1 wrote
//   gen-000001/MANIFEST-000001
//   snapshots/NAME/{SNAPSHOT,flow-00000}   incoming/   quarantine/
//   lost/3.1-118-131.log                           epoch of the suffix, first and last seq
//
// A parser accepts exactly what its formatter writes, so that no two names mean the same thing: the
// caller decides what a strange name is. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/slice.h"

namespace gapless::io {

inline constexpr char kLockFile[] = "LOCK";
inline constexpr char kIdentityFile[] = "IDENTITY";
inline constexpr char kStateFile[] = "STATE";
inline constexpr char kCurrentFile[] = "CURRENT";
inline constexpr char kSnapshotFile[] = "SNAPSHOT";
inline constexpr char kLogDirectory[] = "log";
inline constexpr char kRunsDirectory[] = "runs";
inline constexpr char kSnapshotsDirectory[] = "snapshots";
inline constexpr char kIncomingDirectory[] = "incoming";
inline constexpr char kLostDirectory[] = "lost";
inline constexpr char kQuarantineDirectory[] = "quarantine";
inline constexpr char kTemporarySuffix[] = ".tmp";

// "gen-000001". Numbers wider than six digits get more digits, without leading zeros.
std::string GenerationName(uint64_t generation);
bool ParseGenerationName(Slice name, uint64_t* generation);

// "MANIFEST-000001"
std::string ManifestName(uint64_t number);
bool ParseManifestName(Slice name, uint64_t* number);

// "run-000001"
std::string RunName(uint64_t number);
bool ParseRunName(Slice name, uint64_t* number);

// "values-000001"
std::string ValuesName(uint64_t number);
bool ParseValuesName(Slice name, uint64_t* number);

// "00000000000000004096.log", "00000000000000004096.idx"
std::string SegmentName(uint64_t offset);
bool ParseSegmentName(Slice name, uint64_t* offset);
std::string SegmentIndexName(uint64_t offset);
bool ParseSegmentIndexName(Slice name, uint64_t* offset);

// "flow-00000"
std::string FlowName(uint64_t flow);
bool ParseFlowName(Slice name, uint64_t* flow);

// "3.1-118-131.log": term.run of the suffix' last epoch, first and last seq saved.
std::string LostName(uint32_t term, uint32_t run, uint64_t first_seq, uint64_t last_seq);
bool ParseLostName(Slice name, uint32_t* term, uint32_t* run, uint64_t* first_seq,
                   uint64_t* last_seq);

// True for a name that an interrupted PublishFile may leave behind.
bool IsTemporaryName(Slice name);

// True for a name that belongs at the top of a data directory.
bool IsDataDirectoryName(Slice name);

// A snapshot's name below snapshots/: [A-Za-z0-9._-]{1,64}, and neither "." nor "..".
bool IsSnapshotName(Slice name);

}  // namespace gapless::io
