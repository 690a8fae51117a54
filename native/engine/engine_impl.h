// The engine behind engine.h: one object a directory and process.
//
// Locks, in the order in which they may be taken together:
//   terms_mutex_    STATE, IDENTITY, role and epoch changes; held while these wait for the disk
//   commit_mutex_   the sequencer: history, tables, queue, sink, views and pins as they are taken
//   views_mutex_    the tables of views, pins and holds
//   clients_mutex_  clients and their completions
//   live_mutex_     only the pointer to the live generation
// Nothing waits for the disk with one of them held but terms_mutex_, which no commit and no read
// takes.
//
// Threads of its own: the housekeeper (begins epochs, expires views, drops old generations). The
// log's flusher calls OnLog... without a lock of the log held, the threads of the live generation's
// upkeep call OnUpkeep in the same way.
//
// generation_builder.cc and offline.cc come in through the part named "doors".
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/thread.h"
#include "engine/directory.h"
#include "engine/engine.h"
#include "engine/generation.h"
#include "engine/recovery.h"
#include "engine/upkeep.h"
#include "engine/visible_cell.h"
#include "engine/write_request.h"

namespace gapless::engine {

// A protected read point; the last holder releases it.
struct ViewHandle {
  ViewHandle(std::shared_ptr<Generation> of, Visible visible)
      : generation(std::move(of)), at(visible) {}
  ~ViewHandle() { generation->store.ReleaseView(store_view); }
  ViewHandle(const ViewHandle&) = delete;
  ViewHandle& operator=(const ViewHandle&) = delete;
  table::ReadPoint point() const { return {at.position.seq, at.clock >> 16}; }

  const std::shared_ptr<Generation> generation;
  const Visible at;
  bool pinned = false;  // lives as long as its pin, not as long as a view
  uint64_t store_view = 0;
  std::atomic<uint64_t> used_us{0};  // when it was opened; of a pin, when it was read last
};

class EngineImpl final : public Engine, private GenerationOwner, private UpkeepOwner {
 public:
  // Takes over an opened directory; Start must follow.
  EngineImpl(std::string path, const Options& options, std::unique_ptr<io::FileLock> lock,
             StoreFiles files, Recovered recovered);
  ~EngineImpl() override;
  Status Start();
  // The last Release: drains, closes the log with its mark, joins the threads, unlocks.
  Status Close();

