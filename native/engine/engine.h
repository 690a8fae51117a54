// The database: one Engine a directory and process, shared by every thread that opens it.
//
// Commit path ("one timeline"): bodies and their CRCs are made outside; in one critical section
// (commit_mutex_) the sequencer assigns seq, offset, epoch, timestamp and chain, appends to the log
// buffer, inserts into the memtables, hands the bytes to the CommitSink and publishes the visible
// position. Nothing separates "committed" from "has an offset".
//
// Threads. Any thread may call any method unless it says otherwise; no method calls back into
// JavaScript. Clients are woken through EngineClient::Wake from the flusher thread. A replica's
// stream methods are called by one thread at a time (its controller), ApplyTicketShard by others.
//
// The engine never blocks a caller on the disk except in methods that say "waits".
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/clock.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/meta_state.h"
#include "log/recovery.h"
#include "snapshot/snapshot.h"
#include "table/run.h"
#include "table/store.h"

namespace gapless::engine {

enum class Role : uint8_t { kPrimary = 1, kReplica = 2 };

// Store-wide options; a later open of the same path must name the same values (kOptionsConflict).
struct Options {
  io::FileSystem* fs = nullptr;  // null: the real one
  io::Clock* clock = nullptr;
  io::Random* random = nullptr;
  log::Durability durability = log::Durability::kSync;
  uint32_t flush_interval_ms = 50;
  uint32_t sync_interval_ms = 1000;
  uint64_t pending_bytes = 64 << 20;
  uint32_t shards = 4;  // at creation only
  uint64_t segment_bytes = 64 << 20;
  uint64_t log_retain_bytes = 256 << 20;
  uint64_t view_max_age_ms = 600000;
  uint64_t hold_max_bytes = uint64_t{4} << 30;
  uint64_t snapshot_hold_ms = 600000;
  uint64_t slot_max_bytes = 1 << 30;
  uint64_t clock_max_ahead_ms = 86400000;
  uint64_t memtable_bytes = 64 << 20;  // of all shards, sealed ones included
  uint64_t cache_bytes = 64 << 20;     // of blocks of runs
  table::Compression compression = table::Compression::kNone;  // of runs
  uint32_t value_file_bytes_min = table::kValueFileBytesMin;   // smaller values stand in runs
  uint64_t merge_rate_bytes = 0;  // written by merging, per second; 0: no limit
  bool create_if_missing = true;
  bool error_if_exists = false;
  bool read_only = false;
  bool as_replica = false;  // `--follow`: creates or turns the directory into a replica's
  bool new_node_id = false;
  // Which store-wide options a caller named (kNamed...): a later open is compared by these only.
  uint32_t named = UINT32_MAX;
};
inline constexpr uint32_t kNamedDurability = 1 << 0;
inline constexpr uint32_t kNamedFlushInterval = 1 << 1;
inline constexpr uint32_t kNamedSyncInterval = 1 << 2;
inline constexpr uint32_t kNamedPendingBytes = 1 << 3;
inline constexpr uint32_t kNamedSegmentBytes = 1 << 4;
inline constexpr uint32_t kNamedLogRetainBytes = 1 << 5;
inline constexpr uint32_t kNamedViewMaxAge = 1 << 6;
inline constexpr uint32_t kNamedHoldMaxBytes = 1 << 7;
inline constexpr uint32_t kNamedSnapshotHold = 1 << 8;
inline constexpr uint32_t kNamedSlotMaxBytes = 1 << 9;
inline constexpr uint32_t kNamedClockMaxAhead = 1 << 10;
inline constexpr uint32_t kNamedReadOnly = 1 << 11;
inline constexpr uint32_t kNamedMemtableBytes = 1 << 12;
inline constexpr uint32_t kNamedCacheBytes = 1 << 13;
inline constexpr uint32_t kNamedCompression = 1 << 14;
inline constexpr uint32_t kNamedMergeRate = 1 << 15;

// Called in commit order with the commit mutex held; must only copy.
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  virtual void OnAppend(uint64_t offset, Slice header, Slice body, const Position& after) = 0;
  virtual void OnApplied(const Position& visible) = 0;
  virtual void OnShippingEnd(uint64_t shipping_end, uint64_t durable) = 0;  // flusher thread
  virtual void OnHistoryReset(uint64_t offset) = 0;  // generation switch: start again at offset
};

