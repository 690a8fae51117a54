// EngineImpl: the step from one generation to another, at the end of a full sync.
#include <algorithm>
#include <memory>

#include "engine/current.h"
#include "engine/engine_impl.h"
#include "engine/generation_builder.h"

namespace gapless::engine {

// *named: CURRENT names `next`, or may do so on disk; then its files must stay.
Status EngineImpl::SwitchGeneration(std::shared_ptr<Generation> next, const Counters& spilled,
                                    bool* named) {
  const MutexLock terms(&terms_mutex_);
  const uint64_t left = Live()->number();
  {
    const MutexLock lock(&commit_mutex_);
    if (closing_ || closed_) return Status::Error(Code::kClosed, "the store is closed");
    if (poisoned_) return stop_status_;
    if (role_ != Role::kReplica) {
      return Status::Error(Code::kAlreadyPrimary, "this node became a primary");
    }
  }
  const uint64_t left_mark = DurableMarkOf(state_file_->state(), left);
  const log::MetaState& lists = next->history.lists();
  const uint32_t last_term = lists.epochs.empty() ? 0 : lists.epochs.back().epoch.term;
  const auto back = [left, left_mark](NodeState* state) {
    state->intent = Intent::kNone;
    state->intent_common = Position{};
    state->durable_mark = left_mark;
    state->generation = left;
  };
  RETURN_IF_ERROR(ChangeState([&](NodeState* state) {
    state->highest_term = std::max(state->highest_term, last_term);
    state->intent = Intent::kSwitch;
    state->intent_common = Position{{}, left, left_mark, 0};
    state->durable_mark = next->head.offset;
    state->generation = next->number();
  }));
  *named = true;
  const Status published = PublishCurrent(options_.fs, path_, next->number());
  if (!published.ok()) {
    const Result<uint64_t> shown = ReadCurrent(options_.fs, path_);
    const bool never = shown.ok() && shown.value() == left;
    *named = !never && !PublishCurrent(options_.fs, path_, left).ok();
    // If this fails too, the next open settles it.
    if (!*named) (void)ChangeState(back);
    return published;
  }
  // From here on the new generation is the store, whatever fails: what is left of the intent is
  // settled at the next open.
  const uint64_t end = next->head.offset;
  (void)ChangeState([end](NodeState* state) {
    state->intent = Intent::kNone;
    state->intent_common = Position{};
    state->incomplete = false;
    state->padded.clear();
    if (state->former_mark <= end) state->former_mark = 0;
  });
  {
    const MutexLock lock(&commit_mutex_);
    complete_ = true;
    counters_.applied_records += spilled.applied_records;
    counters_.applied_operations += spilled.applied_operations;
  }
  InstallGeneration(std::move(next));
  return Status::Ok();
}

}  // namespace gapless::engine
