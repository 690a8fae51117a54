// What the engine's tests share: batch bodies, a store on the fault file system with fake time, a
// client that collects completions, and the digest of a store.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/coding.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "check.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "io/fake_clock.h"
#include "io/fault_file_system.h"
#include "table/value_file.h"

namespace gapless::engine::test {

inline constexpr uint64_t kLong = 30000;

// Encodes operations as callers do.
class Ops {
 public:
  Ops& Put(const std::string& key, const std::string& value, uint64_t expires_at_ms = 0) {
    return Add(1, expires_at_ms != 0 ? 1 : 0, key, value, expires_at_ms);
  }
  Ops& Del(const std::string& key) { return Add(2, 0, key, "", 0); }
  Ops& DelRange(const std::string& from, const std::string& to) { return Add(3, 0, from, to, 0); }
  Ops& DelFrom(const std::string& from) { return Add(3, 2, from, "", 0); }
  Ops& Increment(const std::string& key, int64_t by) {
    std::string value;
    AppendLe<int64_t>(&value, by);
    return Add(4, 0, key, value, 0);
  }
  Ops& Check(const std::string& key, Epoch epoch, uint64_t seq) {
    return AddCheck(key, false, epoch, seq);
  }
  Ops& CheckAbsent(const std::string& key) { return AddCheck(key, true, Epoch{}, 0); }
  WriteRequest Request() const {
    WriteRequest request;
    request.body = body_;
    request.checks = checks_;
    request.operations = count_;
    return request;
  }
  const std::string& body() const { return body_; }

 private:
  Ops& Add(uint8_t op, uint8_t flags, const std::string& key, const std::string& value,
           uint64_t expires) {
    body_.push_back(static_cast<char>(op));
    body_.push_back(static_cast<char>(flags));
    AppendLe<uint16_t>(&body_, static_cast<uint16_t>(key.size()));
    AppendLe<uint32_t>(&body_, static_cast<uint32_t>(value.size()));
    if (expires != 0) AppendLe<uint64_t>(&body_, expires);
    body_ += key + value;
    ++count_;
    return *this;
  }
  Ops& AddCheck(const std::string& key, bool absent, Epoch epoch, uint64_t seq) {
    AppendLe<uint16_t>(&checks_, static_cast<uint16_t>(key.size()));
    checks_.push_back(absent ? 1 : 0);
    checks_.push_back(0);
    AppendLe<uint32_t>(&checks_, epoch.term);
    AppendLe<uint32_t>(&checks_, epoch.run);
    AppendLe<uint64_t>(&checks_, seq);
    checks_ += key;
    return *this;
  }
  std::string body_;
  std::string checks_;
  uint32_t count_ = 0;
};

class Client final : public EngineClient {
 public:
  void Wake() override {
    const MutexLock lock(&mutex_);
    ++wakes_;
    woken_.NotifyAll();
  }
  // Waits for the completion of a queued commit.
  Completion Await(Engine* engine, uint64_t ticket) {
    while (true) {
      for (Completion& completion : engine->TakeCompletions(this)) {
        const uint64_t id = completion.ticket;
        done_[id] = std::move(completion);
      }
      const auto at = done_.find(ticket);
      if (at != done_.end()) {
        Completion completion = std::move(at->second);
        done_.erase(at);
        return completion;
      }
      const MutexLock lock(&mutex_);
      woken_.WaitFor(&mutex_, 2000);
    }
  }
  uint64_t wakes() {
    const MutexLock lock(&mutex_);
    return wakes_;
  }

