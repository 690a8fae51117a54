// One generation of a store, live or retired: its tables, its log, and where they stand.
//
// Held by shared_ptr: reads, views and pins keep an old generation alive across a switch. The part
// named History is guarded by the engine's commit mutex once the generation is live. The log's
// listener is the generation, which passes the calls on to its owner while it is attached.
#pragma once

#include <memory>
#include <string>

#include "base/mutex.h"
#include "engine/checkpoints.h"
#include "log/log.h"
#include "log/meta_state.h"
#include "log/record.h"
#include "table/store.h"

namespace gapless::engine {

// Meta state at the visible position. Batches touch two plain fields; the lists are shared and
// copied before each change, so that a pin takes them in O(1).
class History {
 public:
  struct Snapshot {
    std::shared_ptr<const log::MetaState> lists;
    Position position;
    uint64_t clock = 0;
    log::MetaState ToMeta() const;
  };

  void Reset(log::MetaState meta);
  void Advance(const log::RecordView& record, const Position& before, const Position& after);
  Snapshot snapshot() const { return Snapshot{lists_, position_, clock_}; }
  const Position& position() const { return position_; }
  uint64_t clock() const { return clock_; }
  const log::MetaState& lists() const { return *lists_; }

 private:
  std::shared_ptr<const log::MetaState> lists_ = std::make_shared<log::MetaState>();
  Position position_;
  uint64_t clock_ = 0;
};

// The epoch in which sequence `seq` was written, by the epoch list of a history.
Epoch EpochOfSeq(const log::MetaState& lists, uint64_t seq);

class Generation;

// Who hears of a live generation's log; the calls are those of log::LogListener.
class GenerationOwner {
 public:
  virtual ~GenerationOwner() = default;
  virtual void OnLogProgress() = 0;
  virtual void OnLogRoom() = 0;
  virtual void OnLogNoSpace(const Status& why) = 0;
  virtual void OnLogSpaceBack() = 0;
  virtual void OnLogPoisoned(const Generation* from, const Status& why) = 0;
};

class Upkeep;

class Generation final : public log::LogListener {
 public:
  Generation(uint64_t number, std::string path, const table::StoreOptions& options);
  ~Generation() override;
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  uint64_t number() const { return number_; }
  // Unique in this process: a rewind makes another generation of the same number.
  uint64_t id() const { return id_; }
  const std::string& path() const { return path_; }

  // Until Attach, and again behind Detach, the log's calls end here; a poisoning is told with
  // Attach. Detach waits for a call that runs. Neither is called with the commit mutex held.
  void Attach(GenerationOwner* owner);
  void Detach();

  table::Store store;
  std::unique_ptr<Checkpoints> checkpoints;
  std::unique_ptr<log::Log> log;
  std::unique_ptr<Upkeep> upkeep;  // from when it became live; null if read-only

  // --- guarded by the engine's commit mutex once live ---
  History history;          // at the visible position
  Position head;            // appended; on a primary equal to the visible one
  uint64_t head_clock = 0;  // timestamp of the record before `head`

 private:
  void OnProgress(const log::LogProgress& progress) override;
  void OnRoom() override;
  void OnNoSpace(const Status& why) override;
  void OnSpaceBack() override;
  void OnPoisoned(const Status& why) override;

  const uint64_t id_;
  const uint64_t number_;
  const std::string path_;
  Mutex owner_mutex_;  // taken before the commit mutex
  GenerationOwner* owner_ GUARDED_BY(owner_mutex_) = nullptr;
  Status poison_ GUARDED_BY(owner_mutex_);  // of the log
};

}  // namespace gapless::engine
