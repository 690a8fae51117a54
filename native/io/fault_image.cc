// Copies of a FaultFileSystem's tree: exact ones, and what a disk may hold after power loss.
#include <algorithm>

#include "base/assert.h"
#include "io/fault_nodes.h"

namespace gapless::io::fault {
namespace {

// A file shares its contents with its copy; both copy them before they change them.
NodePtr CopyFile(Node* file) {
  file->live_private = false;
  file->durable_private = false;
  auto copy = std::make_shared<Node>(*file);
  copy->links = 0;
  copy->handles = 0;
  copy->lock_holders = 0;
  return copy;
}

class TreeCopier {
 public:
  NodePtr Copy(const NodePtr& node) {
    if (node == nullptr) return nullptr;
    NodePtr& copy = copies_[node.get()];
    if (copy != nullptr) return copy;
    if (!node->directory) return copy = CopyFile(node.get());
    copy = std::make_shared<Node>();
    const NodePtr made = copy;
    made->id = node->id;
    made->directory = true;
    for (const auto& [name, child] : node->entries) {
      made->entries[name] = Copy(child);
      made->entries[name]->links++;
    }
    for (const auto& [name, child] : node->durable_entries)
      made->durable_entries[name] = Copy(child);
    return made;
  }

 private:
  std::map<const Node*, NodePtr> copies_;
};

// Brings the chosen sectors of one page change into `content`.
void ApplyPage(const Change& change, uint8_t sectors, Content* content) {
  if (sectors == kAllSectors && change.begin == 0 && change.end == kPageBytes) {
    content->pages[change.page] = change.block;
    return;
  }
  for (uint64_t sector = 0; sector < kPageBytes / kSectorBytes; sector++) {
    const uint64_t begin = std::max(change.begin, sector * kSectorBytes);
    const uint64_t end = std::min(change.end, (sector + 1) * kSectorBytes);
    if ((sectors >> sector & 1) == 0 || begin >= end) continue;
    content->Patch(change.page, begin, end, change.block->bytes + begin);
  }
}

void ApplySize(const Change& change, Content* content) {
  if (change.shrink) {
    content->Cut(change.size);
  } else {
    content->size = std::max(content->size, change.size);
  }
}

// Builds the surviving tree from the root down.
class ImageBuilder {
 public:
  ImageBuilder(const Changes& changes, const std::vector<uint8_t>& kept)
      : changes_(changes), kept_(kept) {}

  NodePtr Build(const NodePtr& root) {
    const std::vector<Node*> directories = DirectoriesOf(root, changes_);
    for (Node* directory : directories) entries_[directory] = directory->durable_entries;
    for (size_t i = 0; i < changes_.size(); i++) {
      if (kept_[i] == 0) continue;
      if (changes_[i].kind == ChangeKind::kEntry) {
        ApplyEntry(changes_[i], directories, [this](Node* node) { return &entries_[node]; });
      } else {
        kept_of_file_[changes_[i].node.get()].push_back(i);
      }
    }
    return BuildNode(root.get());
  }

 private:
  NodePtr BuildNode(Node* node) {
    NodePtr& slot = built_[node];
    if (slot != nullptr) return slot;
    slot = std::make_shared<Node>();
    const NodePtr made = slot;
    made->id = node->id;
    made->directory = node->directory;
    if (!node->directory) {
      BuildFile(node, made.get());
      return made;
    }
    for (const auto& [name, child] : entries_[node]) {
      const NodePtr copy = BuildNode(child.get());
      copy->links++;
      made->entries[name] = copy;
    }
    made->durable_entries = made->entries;
    return made;
  }

  void BuildFile(Node* file, Node* made) {
    file->durable_private = false;
    made->durable = file->durable;
    const auto changed = kept_of_file_.find(file);
    if (changed != kept_of_file_.end()) {
      Content* const content = made->MutableDurable();
      for (const size_t i : changed->second) {
        if (changes_[i].kind == ChangeKind::kPage) {
          ApplyPage(changes_[i], kept_[i], content);
        } else {
          ApplySize(changes_[i], content);
        }
      }
      content->Cut(content->size);  // bytes that were kept beyond a size that was not
      made->durable_private = false;
    }
    made->live = made->durable;
    made->used_pages = made->live->pages.size();
  }

  const Changes& changes_;
  const std::vector<uint8_t>& kept_;
  std::map<Node*, Entries> entries_;
  std::map<const Node*, std::vector<size_t>> kept_of_file_;
  std::map<const Node*, NodePtr> built_;
};

}  // namespace

NodePtr CopyTree(const NodePtr& root, const Changes& changes, Changes* copied_changes) {
  TreeCopier copier;
  const NodePtr copy = copier.Copy(root);
  copied_changes->clear();
  for (const Change& change : changes) {
    Change copied = change;
    copied.node = copier.Copy(change.node);
    copied.from = copier.Copy(change.from);
    copied.to = copier.Copy(change.to);
    copied_changes->push_back(std::move(copied));
  }
  return copy;
}

NodePtr BuildImage(const NodePtr& root, const Changes& changes, const std::vector<uint8_t>& kept) {
  GAPLESS_ASSERT(kept.size() == changes.size());
  return ImageBuilder(changes, kept).Build(root);
}

}  // namespace gapless::io::fault