 private:
  Mutex mutex_;
  CondVar woken_;
  uint64_t wakes_ = 0;
  std::map<uint64_t, Completion> done_;
};

inline Options SmallOptions(io::FileSystem* fs, io::Clock* clock, io::Random* random) {
  Options options;
  options.fs = fs;
  options.clock = clock;
  options.random = random;
  options.shards = 2;
  options.segment_bytes = 64 * 1024;
  return options;
}

// Submits and waits for the turn of the commit, not for the disk.
inline Result<Commit> CommitOf(Engine* engine, Client* client, const Ops& ops) {
  Submitted submitted = engine->Submit(client, ops.Request(), true);
  if (submitted.state == Submitted::State::kFailed) return submitted.status;
  if (submitted.state == Submitted::State::kSequenced) return submitted.commit;
  Completion completion = client->Await(engine, submitted.ticket);
  if (!completion.status.ok()) return completion.status;
  return completion.commit;
}

// Waits until it is durable, too.
inline Result<Commit> SyncCommit(Engine* engine, Client* client, const Ops& ops) {
  Result<Commit> commit = CommitOf(engine, client, ops);
  if (!commit.ok()) return commit;
  // The fake clock stands still: no interval of a weaker store would pass.
  if (engine->options().durability != log::Durability::kSync) {
    RETURN_IF_ERROR(engine->SyncTo(commit.value().position.offset, kLong));
  }
  RETURN_IF_ERROR(engine->WaitFor(commit.value().position, log::Durability::kSync, kLong));
  return commit;
}

inline std::optional<std::string> TextOf(const table::Entry& entry) {
  std::string held;
  Slice value;
  if (!table::LoadValue(entry, &held, &value).ok()) return std::nullopt;
  return value.ToString();
}

inline std::optional<std::string> GetValue(Engine* engine, const std::string& key) {
  const std::unique_ptr<ReadScope> scope = engine->Read();
  table::Entry entry;
  const Result<bool> found = scope->store().Get(key, scope->at(), &entry);
  if (!found.ok() || !found.value()) return std::nullopt;
  return TextOf(entry);
}

inline std::optional<std::string> ViewValue(Engine* engine, ViewId view, const std::string& key) {
  Result<std::unique_ptr<ReadScope>> scope = engine->ReadView(view);
  if (!scope.ok()) return std::nullopt;
  table::Entry entry;
  const Result<bool> found = scope.value()->store().Get(key, scope.value()->at(), &entry);
  if (!found.ok() || !found.value()) return std::nullopt;
  return TextOf(entry);
}

inline uint64_t SeqOf(Engine* engine, const std::string& key) {
  const std::unique_ptr<ReadScope> scope = engine->Read();
  table::Entry entry;
  const Result<bool> found = scope->store().Get(key, scope->at(), &entry);
  return found.ok() && found.value() ? entry.seq : 0;
}

using Model = std::map<std::string, std::string>;

inline DigestSum DigestOfModel(const Model& model) {
  DigestSum sum;
  for (const auto& [key, value] : model) sum.Add(DigestEntry(key, value));
  return sum;
}

inline DigestSum DigestOf(Engine* engine) {
  const ViewInfo view = engine->OpenView();
  DigestSum sum;
  {
    Result<std::unique_ptr<ReadScope>> scope = engine->ReadView(view.id);
    if (!scope.ok()) return sum;
    for (uint32_t shard = 0; shard < scope.value()->store().shards(); ++shard) {
      const auto part = scope.value()->store().DigestShard(shard, scope.value()->at());
      if (part.ok()) sum.Add(part.value().sum);
    }
  }
  engine->ReleaseView(view.id);
  return sum;
}

inline bool SameDigest(const DigestSum& a, const DigestSum& b) {
  return a.low == b.low && a.high == b.high;
}

inline std::string DetailOf(const Status& status, const std::string& name) {
  for (const Detail& detail : status.details()) {
    if (detail.name == name) {
      return detail.is_number ? std::to_string(detail.number) : detail.text;
    }
  }
  return "(none)";
}

// A store on a fault file system; opens and closes as often as a test wants.
struct Bench {
  io::FaultFileSystem fs;
  io::FakeClock clock;
  io::FakeRandom random{7};
  Options options = SmallOptions(&fs, &clock, &random);
  Client client;
  std::shared_ptr<Engine> engine;

  Status Open() {
    Result<std::shared_ptr<Engine>> opened = Engine::Open("/db", options);
    if (!opened.ok()) return opened.status();
    engine = opened.value();
    engine->AddClient(&client);
    return Status::Ok();
  }
  Status Close() {
    if (engine == nullptr) return Status::Ok();
    engine->RemoveClient(&client);
    const Status closed = engine->Release();
    engine.reset();
    return closed;
  }
  Status Reopen() {
    RETURN_IF_ERROR(Close());
    return Open();
  }
  ~Bench() { (void)Close(); }

  Result<Commit> Commit1(const Ops& ops) { return CommitOf(engine.get(), &client, ops); }
  Result<Commit> Sync1(const Ops& ops) { return SyncCommit(engine.get(), &client, ops); }
  std::optional<std::string> Get(const std::string& key) { return GetValue(engine.get(), key); }
};

}  // namespace gapless::engine::test
