// Flows to runs: shard by shard where the flows are divided as this node's shards are, else all
// flows merged. See the header.
#include "engine/base_runs.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "base/hash.h"
#include "base/thread.h"
#include "io/file_names.h"
#include "table/shard_of.h"
#include "table/value_file.h"

namespace gapless::engine {
namespace {

constexpr size_t kThreadsMax = 4;

// One flow on its way through a reader.
class FlowInput {
 public:
  FlowInput(const BaseRunsRequest& request, size_t index)
      : expected_(request.token->flows[index]),
        path_(io::JoinPath(request.flows, io::FlowName(expected_.flow))) {}

  Status Open(const BaseRunsRequest& request) {
    Result<std::unique_ptr<snapshot::FlowReader>> reader = snapshot::OpenFlow(
        request.runs.fs, path_, snapshot::ExpectedHeader(*request.token, expected_.flow));
    if (!reader.ok()) return reader.status();
    reader_ = std::move(reader.value());
    return Next();
  }

  // Behind the last entry: counts are compared with what the token says.
  Status Next() {
    const Result<bool> more = reader_->Next(&entry_);
    if (!more.ok()) return more.status();
    valid_ = more.value();
    if (!valid_) return AtEnd();
    ++entries_;
    bytes_ += entry_.key.size() + entry_.value.size();
    return Status::Ok();
  }

  bool valid() const { return valid_; }
  const table::Entry& entry() const { return entry_; }
  const std::string& path() const { return path_; }

 private:
  Status AtEnd() const {
    if (entries_ == expected_.entries && bytes_ == expected_.bytes) return Status::Ok();
    return Status::Corrupt("the flow changed while it was read", path_, 0).With("what", "token");
  }

  const snapshot::FlowSummary expected_;
  const std::string path_;
  std::unique_ptr<snapshot::FlowReader> reader_;
  table::Entry entry_;
  bool valid_ = false;
  uint64_t entries_ = 0;
  uint64_t bytes_ = 0;
};

// The runs of one shard, one behind the other. One thread.
class ShardOutput {
 public:
  ShardOutput(const BaseRunsRequest& request, uint32_t shard) : request_(request), shard_(shard) {}

  Status Add(const table::Entry& entry) {
    if (writer_ == nullptr) {
      Result<std::unique_ptr<table::RunWriter>> writer =
          table::RunWriter::Create(request_.runs, request_.next_number(), shard_, kBaseLevel);
      if (!writer.ok()) return writer.status();
      writer_ = std::move(writer.value());
    }
    table::Cell cell;
    cell.key = entry.key;
    cell.value = entry.value;
    cell.seq = entry.seq;
    cell.expires_at_ms = entry.expires_at_ms;
    RETURN_IF_ERROR(writer_->Add(cell));
    const uint64_t bytes = writer_->bytes() + writer_->value_bytes();
    return bytes < request_.run_bytes ? Status::Ok() : Finish();
  }

  Status Finish() {
    if (writer_ == nullptr) return Status::Ok();
    const Result<table::RunInfo> info = writer_->Finish();
    writer_.reset();
    if (!info.ok()) return info.status();
    finished_.push_back(info.value());
    return Status::Ok();
  }

  // What cannot be removed goes with the directory that is being built.
  void Remove() {
    writer_.reset();
    for (const table::RunInfo& info : finished_) table::RemoveRunFiles(request_.runs, info);
    finished_.clear();
  }

  const std::vector<table::RunInfo>& finished() const { return finished_; }

 private:
  const BaseRunsRequest& request_;
  const uint32_t shard_;
  std::unique_ptr<table::RunWriter> writer_;
  std::vector<table::RunInfo> finished_;
};

class BaseRuns {
 public:
  explicit BaseRuns(const BaseRunsRequest& request) : request_(request) {
    for (uint32_t shard = 0; shard < request.shards; ++shard) outputs_.emplace_back(request, shard);
  }

