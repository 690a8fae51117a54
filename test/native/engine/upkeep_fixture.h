// A store with memtables so small that flushing and merging happen all the time.
#pragma once

#include <algorithm>

#include "engine_fixture.h"

namespace gapless::engine::test {

inline constexpr uint64_t kTinyMemtable = 256 << 10;

inline void MakeTiny(Options* options) {
  options->memtable_bytes = kTinyMemtable;
  options->cache_bytes = 64 << 10;
  options->segment_bytes = 64 << 10;
  options->log_retain_bytes = 0;
}

struct UpkeepBench : Bench {
  UpkeepBench() { MakeTiny(&options); }

  StoreReport Report() { return engine->store_report(); }

  // Until `done` or for half a minute.
  bool Eventually(const std::function<bool()>& done) {
    Mutex mutex;
    CondVar pause;
    for (int i = 0; i < 15000; ++i) {
      if (done()) return true;
      const MutexLock lock(&mutex);
      pause.WaitFor(&mutex, 2000);
    }
    return done();
  }
};

inline std::string KeyOf(uint64_t i) {
  std::string digits = std::to_string(i);
  return "key" + std::string(8 - std::min<size_t>(8, digits.size()), '0') + digits;
}

inline std::string ValueOf(uint64_t i, uint64_t round, size_t size = 200) {
  std::string value = std::to_string(i) + ":" + std::to_string(round) + ":";
  value.resize(size, static_cast<char>('a' + (i + round) % 26));
  return value;
}

// Writes `count` keys from `from` on, some a batch, and the model with them.
inline Status WriteKeys(Bench* bench, Model* model, uint64_t from, uint64_t count, uint64_t round,
                        size_t size = 200) {
  constexpr uint64_t kBatch = 20;
  for (uint64_t i = from; i < from + count; i += kBatch) {
    Ops ops;
    for (uint64_t k = i; k < std::min(i + kBatch, from + count); ++k) {
      ops.Put(KeyOf(k), ValueOf(k, round, size));
      (*model)[KeyOf(k)] = ValueOf(k, round, size);
    }
    const Result<Commit> commit = bench->Commit1(ops);
    if (!commit.ok()) return commit.status();
  }
  return Status::Ok();
}

inline bool SameAsModel(Engine* engine, const Model& model) {
  return SameDigest(DigestOf(engine), DigestOfModel(model));
}

}  // namespace gapless::engine::test
