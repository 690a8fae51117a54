// History and the generation's life.
#include "engine/generation.h"

#include <algorithm>
#include <atomic>

#include "engine/upkeep.h"

namespace gapless::engine {
namespace {

uint64_t NextId() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1) + 1;
}

}  // namespace

log::MetaState History::Snapshot::ToMeta() const {
  log::MetaState meta = *lists;
  meta.position = position;
  meta.clock = clock;
  return meta;
}

void History::Reset(log::MetaState meta) {
  position_ = meta.position;
  clock_ = meta.clock;
  lists_ = std::make_shared<log::MetaState>(std::move(meta));
}

void History::Advance(const log::RecordView& record, const Position& before,
                      const Position& after) {
  position_ = after;
  clock_ = record.header.timestamp;
  if (record.header.kind == log::RecordKind::kBatch) return;
  auto changed = std::make_shared<log::MetaState>(*lists_);
  changed->Advance(record, before, after);
  lists_ = std::move(changed);
}

Epoch EpochOfSeq(const log::MetaState& lists, uint64_t seq) {
  const auto behind =
      std::lower_bound(lists.epochs.begin(), lists.epochs.end(), seq,
                       [](const EpochEntry& entry, uint64_t s) { return entry.before.seq < s; });
  if (behind != lists.epochs.begin()) return std::prev(behind)->epoch;
  return lists.epochs.empty() ? Epoch{} : lists.epochs.front().epoch;
}

Generation::Generation(uint64_t number, std::string path, const table::StoreOptions& options)
    : store(options), id_(NextId()), number_(number), path_(std::move(path)) {}

// The threads first: what works on runs needs the log, and its flusher calls back until it is
// joined, and needs what is declared behind it.
Generation::~Generation() {
  upkeep.reset();
  log.reset();
}

void Generation::Attach(GenerationOwner* owner) {
  const MutexLock lock(&owner_mutex_);
  owner_ = owner;
  if (!poison_.ok()) owner_->OnLogPoisoned(this, poison_);
}

void Generation::Detach() {
  const MutexLock lock(&owner_mutex_);
  owner_ = nullptr;
}

void Generation::OnProgress(const log::LogProgress&) {
  const MutexLock lock(&owner_mutex_);
  if (owner_ != nullptr) owner_->OnLogProgress();
}

void Generation::OnRoom() {
  const MutexLock lock(&owner_mutex_);
  if (owner_ != nullptr) owner_->OnLogRoom();
}

void Generation::OnNoSpace(const Status& why) {
  const MutexLock lock(&owner_mutex_);
  if (owner_ != nullptr) owner_->OnLogNoSpace(why);
}

void Generation::OnSpaceBack() {
  const MutexLock lock(&owner_mutex_);
  if (owner_ != nullptr) owner_->OnLogSpaceBack();
}

void Generation::OnPoisoned(const Status& why) {
  const MutexLock lock(&owner_mutex_);
  poison_ = why;
  if (owner_ != nullptr) owner_->OnLogPoisoned(this, why);
}

}  // namespace gapless::engine
