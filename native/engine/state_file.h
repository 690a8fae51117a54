// The STATE file: role, own epoch, highest term seen, durable mark, and what is under way.
//
// Two slots of 4096 bytes. An update gives both the same content, one after the other, each with
// its own fdatasync, and begins with the slot that does not hold the newest whole state: whatever a
// crash tears, one whole slot stays. Layout: docs/FORMAT.md "STATE".
//
// Update waits for the disk and is called under the engine's terms mutex, from one thread at a
// time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/slice.h"
#include "base/status.h"
#include "engine/engine.h"
#include "io/file_system.h"
#include "log/meta_state.h"

namespace gapless::engine {

inline constexpr char kStateMagic[] = "GPLSSTA1";
inline constexpr uint32_t kStateVersion = 1;
inline constexpr size_t kStateSlotBytes = 4096;
inline constexpr size_t kStateFileBytes = 2 * kStateSlotBytes;
inline constexpr uint32_t kStateFlagIncomplete = 1;
inline constexpr size_t kStatePaddedMax = 32;

enum class Intent : uint32_t { kNone = 0, kRewind = 1, kSwitch = 2 };

struct NodeState {
  Role role = Role::kPrimary;
  uint64_t counter = 0;
  Epoch own_epoch;  // 0.0: none begun yet
  uint32_t highest_term = 0;
  bool incomplete = false;
  uint64_t durable_mark = 0;
  uint64_t former_mark = 0;
  Intent intent = Intent::kNone;
  Position intent_common;
  Position intent_end;      // of a rewind: the durable end of the log when it began
  uint64_t generation = 0;  // that durable_mark speaks of
  std::vector<log::PaddedRange> padded;
  bool operator==(const NodeState&) const = default;
};

std::string EncodeStateSlot(const NodeState& state);
Result<NodeState> DecodeStateSlot(Slice bytes, const std::string& file, uint64_t base_offset);
// The state that both slots together say, and the slot that an update must write first.
Result<NodeState> DecodeState(Slice bytes, const std::string& file, uint32_t* write_first);

class StateFile {
 public:
  // Publishes a new file by rename.
  static Status Create(io::FileSystem* fs, const std::string& directory, const NodeState& state);
  static Result<std::unique_ptr<StateFile>> Open(io::FileSystem* fs, const std::string& directory,
                                                 bool read_only);
  const NodeState& state() const { return state_; }
  // Durable when this returns OK. Sets the counter itself. After a failed write or sync every later
  // update fails with the same status: what is on disk is not known any more.
  Status Update(NodeState next);

 private:
  StateFile() = default;

  std::unique_ptr<io::File> file_;
  NodeState state_;
  uint32_t write_first_ = 0;
  Status broken_;
};

}  // namespace gapless::engine
