// Pages, contents, and what a sync makes durable.
#include "io/fault_nodes.h"

#include <algorithm>
#include <cstring>

namespace gapless::io::fault {

void Content::Read(uint64_t offset, char* to, uint64_t count) const {
  while (count > 0) {
    const uint64_t begin = offset % kPageBytes;
    const uint64_t taken = std::min(count, kPageBytes - begin);
    const auto found = pages.find(offset / kPageBytes);
    if (found == pages.end()) {
      std::memset(to, 0, taken);
    } else {
      std::memcpy(to, found->second->bytes + begin, taken);
    }
    offset += taken;
    to += taken;
    count -= taken;
  }
}

void Content::Patch(uint64_t page, uint64_t begin, uint64_t end, const char* from) {
  auto block = std::make_shared<Page>();
  PagePtr& slot = pages[page];
  if (slot == nullptr) {
    std::memset(block->bytes, 0, kPageBytes);
  } else {
    std::memcpy(block->bytes, slot->bytes, kPageBytes);
  }
  std::memcpy(block->bytes + begin, from, end - begin);
  slot = std::move(block);
}

void Content::Cut(uint64_t new_size) {
  static const char kZeros[kPageBytes] = {};
  size = std::min(size, new_size);
  pages.erase(pages.lower_bound((new_size + kPageBytes - 1) / kPageBytes), pages.end());
  const uint64_t begin = new_size % kPageBytes;
  if (begin != 0 && pages.count(new_size / kPageBytes) != 0) {
    Patch(new_size / kPageBytes, begin, kPageBytes, kZeros);
  }
}

Content* Node::MutableLive() {
  if (!live_private) live = std::make_shared<Content>(*live);
  live_private = true;
  return live.get();
}

Content* Node::MutableDurable() {
  if (!durable_private) durable = std::make_shared<Content>(*durable);
  durable_private = true;
  return durable.get();
}

void ApplyEntry(const Change& change, const std::vector<Node*>& directories,
                const EntriesOf& entries_of) {
  if (change.to == nullptr) {
    entries_of(change.from.get())->erase(change.from_name);
    return;
  }
  if (change.from != nullptr) {
    for (Node* directory : directories) {
      std::erase_if(*entries_of(directory),
                    [&](const auto& entry) { return entry.second == change.node; });
    }
  }
  (*entries_of(change.to.get()))[change.to_name] = change.node;
}

std::set<const Node*> Reachable(const NodePtr& root, const Changes& changes) {
  std::set<const Node*> found{root.get()};
  std::vector<const Node*> open{root.get()};
  while (!open.empty()) {
    const Node* const node = open.back();
    open.pop_back();
    const auto visit = [&](const NodePtr& child) {
      if (found.insert(child.get()).second) open.push_back(child.get());
    };
    for (const auto& [name, child] : node->durable_entries) visit(child);
    if (!node->directory) continue;
    for (const Change& change : changes) {
      if (change.kind == ChangeKind::kEntry && change.to.get() == node) visit(change.node);
    }
  }
  return found;
}

std::vector<Node*> DirectoriesOf(const NodePtr& root, const Changes& changes) {
  std::set<Node*> found{root.get()};
  std::vector<Node*> open{root.get()};
  const auto visit = [&](Node* node) {
    if (node != nullptr && node->directory && found.insert(node).second) open.push_back(node);
  };
  for (const Change& change : changes) {
    visit(change.from.get());
    visit(change.to.get());
    visit(change.node.get());
  }
  while (!open.empty()) {
    Node* const node = open.back();
    open.pop_back();
    for (const auto& [name, child] : node->entries) visit(child.get());
    for (const auto& [name, child] : node->durable_entries) visit(child.get());
  }
  return std::vector<Node*>(found.begin(), found.end());
}

void CommitFile(Node* file, Changes* changes) {
  Content* const durable = file->MutableDurable();
  std::set<uint64_t> written;  // pages that this sync writes whole, stale bytes in them included
  for (const Change& change : *changes) {
    if (change.node.get() != file) continue;
    if (change.kind == ChangeKind::kPage && !change.stale) written.insert(change.page);
    if (change.kind == ChangeKind::kSize && change.shrink) durable->Cut(change.size);
  }
  for (const uint64_t page : written) {
    const auto found = file->live->pages.find(page);
    if (found != file->live->pages.end()) durable->pages[page] = found->second;
  }
  durable->size = file->live->size;
  std::erase_if(*changes, [&](const Change& change) {
    if (change.node.get() != file || change.kind == ChangeKind::kEntry) return false;
    return change.kind == ChangeKind::kSize || !change.stale || written.count(change.page) != 0;
  });
}

void MarkStale(const Node* file, Changes* changes) {
  for (Change& change : *changes) {
    if (change.node.get() == file && change.kind == ChangeKind::kPage) change.stale = true;
  }
}

namespace {

bool NameUsedLater(const Changes& changes, size_t at) {
  for (size_t i = at + 1; i < changes.size(); i++) {
    const Change& later = changes[i];
    if (later.kind == ChangeKind::kEntry && later.to == changes[at].from &&
        later.to_name == changes[at].from_name) {
      return true;
    }
  }
  return false;
}

bool CommittedBy(const Node* directory, const Changes& changes, size_t at) {
  const Change& change = changes[at];
  if (change.kind != ChangeKind::kEntry) return false;
  if (change.to != nullptr && change.to.get() == directory) return true;
  if (change.from.get() != directory) return false;
  return change.to == nullptr || NameUsedLater(changes, at);
}

}  // namespace

void CommitDirectory(const NodePtr& root, Node* directory, Changes* changes) {
  const std::vector<Node*> directories = DirectoriesOf(root, *changes);
  std::vector<bool> done(changes->size());
  for (size_t i = 0; i < changes->size(); i++) {
    if (!CommittedBy(directory, *changes, i)) continue;
    const Change& change = (*changes)[i];
    ApplyEntry(change, directories, [](Node* node) { return &node->durable_entries; });
    done[i] = true;
    // What this rename moved on is settled with it, in whichever directory it was pending.
    for (size_t k = 0; change.from != nullptr && change.to != nullptr && k < i; k++) {
      const Change& earlier = (*changes)[k];
      if (earlier.kind == ChangeKind::kEntry && earlier.node == change.node) done[k] = true;
    }
  }
  Changes left;
  for (size_t i = 0; i < changes->size(); i++) {
    if (!done[i]) left.push_back(std::move((*changes)[i]));
  }
  // Changes of files that no surviving name can lead to are no choices any more.
  const std::set<const Node*> reachable = Reachable(root, left);
  std::erase_if(left, [&](const Change& change) {
    if (change.kind != ChangeKind::kEntry) {
      return change.node->links == 0 && reachable.count(change.node.get()) == 0;
    }
    return false;
  });
  *changes = std::move(left);
}

}  // namespace gapless::io::fault
