// Runs that are nothing but their info, for tests of the tree and of the picker.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "table/run_tree.h"

namespace gapless::table {

class FakeRun final : public Run {
 public:
  explicit FakeRun(RunInfo info) : info_(std::move(info)) {}

  const RunInfo& info() const override { return info_; }
  const std::string& path() const override { return path_; }
  const RangeSet* ranges() const override { return nullptr; }
  uint64_t memory_bytes() const override { return 0; }
  Result<Lookup> Get(uint64_t, Slice, uint64_t, Cell*) const override { return Lookup::kAbsent; }
  std::unique_ptr<CellIterator> NewIterator(uint64_t) const override { return nullptr; }
  Result<std::vector<RunDamage>> Verify() const override { return std::vector<RunDamage>(); }

 private:
  const RunInfo info_;
  const std::string path_;
};

// A run over [lower, upper) of one byte a cell; `upper` empty: unbounded.
inline RunInfo FakeInfo(uint64_t number, uint32_t level, const std::string& lower,
                        const std::string& upper, uint64_t bytes) {
  RunInfo info;
  info.number = number;
  info.level = level;
  info.bytes = bytes;
  info.cells = bytes;
  info.min_seq = number * 100;
  info.max_seq = number * 100 + 99;
  info.extent = {lower, upper, upper.empty()};
  return info;
}

inline std::shared_ptr<const Run> MakeFake(RunInfo info) {
  return std::make_shared<FakeRun>(std::move(info));
}

}  // namespace gapless::table