  // --- Engine ---
  Status Release() override;
  const Options& options() const override { return options_; }
  Identity identity() const override;
  Role role() const override;
  bool fenced() const override;
  Epoch own_epoch() const override;
  uint32_t highest_term() const override;
  bool complete() const override;
  RecoveryReport recovery() const override { return report_; }
  Progress progress() override;
  Position shipping_end() const override;
  log::MetaState meta() const override;
  Counters counters() const override;
  log::LogStats log_stats() const override;
  table::StoreStats store_stats() const override;
  StoreReport store_report() const override;
  void AddClient(EngineClient* client) override;
  void RemoveClient(EngineClient* client) override;
  std::vector<Completion> TakeCompletions(EngineClient* client) override;
  Submitted Submit(EngineClient* client, const WriteRequest& request, bool may_queue) override;
  Status WaitFor(const Position& position, log::Durability level, uint64_t timeout_ms) override;
  Submitted SubmitControl(EngineClient* client, log::RecordKind kind, Slice body) override;
  Status SyncTo(uint64_t offset, uint64_t timeout_ms) override;
  std::unique_ptr<ReadScope> Read() override;
  Result<std::unique_ptr<ReadScope>> ReadView(ViewId view) override;
  Result<table::Store::DigestPart> DigestShard(ViewId view, uint32_t shard) override;
  ViewInfo OpenView() override;
  void ReleaseView(ViewId view) override;
  Result<ViewId> OpenViewAt(uint64_t seq) override;
  Result<std::optional<Position>> ViewPosition(ViewId view) override;
  Epoch EpochOf(uint64_t seq) const override;
  Result<PinInfo> Pin(const std::string& name) override;
  Status CheckPin(uint64_t pin) const override;
  void ReleasePin(uint64_t pin) override;
  Result<std::unique_ptr<snapshot::EntrySource>> PinnedShard(uint64_t pin, uint32_t flow) override;
  Status Checkpoint(uint64_t timeout_ms) override;
  Result<uint64_t> StartCompact(const std::optional<table::Extent>& extent) override;
  Result<std::optional<CompactReport>> AwaitCompact(uint64_t compaction,
                                                    uint64_t timeout_ms) override;
  void CancelCompact(uint64_t compaction) override;
  Result<CompactReport> Compact(const std::optional<table::Extent>& extent) override;
  Result<log::LogChunk> ReadLog(uint64_t from, uint64_t max_bytes) override;
  Result<Position> PositionAt(uint64_t offset) override;
  Result<Position> PositionBeforeSeq(uint64_t seq) override;
  Result<log::HoldId> AddHold(log::HoldKind kind, const std::string& name, uint64_t offset,
                              uint64_t max_bytes) override;
  Status MoveHold(log::HoldId hold, uint64_t offset) override;
  void ReleaseHold(log::HoldId hold) override;
  bool HoldIsAlive(log::HoldId hold) const override;
  void SetUndoFloor(const Position& floor) override;
  void SetSink(CommitSink* sink) override;
  Status SeeTerm(uint32_t term) override;
  Result<Position> Promote(uint32_t term) override;
  Status Demote() override;
  void SetLease(uint64_t deadline_ms) override;
  uint64_t LeaseClockMs() const override;
  Status AdoptCluster(const ClusterId& cluster) override;
  Result<Received> AppendReplicated(Slice records) override;
  void ApplyTicketShard(uint64_t ticket, uint32_t shard) override;
  void ApplyTicket(uint64_t ticket) override;
  Status PublishTicket(uint64_t ticket) override;
  Status FinishTickets() override;
  Result<std::unique_ptr<GenerationBuilder>> NewGeneration() override;
  Result<Divergence> Rewind(const Position& common, uint64_t lost_max_bytes) override;
  std::vector<Position> kept_checkpoints() const override;
  Result<Divergence> SaveSuffix(const std::optional<Position>& common,
                                uint64_t lost_max_bytes) override;

  // --- doors ---
  const std::string& path() const { return path_; }
  std::shared_ptr<Generation> Live() const;
  IdentityFile identity_file() const;
  NodeState node_state() const;
  // Changes STATE durably; `change` gets the present state and alters it. Waits.
  Status UpdateState(const std::function<void(NodeState*)>& change);
  // Takes the place of the live generation: CURRENT names it already, its log is open. Readers of
  // the old one stay there; its files go with the last of them, or after viewMaxAge.
  // A rewound generation has the files of the one that it replaces (`same_files`).
  void InstallGeneration(std::shared_ptr<Generation> next, bool same_files = false);
  // Names `next` in STATE and CURRENT and installs it (generation_builder.cc).
  Status SwitchGeneration(std::shared_ptr<Generation> next, const Counters& spilled, bool* named);
  // One generation is built or rewound at a time; false: another one is.
  bool BeginBuilding() { return !building_.exchange(true); }
  void EndBuilding() { building_.store(false); }

 private:
  enum class EpochPhase : uint8_t { kNone, kWanted, kBegun };
  // kSettled: nothing is appended or sealed; kCut: the log is not read either.
  enum class RewindPhase : uint8_t { kNone, kSettled, kCut };
  struct Queued {
    EngineClient* client = nullptr;
    uint64_t ticket = 0;
    std::string body;
    std::string checks;
    Work work;                     // its slices point into the two strings
    Completion* answer = nullptr;  // of a caller that waits: its ticket is set when it is there
  };
  struct ClientEntry {
    EngineClient* client = nullptr;
    std::vector<Completion> completions;
  };
  struct PinEntry {
    std::shared_ptr<ViewHandle> view;
    ViewId view_id = 0;
    log::HoldId hold = 0;
  };
  struct Awaited {
    uint64_t seq = 0;
    bool missed = false;  // a batch went across it
  };
  struct HoldEntry {
    std::weak_ptr<Generation> generation;
    log::HoldId hold = 0;
  };
  struct TicketRecord {
    log::RecordView record;  // its body points into the ticket's bytes
    Position before;
    Position after;
  };
  struct Ticket {
    uint64_t id = 0;
    std::string bytes;
    std::vector<TicketRecord> records;
    uint64_t operations = 0;
    std::shared_ptr<Generation> generation;
    std::atomic<uint64_t> taken{0};    // a bit a shard: somebody applies it, or has
    std::atomic<uint64_t> applied{0};  // a bit a shard: somebody has
  };
  struct Retired {
    std::shared_ptr<Generation> generation;
    uint64_t since_us = 0;
    bool keeps_files = false;  // they belong to the live one
  };