// One environment's mailbox. Wake comes from any thread, often; it must be quick and coalesce.
class EngineClient {
 public:
  virtual ~EngineClient() = default;
  virtual void Wake() = 0;
};

// A write as the caller encoded it: operations in the batch body layout of docs/FORMAT.md, with one
// addition: op 4 = increment, value = i64 to add (8 bytes); the engine logs it as its effect.
struct WriteRequest {
  Slice body;
  uint32_t operations = 0;
  Slice checks;  // per check: key length u16, flags u8 (1: must be absent), zero u8, term u32, run
                 // u32, seq u64, key. Evaluated against the state before the batch.
  std::optional<log::Durability> durability;  // empty: the store's
};
inline constexpr uint8_t kOpIncrement = 4;

struct Commit {
  Position position;  // behind the record
  uint64_t first_seq = 0;
  std::vector<int64_t> results;  // new values of the increments
};

// Submit's answer. kSequenced: visible now, durable when progress says so. kQueued: waits without a
// sequence (pendingBytes); its outcome comes as a Completion with this ticket. kFailed: nothing
// done.
struct Submitted {
  enum class State : uint8_t { kSequenced, kQueued, kFailed } state = State::kFailed;
  Commit commit;
  uint64_t ticket = 0;
  Status status;
};
struct Completion {
  uint64_t ticket = 0;
  Status status;
  Commit commit;
};

// Everything a waiter needs, read in one step. `acknowledging` false: poisoned or fenced or
// closing: whatever is not yet acknowledged must be rejected with `stop_status` (in doubt, with its
// position).
struct Progress {
  Position visible;
  Position written;
  Position durable;
  bool acknowledging = true;
  Status stop_status;
  // Rises with every stop, and stays when a promotion or demotion ends it: whatever was pending
  // when it moved must not be acknowledged.
  uint64_t stops = 0;
  bool fenced = false;
  bool no_space = false;
  uint64_t generation = 0;  // rises with each generation switch
  // A repaired replica that has not reached again what it once had durable: it counts for nothing.
  bool below_former_mark = false;
};

// What a history lost when it went back to a position that it shares with its primary's.
struct Divergence {
  Position common;
  Position to;  // where it ended
  uint64_t records = 0;
  uint64_t operations = 0;
  uint64_t bytes = 0;
  std::string file;               // in lost/; empty: there was nothing to save
  std::vector<std::string> keys;  // the first ten that it touched
};

struct RecoveryReport {
  std::string outcome;  // "skipped", "restored", "refused" (resync is decided above)
  std::string reason;   // "new", "no_snapshot", "equal", "ahead", ...
  int64_t gap = 0;
  uint64_t ms = 0;
  std::optional<log::TailCut> cut;
  uint64_t replayed_records = 0;
  std::optional<Divergence> rewound;  // a rewind that a crash had cut short was ended
};

// A read view: MVCC at one position. Released by ReleaseView or by view_max_age_ms.
using ViewId = uint64_t;
struct ViewInfo {
  ViewId id = 0;
  Position position;
};

// A pin for a snapshot: a view, the meta state and a hold on the log behind it, taken in one step.
struct PinInfo {
  uint64_t id = 0;
  ViewId view = 0;
  log::MetaState meta;
  ClusterId cluster;
  uint32_t shards = 0;
};

struct Counters {
  uint64_t committed_records = 0, committed_operations = 0;
  uint64_t applied_records = 0, applied_operations = 0;
  uint64_t dropped_records = 0, gaps = 0, replayed_records = 0;
};

struct LevelReport {
  uint64_t runs = 0;
  uint64_t bytes = 0;
};

// Background work since the open.
struct UpkeepReport {
  uint64_t flushes = 0;
  uint64_t flush_read_bytes = 0;  // of memtables
  uint64_t flush_written_bytes = 0;
  uint64_t merges = 0;
  uint64_t moves = 0;  // merges that only moved a run to another level
  uint64_t merge_read_bytes = 0;
  uint64_t merge_written_bytes = 0;  // of merges that failed, too
  uint64_t failures = 0;             // of flushes and merges, each attempt
  uint64_t damaged_runs = 0;         // left out of merging
  Status last_error;                 // OK again when the next attempt succeeds
};

