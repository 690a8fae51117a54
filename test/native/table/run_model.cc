// Comparing runs with the model.
#include "run_model.h"

#include <algorithm>

#include "base/hash.h"

namespace gapless::table {
namespace {

using Visible = std::vector<RunModel::Cells::const_iterator>;

std::string CompareWalks(CellIterator* it, const Visible& wanted) {
  size_t at = 0;
  for (it->SeekToFirst(); it->Valid(); it->Next(), ++at) {
    if (at == wanted.size()) return "forward, too many";
    if (!RunModel::Same(it->cell(), *wanted[at])) return "forward, " + std::to_string(at);
  }
  if (!it->status().ok()) return it->status().ToString();
  if (at != wanted.size()) return "forward ends early, " + std::to_string(at);
  for (it->SeekToLast(); it->Valid(); it->Prev()) {
    if (at == 0 || !RunModel::Same(it->cell(), *wanted[--at])) {
      return "backward, " + std::to_string(at);
    }
  }
  if (!it->status().ok()) return it->status().ToString();
  return at == 0 ? "" : "backward ends early, " + std::to_string(at);
}

// At wanted[at], which may be its size: invalid.
bool Stands(const CellIterator& it, const Visible& wanted, size_t at) {
  if (at >= wanted.size()) return !it.Valid() && it.status().ok();
  return it.Valid() && RunModel::Same(it.cell(), *wanted[at]);
}

// Seeks to `key` in both ways and goes a few steps both ways, turning.
std::string CompareSeeks(CellIterator* it, const Visible& wanted, const std::string& key) {
  const auto found = std::partition_point(wanted.begin(), wanted.end(), [&key](const auto& entry) {
    return Slice(entry->first.first).Compare(key) < 0;
  });
  const auto low = static_cast<size_t>(found - wanted.begin());
  it->Seek(key);
  for (size_t at = low; at < low + 3; ++at) {
    if (!Stands(*it, wanted, at)) return "Seek " + check::Quote(key);
    if (!it->Valid()) break;
    it->Next();
  }
  it->Seek(key);
  if (it->Valid() && low > 0) {
    it->Prev();
    if (!Stands(*it, wanted, low - 1)) return "Prev behind Seek " + check::Quote(key);
    it->Next();
    if (!Stands(*it, wanted, low)) return "Next behind Prev " + check::Quote(key);
  }
  const bool equal = low < wanted.size() && wanted[low]->first.first == key;
  const size_t behind = equal ? low + 1 : low;
  it->SeekForPrev(key);
  for (size_t at = behind; at + 3 > behind; --at) {
    if (!Stands(*it, wanted, at == 0 ? SIZE_MAX : at - 1))
      return "SeekForPrev " + check::Quote(key);
    if (!it->Valid()) break;
    it->Prev();
  }
  it->SeekForPrev(key);
  if (it->Valid()) {
    it->Next();
    if (!Stands(*it, wanted, behind)) return "Next behind SeekForPrev " + check::Quote(key);
  }
  return "";
}

// Keys at, before and behind `key`.
std::vector<std::string> Around(const std::string& key) {
  std::vector<std::string> keys = {key, key + '\0', key + '\xff'};
  if (!key.empty()) {
    keys.push_back(key.substr(0, key.size() - 1));
    std::string less = key;
    if (less.back() != 0) {
      less.back() = static_cast<char>(less.back() - 1);
      keys.push_back(less + '\xff');
    }
  }
  return keys;
}

std::string CompareGets(const Run& run, const RunModel& model, const std::string& key,
                        uint64_t at_seq) {
  Cell cell;
  const Result<Lookup> got = run.Get(HashKey(key), key, at_seq, &cell);
  if (!got.ok()) return got.ToString();
  const auto wanted = model.Get(key, at_seq);
  const bool there = wanted != model.cells.end();
  if ((got.value() == Lookup::kFound) != there) return "Get of " + check::Quote(key);
  if (there && !RunModel::Same(cell, *wanted)) return "Get's cell of " + check::Quote(key);
  return "";
}

std::string CompareStream(const std::shared_ptr<const Run>& run, const RunModel& model) {
  const std::unique_ptr<CellStream> stream = Run::NewStream(run);
  Cell cell;
  for (const auto& entry : model.cells) {
    const Result<bool> more = stream->Next(&cell);
    if (!more.ok()) return more.ToString();
    if (!more.value()) return "the stream ends early";
    if (!RunModel::Same(cell, entry)) return "the stream at " + check::Quote(entry.first.first);
  }
  const Result<bool> more = stream->Next(&cell);
  return more.ok() && !more.value() ? "" : "the stream does not end";
}

}  // namespace

std::string CompareRun(const std::shared_ptr<const Run>& run, const RunModel& model,
                       const std::vector<uint64_t>& at_seqs, uint64_t seek_every) {
  std::string said = CompareStream(run, model);
  for (const uint64_t at_seq : at_seqs) {
    const Visible wanted = model.At(at_seq);
    const std::unique_ptr<CellIterator> it = run->NewIterator(at_seq);
    if (said.empty()) said = CompareWalks(it.get(), wanted);
    uint64_t number = 0;
    for (const auto& entry : model.cells) {
      if (number++ % seek_every != 0) continue;
      for (const std::string& key : Around(entry.first.first)) {
        if (said.empty()) said = CompareSeeks(it.get(), wanted, key);
        if (said.empty()) said = CompareGets(*run, model, key, at_seq);
      }
    }
    if (!said.empty()) return said + " at " + std::to_string(at_seq);
  }
  const Result<std::vector<RunDamage>> damage = run->Verify();
  if (!damage.ok()) return damage.ToString();
  if (!damage.value().empty()) return "Verify says " + damage.value()[0].what;
  return "";
}

RunModel RandomRun(uint64_t seed, uint64_t keys, uint64_t versions) {
  Random random(seed);
  RunModel model;
  uint64_t seq = 0;
  std::vector<std::string> names;
  for (uint64_t i = 0; i < keys; ++i) {
    std::string key = random.Below(2) == 0 ? "user:000000:" : "";
    const uint64_t length = random.Below(12);
    for (uint64_t k = 0; k < length; ++k) {
      key += static_cast<char>(random.Below(4) == 0 ? random.Below(256) : 'a' + random.Below(3));
    }
    if (random.Below(50) == 0) key += std::string(random.Below(300), 'p');
    names.push_back(key);
  }
  for (uint64_t i = 0; i < keys * versions; ++i) {
    const std::string& key = names[random.Below(names.size())];
    seq += 1 + random.Below(3);
    if (random.Below(5) == 0) {
      model.Delete(key, seq);
      continue;
    }
    const uint64_t size = random.Below(20) == 0 ? random.Below(2000) : random.Below(40);
    const char fill = static_cast<char>(random.Next());
    model.Put(key, seq, std::string(size, fill), random.Below(4) == 0 ? 1 + random.Next() / 2 : 0);
  }
  return model;
}

}  // namespace gapless::table