  // engine_impl.cc
  void OnLogProgress() override;
  void OnLogRoom() override;
  void OnLogNoSpace(const Status& why) override;
  void OnLogSpaceBack() override;
  void OnLogPoisoned(const Generation* from, const Status& why) override;
  void Housekeep();
  void DropRetired(bool all);
  void WakeClients();
  void ShowVisibleLocked() REQUIRES(commit_mutex_);
  void ShowShippingLocked() REQUIRES(commit_mutex_);
  Position ShippingLocked(const log::LogProgress& progress) const REQUIRES(commit_mutex_);
  void StopLocked(Status why) REQUIRES(commit_mutex_);
  bool DrainForClose();
  void ForgetFormerMark();

  // upkeep_engine.cc
  void OnUpkeep(const Generation* from) override;
  Position UndoFloor(const Generation* of, const Position& head) const override;
  bool AbsentSlotLocked(const Generation* of, const std::vector<log::HoldInfo>& holds) const
      REQUIRES(commit_mutex_);
  void StartUpkeep(Generation* generation);
  void EndUpkeep();
  void KeepUp();
  void SealIfDueLocked() REQUIRES(commit_mutex_);
  // The tables may take what is received, before and behind what is received already.
  bool ReplicaHasRoomLocked(uint64_t bytes) REQUIRES(commit_mutex_);
  // Not OK: refused; *wait: the memtables are full, and being flushed.
  Status AskMemtablesLocked(bool* wait) REQUIRES(commit_mutex_);
  void EndStallLocked() REQUIRES(commit_mutex_);
  Result<uint64_t> WantCheckpoint(std::shared_ptr<Generation>* live);
  uint64_t OldestViewUs() const;

  // commit.cc
  Status RefusalLocked() const REQUIRES(commit_mutex_);
  Submitted SubmitWork(EngineClient* client, const Work& work, bool may_queue);
  Submitted SubmitLocked(EngineClient* client, const Work& work, bool may_queue, bool* kick)
      REQUIRES(commit_mutex_);
  // kWait in *admission: nothing was done, ask again behind OnRoom.
  Status SequenceLocked(const Work& work, Commit* commit, log::Admission* admission)
      REQUIRES(commit_mutex_);
  Status CheckControlLocked(const Work& work) const REQUIRES(commit_mutex_);
  log::RecordHeader AppendOwnLocked(const Work& work, Slice body) REQUIRES(commit_mutex_);
  Submitted EnqueueLocked(EngineClient* client, const Work& work, bool may_queue)
      REQUIRES(commit_mutex_);
  void QueueLocked(EngineClient* client, const Work& work, Completion* answer)
      REQUIRES(commit_mutex_);
  Submitted WaitForMemtablesLocked(const Work& work) REQUIRES(commit_mutex_);
  bool DrainLocked() REQUIRES(commit_mutex_);  // true: something was appended
  void FailQueueLocked(const Status& why) REQUIRES(commit_mutex_);
  void CompleteLocked(const Queued& queued, Completion completion) REQUIRES(commit_mutex_);
  Status WaitForEpochLocked() REQUIRES(commit_mutex_);