struct StoreReport {
  std::vector<LevelReport> levels;
  uint64_t run_bytes = 0;
  uint64_t run_memory_bytes = 0;     // held by open runs outside of the cache
  uint64_t live_bytes_estimate = 0;  // of run_bytes, what no newer version hides
  uint64_t merge_debt_bytes = 0;
  uint64_t memtable_limit_bytes = 0;
  table::StoreStats store;
  UpkeepReport upkeep;
  uint64_t user_bytes = 0;  // keys and values committed or applied since the open
  uint64_t stalls = 0;      // times that commits had to wait for the memtables
  uint64_t stall_us = 0;
  std::optional<uint64_t> oldest_view_age_ms;  // pins are no views
  Position checkpoint;
};

struct CompactReport {
  uint64_t bytes_before = 0;  // of all runs
  uint64_t bytes_after = 0;
};

struct Identity {
  ClusterId cluster;
  NodeId node;
  uint32_t shards = 0;
};

// A read that holds everything it touches alive: the generation's store, a guard, a read point.
// Create on the stack, use, drop.
class ReadScope;

// Builds a new generation beside the live one: the replica's side of a full sync, and restore.
// Called by one thread at a time. Dropped without Install: everything it wrote is removed.
// What is left of a full sync that was cut short.
struct RecalledSync {
  Id128 sync;
  snapshot::Token token;
  std::vector<uint64_t> flow_bytes;  // of each flow, verified
};

class GenerationBuilder {
 public:
  // What was written goes, unless it was suspended or installed, or the process is killed.
  virtual ~GenerationBuilder() = default;
  // The flows announced; the meta state gives the position. Checks free space against `bytes`.
  virtual Status Begin(const snapshot::Token& announced, uint64_t bytes) = 0;
  // Behind Begin: what is written from now on can be recalled under this name, also after a crash.
  virtual Status Remember(const Id128& sync) = 0;
  // Instead of Begin: takes up what a former process left, cut back to what is verified. False:
  // there is nothing of use, and nothing is left of it. Waits: everything is read.
  virtual Result<bool> Recall(RecalledSync* recalled) = 0;
  // Writes out what there is and ends this object; what is written stays for Recall. Waits.
  virtual Status Suspend() = 0;
  // Where flow `flow`'s bytes go; they are verified as they come. Threads: one per flow.
  virtual Status FeedFlow(uint32_t flow, Slice bytes) = 0;
  // Flow is whole; `summary` is the sender's word. Verifies and fsyncs the file.
  virtual Status FinishFlow(uint32_t flow, const snapshot::FlowSummary& summary) = 0;
  virtual std::vector<uint32_t> finished() const = 0;  // identities
  // Log records behind the snapshot position, checked (CRC, chain, contiguity) and appended to the
  // new generation's log at the same offsets.
  virtual Status AppendLog(Slice records, Position* received) = 0;
  virtual Position received() const = 0;
  // Requires: every announced flow finished. Loads, replays, fsyncs, writes the manifest, switches
  // CURRENT atomically; the engine then serves the new state. Waits (call from a worker thread).
  virtual Status Install() = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Opens or joins the engine of `path` in this process. Waits. kLocked with details pid, host;
  // kNotAStore, kCorrupt, kFormatUnsupported, kStoreAheadOfLog, kExists, kOptionsConflict ...
  static Result<std::shared_ptr<Engine>> Open(const std::string& path, const Options& options);
  // Every Open is balanced by one Release; with the last one the engine syncs, writes the clean
  // mark, joins its threads and closes. Waits. Returns the close status for the last one.
  virtual Status Release() = 0;

  virtual const Options& options() const = 0;
  virtual Identity identity() const = 0;
  virtual Role role() const = 0;
  virtual bool fenced() const = 0;
  virtual Epoch own_epoch() const = 0;
  virtual uint32_t highest_term() const = 0;
  virtual bool complete() const = 0;  // false: replica whose first full sync is unfinished
  virtual RecoveryReport recovery() const = 0;
  virtual Progress progress() = 0;  // looks at the lease too
  virtual Position shipping_end() const = 0;
  virtual log::MetaState meta() const = 0;  // at the visible position
  virtual Counters counters() const = 0;
  virtual log::LogStats log_stats() const = 0;
  virtual table::StoreStats store_stats() const = 0;
  virtual StoreReport store_report() const = 0;

