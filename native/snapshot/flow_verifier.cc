// FlowVerifier: bytes in pieces of any size, judged as they come. One thread at a time.
//
// Keeps at most one unfinished unit (a chunk) and one cut key; values pass by.
#include <algorithm>

#include "snapshot/flow.h"
#include "snapshot/flow_decoder.h"

namespace gapless::snapshot {

class FlowVerifier::Impl {
 public:
  Impl(const FlowHeader& expected, const std::string& name) : decoder_(expected, name, false) {}

  Status Feed(Slice bytes) {
    if (!failed_.ok()) return failed_;
    failed_ = FeedAll(bytes);
    return failed_;
  }
  bool Complete() const { return failed_.ok() && decoder_.complete(); }
  const FlowDecoder& decoder() const { return decoder_; }

 private:
  Status FeedAll(Slice bytes) {
    while (!bytes.empty()) {
      if (decoder_.complete()) {
        return Damaged("footer", "bytes behind the end of the flow", decoder_.file(),
                       decoder_.verified_bytes());
      }
      const size_t take = std::min(decoder_.wanted() - pending_.size(), bytes.size());
      const Slice piece = bytes.Sub(0, take);
      bytes.RemovePrefix(take);
      if (pending_.empty() && take == decoder_.wanted()) {
        RETURN_IF_ERROR(Unit(piece));
        continue;
      }
      pending_.append(piece.data(), piece.size());
      if (pending_.size() < decoder_.wanted()) break;
      RETURN_IF_ERROR(Unit(pending_));
      pending_.clear();
    }
    return Status::Ok();
  }

  Status Unit(Slice bytes) {
    RETURN_IF_ERROR(decoder_.Step(bytes));
    table::Entry entry;
    while (true) {
      const Result<bool> more = decoder_.NextEntry(&entry);
      if (!more.ok()) return more.status();
      if (!more.value()) return Status::Ok();
    }
  }

  FlowDecoder decoder_;
  std::string pending_;  // less than one unit
  Status failed_;
};

FlowVerifier::FlowVerifier(const FlowHeader& expected, const std::string& name_in_errors)
    : impl_(std::make_unique<Impl>(expected, name_in_errors)) {}
FlowVerifier::~FlowVerifier() = default;
Status FlowVerifier::Feed(Slice bytes) { return impl_->Feed(bytes); }
bool FlowVerifier::Complete() const { return impl_->Complete(); }
uint64_t FlowVerifier::verified_bytes() const { return impl_->decoder().verified_bytes(); }
FlowSummary FlowVerifier::summary() const { return impl_->decoder().summary(); }

}  // namespace gapless::snapshot