  // terms.cc
  Status ChangeState(const std::function<void(NodeState*)>& change) REQUIRES(terms_mutex_);
  void BeginWantedEpoch();
  Result<Position> BeginEpoch(Epoch epoch, uint8_t cause) REQUIRES(terms_mutex_);
  Result<Position> BeginTerm(uint32_t term) REQUIRES(terms_mutex_);
  bool GoOnWithoutTermLocked(Epoch former, EpochPhase phase) REQUIRES(commit_mutex_);
  Result<Position> AppendEpoch(Epoch epoch, uint8_t cause) REQUIRES(terms_mutex_);
  uint32_t NextRun(uint32_t term) const REQUIRES(terms_mutex_);
  void FenceLocked() REQUIRES(commit_mutex_);
  Status PoisonStatus() const;
  Status SyncFully(uint64_t offset);

  // lease.cc
  bool EndLeaseIfDueLocked() REQUIRES(commit_mutex_);
  void EndLeaseIfDue();

  // views.cc
  std::shared_ptr<ViewHandle> MakeViewLocked() REQUIRES(commit_mutex_);
  ViewId KeepView(std::shared_ptr<ViewHandle> view);
  void OpenAwaitedLocked(const Position& visible) REQUIRES(commit_mutex_);
  void ExpireViews();
  void EndPin(uint64_t pin);
  Result<PinInfo> PinWithoutHold();
  bool ReachedViewAge(uint64_t since_us) const;
  bool ViewIsOld(const ViewHandle& view) const;
  Result<std::shared_ptr<ViewHandle>> FindView(ViewId view);
  bool PinIsOld(const ViewHandle& view) const;

  Result<std::shared_ptr<Generation>> BeginLogReading();
  void EndLogReading();

  // rewind_engine.cc
  struct Rewinding;
  Status SettleForRewind(Rewinding* rewinding);
  Status PrepareRewind(Rewinding* rewinding);
  Status SaveForRewind(Rewinding* rewinding);
  Status CutForRewind(Rewinding* rewinding);
  Result<Divergence> RewindAlone(const Position& common, uint64_t lost_max_bytes);
  Result<Divergence> SaveBetween(Generation* live, uint64_t from, const Position& end,
                                 uint64_t lost_max_bytes);
  void SetRewindPhase(RewindPhase phase);
  Status PoisonByRewind(const Status& why);

  // replica_stream.cc
  struct Incoming;
  Status CheckIncoming(Slice records, Incoming* incoming);
  Status CheckKnown(const Incoming& incoming);
  Status SeeIncomingTerms(const Incoming& incoming);
  Status AppendIncoming(Incoming* incoming, size_t* appended);
  void TakeIncomingLocked(const TicketRecord& record, Slice bytes) REQUIRES(commit_mutex_);
  std::shared_ptr<Ticket> FindTicket(uint64_t ticket);
  static void ApplyToShards(Ticket* ticket, uint32_t from, uint32_t to);

  const std::string path_;
  const Options options_;
  std::unique_ptr<io::FileLock> lock_;
  const RecoveryReport report_;

  mutable Mutex terms_mutex_;
  IdentityFile identity_ GUARDED_BY(terms_mutex_);
  std::unique_ptr<StateFile> state_file_ GUARDED_BY(terms_mutex_);

