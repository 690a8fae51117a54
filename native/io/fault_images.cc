// What survives a crash of a FaultFileSystem, and damage done to it by hand.
#include <algorithm>

#include "base/random.h"
#include "io/fault_file_system.h"

namespace gapless::io {

using fault::Change;
using fault::ChangeKind;
using fault::Node;
using fault::NodePtr;

namespace {

std::string Describe(const Change& change) {
  const std::string file = "file " + std::to_string(change.node->id);
  switch (change.kind) {
    case ChangeKind::kPage:
      return "page " + std::to_string(change.page) + " of " + file;
    case ChangeKind::kSize:
      return "size " + std::to_string(change.size) + " of " + file;
    case ChangeKind::kEntry:
      if (change.to == nullptr) return "removal of " + change.from_name;
      if (change.from == nullptr) return "creation of " + change.to_name;
      return "rename of " + change.from_name + " to " + change.to_name;
  }
  return "";
}

uint64_t CountPages(const Node& node) {
  uint64_t pages = node.used_pages;
  for (const auto& [name, child] : node.entries) pages += CountPages(*child);
  return pages;
}

void ListInto(const Node& node, const std::string& path, std::vector<std::string>* paths) {
  for (const auto& [name, child] : node.entries) {
    const std::string at = path + "/" + name;
    paths->push_back(child->directory ? at + "/" : at);
    if (child->directory) ListInto(*child, at, paths);
  }
}

// A mask that is neither 0 nor 255.
uint8_t TornMask(SeededRandom* random) { return static_cast<uint8_t>(1 + random->Below(254)); }

uint8_t RandomMask(SeededRandom* random, uint64_t keep_of_8) {
  if (random->OneIn(4)) return TornMask(random);
  return random->Below(8) < keep_of_8 ? fault::kAllSectors : 0;
}

// One of several kinds of crash, so that rare shapes (a clean prefix, a single hole) do occur.
std::vector<uint8_t> ChooseBySeed(size_t count, uint64_t seed) {
  SeededRandom random(seed);
  std::vector<uint8_t> kept(count, 0);
  if (count == 0) return kept;
  const uint64_t shape = random.Below(5);
  const uint64_t keep_of_8 = shape == 0 ? 4 : 1 + random.Below(7);
  const size_t chosen = static_cast<size_t>(random.Below(count));
  for (size_t i = 0; i < count; i++) {
    switch (shape) {
      case 2:  // in order up to one torn change
        kept[i] = i < chosen ? fault::kAllSectors : (i == chosen ? TornMask(&random) : 0);
        break;
      case 3:  // all but one
        kept[i] = i == chosen ? 0 : fault::kAllSectors;
        break;
      case 4:  // nothing but one
        kept[i] = i == chosen ? fault::kAllSectors : 0;
        break;
      default:
        kept[i] = RandomMask(&random, keep_of_8);
    }
  }
  return kept;
}

}  // namespace

std::vector<size_t> FaultFileSystem::ReachableChanges() const {
  const std::set<const Node*> reachable = fault::Reachable(root_, changes_);
  std::vector<size_t> found;
  for (size_t i = 0; i < changes_.size(); i++) {
    const Change& change = changes_[i];
    const bool entry = change.kind == ChangeKind::kEntry;
    const bool counts =
        entry ? reachable.count(change.to.get()) + reachable.count(change.from.get()) != 0
              : reachable.count(change.node.get()) != 0;
    if (counts) found.push_back(i);
  }
  return found;
}

std::vector<ChoicePoint> FaultFileSystem::Choices() const {
  const MutexLock lock(&mutex_);
  std::vector<ChoicePoint> points;
  for (const size_t i : ReachableChanges()) {
    points.push_back({changes_[i].kind, changes_[i].operation, Describe(changes_[i])});
  }
  return points;
}

size_t FaultFileSystem::ChoiceCount() const {
  const MutexLock lock(&mutex_);
  return ReachableChanges().size();
}

void FaultFileSystem::Adopt(NodePtr root, fault::Changes changes, uint64_t next_id,
                            uint64_t operations) {
  const MutexLock lock(&mutex_);
  root_ = std::move(root);
  changes_ = std::move(changes);
  next_id_ = next_id;
  operations_ = operations;
  used_pages_ = CountPages(*root_);
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::ImageOf(const Chooser& choose) const {
  const MutexLock lock(&mutex_);
  const std::vector<size_t> reachable = ReachableChanges();
  const std::vector<uint8_t> kept = choose(reachable.size());
  GAPLESS_ASSERT(kept.size() == reachable.size());
  std::vector<uint8_t> kept_of_all(changes_.size(), 0);
  for (size_t i = 0; i < reachable.size(); i++) kept_of_all[reachable[i]] = kept[i];
  auto image = std::make_unique<FaultFileSystem>();
  image->Adopt(fault::BuildImage(root_, changes_, kept_of_all), {}, next_id_, 0);
  return image;
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::Image(const std::vector<uint8_t>& kept) const {
  return ImageOf([&kept](size_t) { return kept; });
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::ImageOfBits(uint64_t bits) const {
  return ImageOf([bits](size_t count) {
    GAPLESS_ASSERT(count <= 64);
    std::vector<uint8_t> kept(count, 0);
    for (size_t i = 0; i < count; i++) {
      kept[i] = (bits >> i & 1) != 0 ? fault::kAllSectors : 0;
    }
    return kept;
  });
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::ImageOfSeed(uint64_t seed) const {
  return ImageOf([seed](size_t count) { return ChooseBySeed(count, seed); });
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::ImageAllLost() const {
  return ImageOf([](size_t count) { return std::vector<uint8_t>(count, 0); });
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::ImageAllKept() const {
  return ImageOf([](size_t count) { return std::vector<uint8_t>(count, fault::kAllSectors); });
}

std::unique_ptr<FaultFileSystem> FaultFileSystem::Clone() const {
  const MutexLock lock(&mutex_);
  fault::Changes changes;
  NodePtr root = fault::CopyTree(root_, changes_, &changes);
  auto clone = std::make_unique<FaultFileSystem>();
  clone->Adopt(std::move(root), std::move(changes), next_id_, operations_);
  return clone;
}

// ---- Damage ----

fault::Content* FaultFileSystem::RawContent(const std::string& path, NodePtr* node) {
  GAPLESS_ASSERT(Walk(path, node).ok());
  GAPLESS_ASSERT(*node != nullptr && !(*node)->directory);
  return (*node)->MutableLive();
}

void FaultFileSystem::FinishRaw(const NodePtr& node) {
  std::erase_if(changes_, [&](const Change& change) {
    return change.node == node && change.kind != ChangeKind::kEntry;
  });
  node->durable = node->live;
  node->live_private = false;
  node->durable_private = false;
  RecountPages(node.get());
}

void FaultFileSystem::WriteRaw(const std::string& path, uint64_t offset, Slice bytes) {
  const MutexLock lock(&mutex_);
  NodePtr node;
  fault::Content* const content = RawContent(path, &node);
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t begin = (offset + done) % fault::kPageBytes;
    const uint64_t end = std::min(fault::kPageBytes, begin + (bytes.size() - done));
    content->Patch((offset + done) / fault::kPageBytes, begin, end, bytes.data() + done);
    done += end - begin;
  }
  content->size = std::max<uint64_t>(content->size, offset + bytes.size());
  FinishRaw(node);
}

void FaultFileSystem::FlipBits(const std::string& path, uint64_t offset, uint8_t mask) {
  const std::string before = ReadRaw(path);
  GAPLESS_ASSERT(offset < before.size());
  const auto flipped = static_cast<uint8_t>(static_cast<uint8_t>(before[offset]) ^ mask);
  WriteRaw(path, offset, Slice(&flipped, 1));
}

void FaultFileSystem::TruncateRaw(const std::string& path, uint64_t size) {
  const MutexLock lock(&mutex_);
  NodePtr node;
  fault::Content* const content = RawContent(path, &node);
  content->Cut(size);
  content->size = size;
  node->reserved_pages = 0;
  FinishRaw(node);
}

void FaultFileSystem::PutRaw(const std::string& path, Slice bytes) {
  {
    const MutexLock lock(&mutex_);
    NodePtr at = root_;
    for (size_t begin = 0; begin < path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      const std::string name = path.substr(begin, end - begin);
      begin = end + 1;
      if (name.empty()) continue;
      NodePtr& child = at->entries[name];
      if (child == nullptr) {
        child = NewNode(end < path.size());
        child->links = 1;
        at->durable_entries[name] = child;
      }
      const NodePtr next = child;
      at = next;
    }
  }
  TruncateRaw(path, 0);
  WriteRaw(path, 0, bytes);
}

std::string FaultFileSystem::ReadRaw(const std::string& path) const {
  const MutexLock lock(&mutex_);
  NodePtr node;
  GAPLESS_ASSERT(Walk(path, &node).ok());
  GAPLESS_ASSERT(node != nullptr && !node->directory);
  std::string bytes(static_cast<size_t>(node->live->size), '\0');
  node->live->Read(0, bytes.data(), bytes.size());
  return bytes;
}

std::vector<std::string> FaultFileSystem::ListAll() const {
  const MutexLock lock(&mutex_);
  std::vector<std::string> paths;
  ListInto(*root_, "", &paths);
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace gapless::io