  // --- clients ---
  virtual void AddClient(EngineClient* client) = 0;
  virtual void RemoveClient(EngineClient* client) = 0;  // no Wake after this returns
  virtual std::vector<Completion> TakeCompletions(EngineClient* client) = 0;

  // --- writing ---
  // Never waits with `may_queue`. Without it (putSync) the first write of an open waits until the
  // epoch has begun, and any write until the memtables have room; a full buffer of the log is
  // kQueueFull. Full memtables that cannot be flushed are kNoSpace or kIo. Copies before return.
  // kConflict has the details key, expected, actual: "1.1:42", or an empty text for null (absent).
  virtual Submitted Submit(EngineClient* client, const WriteRequest& request, bool may_queue) = 0;
  // Waits until `position` is durable / written as `level` says, or acknowledging stops (also for a
  // moment). kInDoubt: the history was replaced meanwhile.
  virtual Status WaitFor(const Position& position, log::Durability level, uint64_t timeout_ms) = 0;
  // A control record of the primary (CURSOR, DIGEST, CONFIG, NOOP).
  virtual Submitted SubmitControl(EngineClient* client, log::RecordKind kind, Slice body) = 0;
  virtual Status SyncTo(uint64_t offset, uint64_t timeout_ms) = 0;  // waits

  // --- reading ---
  virtual std::unique_ptr<ReadScope> Read() = 0;                         // newest visible position
  virtual Result<std::unique_ptr<ReadScope>> ReadView(ViewId view) = 0;  // kViewExpired
  // One shard's part of a digest at a view, without a guard from its beginning to its end. Waits.
  virtual Result<table::Store::DigestPart> DigestShard(ViewId view, uint32_t shard) = 0;
  virtual ViewInfo OpenView() = 0;
  virtual void ReleaseView(ViewId view) = 0;
  // A view at the record end `seq`, which may be still to come: it opens in the step that makes
  // that record visible. kPositionUnavailable if it has gone by, kTooMany.
  virtual Result<ViewId> OpenViewAt(uint64_t seq) = 0;
  // Empty while it is still to come; kNotARecordEnd if a batch went across it.
  virtual Result<std::optional<Position>> ViewPosition(ViewId view) = 0;
  virtual Epoch EpochOf(uint64_t seq) const = 0;  // of a live entry's last write

  // --- snapshots ---
  virtual Result<PinInfo> Pin(const std::string& name) = 0;  // O(1), kPoisoned
  virtual Status CheckPin(uint64_t pin) const = 0;           // kEvicted: hold_expired
  virtual void ReleasePin(uint64_t pin) = 0;
  // The entries of shard `flow` at the pin; takes guards chunk by chunk.
  virtual Result<std::unique_ptr<snapshot::EntrySource>> PinnedShard(uint64_t pin,
                                                                     uint32_t flow) = 0;

  // --- upkeep ---
  // A checkpoint at the newest visible position or behind it. Waits so long at most; tries once.
  // kReadOnly, kPoisoned, kClosed, kTimeout, or what the disk said.
  virtual Status Checkpoint(uint64_t timeout_ms) = 0;
  // Flushes, and merges everything that overlaps `extent` (all, if empty) down to the bottom, so
  // that nothing deleted or overwritten is left of it but what views need. Returns a number to wait
  // with; a number is answered once.
  virtual Result<uint64_t> StartCompact(const std::optional<table::Extent>& extent) = 0;
  // Waits so long at most; empty: not done yet. kClosed, kInDoubt (the history was replaced).
  virtual Result<std::optional<CompactReport>> AwaitCompact(uint64_t compaction,
                                                            uint64_t timeout_ms) = 0;
  virtual void CancelCompact(uint64_t compaction) = 0;
  // Both in one; ended by closing.
  virtual Result<CompactReport> Compact(const std::optional<table::Extent>& extent) = 0;

  // --- history and log, for replication and feeds ---
  virtual Result<log::LogChunk> ReadLog(uint64_t from, uint64_t max_bytes) = 0;  // <= shipping end
  virtual Result<Position> PositionAt(uint64_t offset) = 0;
  virtual Result<Position> PositionBeforeSeq(uint64_t seq) = 0;
  virtual Result<log::HoldId> AddHold(log::HoldKind kind, const std::string& name, uint64_t offset,
                                      uint64_t max_bytes) = 0;
  virtual Status MoveHold(log::HoldId hold, uint64_t offset) = 0;
  virtual void ReleaseHold(log::HoldId hold) = 0;
  // False: released, given up beyond its cap, or of a history that was replaced.
  virtual bool HoldIsAlive(log::HoldId hold) const = 0;
  // The undo floor that the primary of this history announced: from now on the checkpoint at or
  // below it is kept. Manifests keep it across opens.
  virtual void SetUndoFloor(const Position& floor) = 0;
  virtual void SetSink(CommitSink* sink) = 0;  // null: none; takes effect at a record end, at once