  mutable Mutex commit_mutex_;
  CondVar progress_cond_;  // anything that a waiter may wait for has changed
  CondVar house_cond_;     // the housekeeper has something to do
  // Written with commit_mutex_ and live_mutex_ held; read with either.
  std::shared_ptr<Generation> live_;
  uint64_t generation_count_ GUARDED_BY(commit_mutex_) = 1;
  Identity shown_identity_ GUARDED_BY(commit_mutex_);
  Role role_ GUARDED_BY(commit_mutex_) = Role::kPrimary;
  bool complete_ GUARDED_BY(commit_mutex_) = true;
  bool fenced_ GUARDED_BY(commit_mutex_) = false;
  uint64_t former_mark_ GUARDED_BY(commit_mutex_) = 0;            // of a repaired replica; 0: none
  std::optional<Position> told_floor_ GUARDED_BY(commit_mutex_);  // by the primary
  Epoch own_epoch_ GUARDED_BY(commit_mutex_);
  uint32_t own_term_ GUARDED_BY(commit_mutex_) = 1;
  uint32_t highest_term_ GUARDED_BY(commit_mutex_) = 0;
  EpochPhase epoch_phase_ GUARDED_BY(commit_mutex_) = EpochPhase::kNone;
  uint64_t epoch_attempts_ GUARDED_BY(commit_mutex_) = 0;
  Status epoch_error_ GUARDED_BY(commit_mutex_);
  // Nothing at or behind this offset is shipped yet: an EPOCH record that is not durable.
  uint64_t ship_limit_ GUARDED_BY(commit_mutex_) = UINT64_MAX;
  Status stop_status_ GUARDED_BY(commit_mutex_);  // not OK: nothing is acknowledged any more
  Status last_stop_ GUARDED_BY(commit_mutex_);    // stays when a change of role ends the stop
  uint64_t stops_ GUARDED_BY(commit_mutex_) = 0;
  uint64_t lease_deadline_ms_ GUARDED_BY(commit_mutex_) = kNoLease;
  bool poisoned_ GUARDED_BY(commit_mutex_) = false;
  bool closing_ GUARDED_BY(commit_mutex_) = false;
  bool closed_ GUARDED_BY(commit_mutex_) = false;
  std::deque<Queued> queue_ GUARDED_BY(commit_mutex_);
  uint64_t queued_bytes_ GUARDED_BY(commit_mutex_) = 0;
  uint64_t next_ticket_ GUARDED_BY(commit_mutex_) = 1;
  std::string effects_ GUARDED_BY(commit_mutex_);  // scratch of bodies with increments
  // Since when commits wait for the memtables; 0: they do not.
  uint64_t stalled_since_us_ GUARDED_BY(commit_mutex_) = 0;
  uint64_t stalls_ GUARDED_BY(commit_mutex_) = 0;
  uint64_t stall_us_ GUARDED_BY(commit_mutex_) = 0;
  uint64_t user_bytes_ GUARDED_BY(commit_mutex_) = 0;
  uint64_t ticket_bytes_ GUARDED_BY(commit_mutex_) = 0;  // of all tickets
  Counters counters_ GUARDED_BY(commit_mutex_);
  CommitSink* sink_ GUARDED_BY(commit_mutex_) = nullptr;
  std::deque<std::shared_ptr<Ticket>> tickets_ GUARDED_BY(commit_mutex_);
  bool receiving_ GUARDED_BY(commit_mutex_) = false;  // appended, and its ticket not kept yet
  bool promoting_ GUARDED_BY(commit_mutex_) = false;  // another primary's records are refused
  RewindPhase rewind_phase_ GUARDED_BY(commit_mutex_) = RewindPhase::kNone;
  uint32_t log_readings_ GUARDED_BY(commit_mutex_) = 0;  // reads of the live log that run
  std::vector<Retired> retired_ GUARDED_BY(commit_mutex_);
  std::unordered_map<ViewId, Awaited> awaited_ GUARDED_BY(commit_mutex_);  // views still to open
  bool stop_housekeeper_ GUARDED_BY(commit_mutex_) = false;
  Thread housekeeper_;

  mutable Mutex views_mutex_;
  uint64_t next_id_ GUARDED_BY(views_mutex_) = 1;  // of views, pins and holds
  std::unordered_map<ViewId, std::shared_ptr<ViewHandle>> views_ GUARDED_BY(views_mutex_);
  std::unordered_map<uint64_t, PinEntry> pins_ GUARDED_BY(views_mutex_);
  std::unordered_map<log::HoldId, HoldEntry> holds_ GUARDED_BY(views_mutex_);

  mutable Mutex clients_mutex_;
  std::vector<ClientEntry> clients_ GUARDED_BY(clients_mutex_);

  mutable Mutex live_mutex_;
  VisibleCell visible_;
  std::atomic<bool> is_primary_{true};
  std::atomic<bool> building_{false};
};

}  // namespace gapless::engine