  Result<std::vector<table::RunInfo>> Run() {
    bool divided = request_.token->flows.size() == request_.shards;
    Status written;
    if (divided) {
      written = CopyEach(&divided);
      if (written.ok() && !divided) Remove();
    }
    if (written.ok() && !divided) written = MergeAll();
    if (!written.ok()) {
      Remove();
      return written;
    }
    std::vector<table::RunInfo> runs;
    for (const ShardOutput& output : outputs_) {
      runs.insert(runs.end(), output.finished().begin(), output.finished().end());
    }
    return runs;
  }

 private:
  uint32_t ShardOf(Slice key) const { return table::ShardOfHash(HashKey(key), request_.shards); }

  void Remove() {
    for (ShardOutput& output : outputs_) output.Remove();
  }

  // Flow i holds shard i. *divided becomes false if it does not.
  Status CopyEach(bool* divided) {
    const size_t flows = request_.token->flows.size();
    std::atomic<size_t> next{0};
    std::atomic<bool> as_ours{true};
    std::vector<Status> outcomes(flows);
    const auto copy = [&] {
      for (size_t i = next.fetch_add(1); i < flows && as_ours; i = next.fetch_add(1)) {
        outcomes[i] = CopyFlow(static_cast<uint32_t>(i), &as_ours);
        // What is left would be thrown away.
        if (!outcomes[i].ok()) next.store(flows);
      }
    };
    std::vector<std::unique_ptr<Thread>> threads;
    for (size_t i = 1; i < std::min(flows, kThreadsMax); ++i) {
      auto thread = std::make_unique<Thread>();
      // Without a further thread the ones that run do its work.
      if (!thread->Start("gapless-base", copy).ok()) break;
      threads.push_back(std::move(thread));
    }
    copy();
    for (const std::unique_ptr<Thread>& thread : threads) thread->Join();
    for (const Status& outcome : outcomes) RETURN_IF_ERROR(outcome);
    *divided = as_ours;
    return Status::Ok();
  }

  Status CopyFlow(uint32_t index, std::atomic<bool>* as_ours) {
    FlowInput input(request_, index);
    RETURN_IF_ERROR(input.Open(request_));
    ShardOutput& output = outputs_[index];
    while (input.valid() && *as_ours) {
      if (ShardOf(input.entry().key) != index) {
        as_ours->store(false);
        return Status::Ok();
      }
      RETURN_IF_ERROR(output.Add(input.entry()));
      RETURN_IF_ERROR(input.Next());
    }
    return output.Finish();
  }

  Status MergeAll() {
    std::vector<std::unique_ptr<FlowInput>> inputs;
    for (size_t i = 0; i < request_.token->flows.size(); ++i) {
      inputs.push_back(std::make_unique<FlowInput>(request_, i));
      RETURN_IF_ERROR(inputs.back()->Open(request_));
      if (!inputs.back()->valid()) inputs.pop_back();
    }
    const auto later = [](const auto& left, const auto& right) {
      return left->entry().key.Compare(right->entry().key) > 0;
    };
    std::make_heap(inputs.begin(), inputs.end(), later);
    std::string last;
    bool begun = false;
    while (!inputs.empty()) {
      std::pop_heap(inputs.begin(), inputs.end(), later);
      FlowInput& input = *inputs.back();
      const table::Entry& entry = input.entry();
      if (begun && entry.key == Slice(last)) {
        return Status::Corrupt("two flows hold the same key", input.path(), 0)
            .With("what", "order");
      }
      last.assign(entry.key.data(), entry.key.size());
      begun = true;
      RETURN_IF_ERROR(outputs_[ShardOf(entry.key)].Add(entry));
      RETURN_IF_ERROR(input.Next());
      if (input.valid()) {
        std::push_heap(inputs.begin(), inputs.end(), later);
      } else {
        inputs.pop_back();
      }
    }
    for (ShardOutput& output : outputs_) RETURN_IF_ERROR(output.Finish());
    return Status::Ok();
  }

  const BaseRunsRequest& request_;
  std::vector<ShardOutput> outputs_;
};

}  // namespace

Result<std::vector<table::RunInfo>> WriteBaseRuns(const BaseRunsRequest& request) {
  return BaseRuns(request).Run();
}

}  // namespace gapless::engine