  // --- terms ---
  // Persists a term seen anywhere before it is acted on; a primary whose own term is lower is
  // fenced from then on, also after restarts. Waits (fdatasync of STATE).
  virtual Status SeeTerm(uint32_t term) = 0;
  // Begins a new term: term 0 means highest seen + 1. Waits until its EPOCH record is durable.
  // kAlreadyPrimary if primary, not fenced and term 0; kUsage if the term is not above the highest.
  virtual Result<Position> Promote(uint32_t term) = 0;
  virtual Status Demote() = 0;  // role replica; waits for commits in flight
  // Until when (CLOCK_BOOTTIME) this node may be a primary; kNoLease: no coordinator decides it.
  // Looked at when a record is appended and before it is acknowledged; behind it the primary is
  // fenced. A later deadline revives nothing.
  static constexpr uint64_t kNoLease = UINT64_MAX;
  virtual void SetLease(uint64_t deadline_ms) = 0;
  virtual uint64_t LeaseClockMs() const = 0;  // now, on the clock of leases

  // --- a replica's stream ---
  // Adopts the cluster id of the primary. Requires: no record here.
  virtual Status AdoptCluster(const ClusterId& cluster) = 0;
  // Checks (CRC, offset, chain, contiguity, clock) and appends whole records; those at or below the
  // appended seq are dropped and counted; a gap is kProtocol. `ticket` names them for applying.
  // Refusals name a `reason`: gap, clock_ahead, epoch, body, short, header_crc, chain ... When the
  // log has no room within 5 ms, what fitted is taken (`bytes` tells how much of `records`, dropped
  // ones included, was consumed: give the rest again), or kQueueFull if nothing did.
  struct Received {
    uint64_t ticket = 0;  // 0: nothing new
    Position after;
    uint64_t records = 0;
    uint64_t operations = 0;
    uint64_t bytes = 0;
  };
  virtual Result<Received> AppendReplicated(Slice records) = 0;
  virtual void ApplyTicketShard(uint64_t ticket, uint32_t shard) = 0;  // any thread, one per shard
  virtual void ApplyTicket(uint64_t ticket) = 0;                       // all shards, inline
  // Makes the ticket's records visible (in order of tickets). Requires: applied on all shards, and
  // durable (written for os/memory stores) up to its end.
  virtual Status PublishTicket(uint64_t ticket) = 0;
  // Makes durable, applies and shows every ticket that is left, for a thread that was terminated
  // with some of its own open: behind them no other ticket has its turn. Waits.
  virtual Status FinishTickets() = 0;
  virtual Result<std::unique_ptr<GenerationBuilder>> NewGeneration() = 0;
  // Gives up everything behind `common`, a position of this replica's history, after saving its
  // operations to lost/ (DESIGN section 8). Reads that run and views stay on the old state. Waits;
  // one of the stream's methods. Refused, with nothing changed: kPositionUnavailable (reason
  // undo_unavailable), kPositionNotInHistory (chain_mismatch), kNeedsOperator (lost_full),
  // kCorrupt, kConflict (a full sync is under way). A failure behind that poisons the store; the
  // next open goes on.
  virtual Result<Divergence> Rewind(const Position& common, uint64_t lost_max_bytes) = 0;
  // Positions that Rewind can start from, the newest first.
  virtual std::vector<Position> kept_checkpoints() const = 0;
  // Saves what a full sync is going to replace: everything behind `common`, or, without one, the
  // whole retained log. Refused as by Rewind. Waits.
  virtual Result<Divergence> SaveSuffix(const std::optional<Position>& common,
                                        uint64_t lost_max_bytes) = 0;
};

class ReadScope {
 public:
  virtual ~ReadScope() = default;
  virtual const table::Store& store() const = 0;
  virtual table::ReadPoint at() const = 0;
  virtual Position position() const = 0;  // for a view: the view's; else the visible one
};

}  // namespace gapless::engine
