// A store kept in a std::map of all versions, to compare the real one with, and small helpers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "table/store.h"

namespace gapless::table {

// xorshift: the tests name their seeds.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d;
  }
  uint64_t Below(uint64_t limit) { return (Next() >> 11) % limit; }

 private:
  uint64_t state_;
};

// Keys of many shapes: empty, shared prefixes of all lengths, bytes of zero, long.
inline std::string KeyOf(uint64_t number, int shape) {
  char text[64];
  switch (shape) {
    case 0:
      std::snprintf(text, sizeof text, "%016llu", static_cast<unsigned long long>(number));
      return text;
    case 1:
      return std::string(number % 40, 'a') + std::string(number / 40 % 4, '\0');
    case 2:
      std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(number * 7919));
      return std::string(50, 'p') + text;
    default: {
      uint64_t mixed = number * 0x9e3779b97f4a7c15;
      return std::string(reinterpret_cast<const char*>(&mixed), 8);
    }
  }
}

inline Mutation PutOf(Slice key, Slice value, uint64_t seq, uint64_t expires_at_ms = 0) {
  Mutation mutation;
  mutation.key = key;
  mutation.value = value;
  mutation.seq = seq;
  mutation.expires_at_ms = expires_at_ms;
  return mutation;
}
inline Mutation DelOf(Slice key, uint64_t seq) {
  Mutation mutation;
  mutation.kind = MutationKind::kDel;
  mutation.key = key;
  mutation.seq = seq;
  return mutation;
}
inline Mutation DelRangeOf(Slice lower, Slice upper, uint64_t seq, bool unbounded = false) {
  Mutation mutation;
  mutation.kind = MutationKind::kDelRange;
  mutation.key = lower;
  mutation.value = upper;
  mutation.seq = seq;
  mutation.unbounded = unbounded;
  return mutation;
}

struct ModelEntry {
  std::string value;
  uint64_t seq = 0;
  uint64_t expires = 0;
  bool deleted = false;
};
using ModelState = std::vector<std::pair<std::string, ModelEntry>>;

class Model {
 public:
  void Apply(const Mutation& mutation) {
    const std::string key = mutation.key.ToString();
    if (mutation.kind == MutationKind::kPut) {
      const std::string value = mutation.value.ToString();
      keys_[key].push_back({value, mutation.seq, mutation.expires_at_ms, false});
    } else if (mutation.kind == MutationKind::kDel) {
      keys_[key].push_back({"", mutation.seq, 0, true});
    } else {
      const std::string upper = mutation.value.ToString();
      for (auto& [name, versions] : keys_) {
        if (name < key || (!mutation.unbounded && name >= upper)) continue;
        versions.push_back({"", mutation.seq, 0, true});
      }
    }
  }

  std::optional<ModelEntry> Get(const std::string& key, const ReadPoint& at) const {
    const auto found = keys_.find(key);
    if (found == keys_.end()) return std::nullopt;
    return Live(found->second, at);
  }

  // All live entries in order.
  ModelState Scan(const ReadPoint& at) const {
    ModelState state;
    for (const auto& [key, versions] : keys_) {
      if (const auto live = Live(versions, at)) state.emplace_back(key, *live);
    }
    return state;
  }

 private:
  static std::optional<ModelEntry> Live(const std::vector<ModelEntry>& versions,
                                        const ReadPoint& at) {
    for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
      if (it->seq > at.seq) continue;
      const bool expired = it->expires != 0 && it->expires <= at.as_of_ms;
      if (it->deleted || expired) return std::nullopt;
      return *it;
    }
    return std::nullopt;
  }

  std::map<std::string, std::vector<ModelEntry>> keys_;
};

inline bool SameEntry(const Entry& entry, const std::pair<std::string, ModelEntry>& wanted) {
  return entry.key == Slice(wanted.first) && entry.value == Slice(wanted.second.value) &&
         entry.seq == wanted.second.seq && entry.expires_at_ms == wanted.second.expires;
}

// "" when the iterator gives exactly `wanted`, forward and backward; else what differs.
inline std::string CompareScan(Iterator* iterator, const ModelState& wanted) {
  size_t at = 0;
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next(), at++) {
    if (at == wanted.size()) return "one entry too many: " + iterator->entry().key.ToString();
    if (!SameEntry(iterator->entry(), wanted[at])) {
      return "entry " + std::to_string(at) + " is " + iterator->entry().key.ToString() + ", not " +
             wanted[at].first;
    }
  }
  if (at != wanted.size()) return "missing from " + wanted[at].first + " on";
  for (iterator->SeekToLast(); iterator->Valid(); iterator->Prev()) {
    if (at == 0) return "backward: one entry too many";
    if (!SameEntry(iterator->entry(), wanted[--at])) return "backward at " + wanted[at].first;
  }
  if (at != 0) return "backward: missing before " + wanted[at].first;
  return "";
}

// Get, where an error is a failure.
inline bool Found(const Store& store, Slice key, const ReadPoint& at, Entry* entry) {
  const Result<bool> found = store.Get(key, at, entry);
  CHECK_OK(found);
  return found.ok() && found.value();
}

inline std::string GetValue(const Store& store, Slice key, const ReadPoint& at) {
  const ReadGuard guard(&store);
  Entry entry;
  return Found(store, key, at, &entry) ? entry.value.ToString() : "(absent)";
}
inline std::string GetValue(const Store& store, Slice key) {
  return GetValue(store, key, ReadPoint{store.visible_seq(), 0});
}

// All upkeep that is due now.
inline void PurgeAll(Store* store) {
  for (uint32_t shard = 0; shard < store->shards(); shard++) {
    for (int round = 0; round < 4; round++) {  // the floor rises between
      while (store->Purge(shard, 1000)) {
      }
    }
  }
}

}  // namespace gapless::table
