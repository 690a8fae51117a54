// Runs for tests: a table as a sorted map of all versions, written as a run and compared with it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "io/fault_file_system.h"
#include "io/file_names.h"
#include "model.h"
#include "table/read_gate.h"
#include "table/run.h"
#include "table/value_file.h"

namespace gapless::table {

// Gives the tests what Store gives: a gate, a cache, a guard held for as long as it lives.
class RunPlace {
 public:
  explicit RunPlace(io::FileSystem* fs, std::string directory, uint64_t cache_bytes = 8 << 20)
      : cache(&gate, cache_bytes) {
    options.fs = fs;
    options.directory = std::move(directory);
    options.cluster.fill(0xC7);
    options.block_bytes = 512;
    slot_ = gate.Enter(&visible_);
  }
  ~RunPlace() { gate.Leave(slot_); }
  RunPlace(const RunPlace&) = delete;
  RunPlace& operator=(const RunPlace&) = delete;

  ReadGate gate;
  BlockCache cache;
  RunOptions options;

 private:
  uint32_t slot_ = 0;
  uint64_t visible_ = 0;
};

struct RunVersion {
  std::string value;
  uint64_t expires = 0;
  bool deleted = false;
};

// Keys ascend, sequences of one key fall.
class RunModel {
 public:
  struct Order {
    bool operator()(const std::pair<std::string, uint64_t>& a,
                    const std::pair<std::string, uint64_t>& b) const {
      const int order = Slice(a.first).Compare(Slice(b.first));
      return order != 0 ? order < 0 : a.second > b.second;
    }
  };
  using Cells = std::map<std::pair<std::string, uint64_t>, RunVersion, Order>;

  Cells cells;
  std::vector<RangeFragment> ranges;

  void Put(const std::string& key, uint64_t seq, std::string value, uint64_t expires = 0) {
    cells[{key, seq}] = RunVersion{std::move(value), expires, false};
  }
  void Delete(const std::string& key, uint64_t seq) { cells[{key, seq}] = RunVersion{"", 0, true}; }

  static Cell CellOf(const Cells::value_type& entry) {
    Cell cell;
    cell.key = entry.first.first;
    cell.value = entry.second.value;
    cell.seq = entry.first.second;
    cell.expires_at_ms = entry.second.expires;
    cell.deleted = entry.second.deleted;
    return cell;
  }
  static bool Same(const Cell& cell, const Cells::value_type& entry) {
    const Cell wanted = CellOf(entry);
    std::string held;
    Slice value;
    if (!LoadValue(cell, &held, &value).ok()) return false;
    return cell.key == wanted.key && value == wanted.value && cell.seq == wanted.seq &&
           cell.expires_at_ms == wanted.expires_at_ms && cell.deleted == wanted.deleted;
  }

  // What an iterator at `at_seq` gives.
  std::vector<Cells::const_iterator> At(uint64_t at_seq) const {
    std::vector<Cells::const_iterator> found;
    for (auto it = cells.begin(); it != cells.end(); ++it) {
      if (it->first.second > at_seq) continue;
      if (!found.empty() && found.back()->first.first == it->first.first) continue;
      found.push_back(it);
    }
    return found;
  }
  // The newest at or below `at_seq`, or end().
  Cells::const_iterator Get(const std::string& key, uint64_t at_seq) const {
    const auto found = cells.lower_bound({key, at_seq});
    return found != cells.end() && found->first.first == key ? found : cells.end();
  }

  Result<RunInfo> Write(const RunOptions& options, uint64_t number, uint32_t shard = 1) const {
    Result<std::unique_ptr<RunWriter>> writer = RunWriter::Create(options, number, shard, 0);
    if (!writer.ok()) return writer.status();
    for (const RangeFragment& range : ranges) RETURN_IF_ERROR(writer.value()->AddRange(range));
    for (const auto& entry : cells) RETURN_IF_ERROR(writer.value()->Add(CellOf(entry)));
    return writer.value()->Finish();
  }
};

// "" if the run holds exactly the model's cells, by every way of reading; else what differs.
std::string CompareRun(const std::shared_ptr<const Run>& run, const RunModel& model,
                       const std::vector<uint64_t>& at_seqs, uint64_t seek_every = 1);

// Random tables: `keys` keys of which some share long prefixes, with `versions` on average.
RunModel RandomRun(uint64_t seed, uint64_t keys, uint64_t versions);

}  // namespace gapless::table
