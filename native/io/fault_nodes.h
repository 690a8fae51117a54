// What a FaultFileSystem is made of: files as pages, directories as maps, and the list of changes
// that no sync has made durable. Only io/fault_*.cc include this; the owner's mutex guards all.
//
// Invariant: durable state + every pending change in order = live state (but for changes whose sync
// failed, see Change::stale). Pages and contents are immutable while shared, so that copying a
// whole file system costs one pointer a file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace gapless::io::fault {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint8_t kAllSectors = 0xff;

struct Page {
  char bytes[kPageBytes];
};
using PagePtr = std::shared_ptr<const Page>;

struct Content {
  std::map<uint64_t, PagePtr> pages;  // an absent page reads as zeros
  uint64_t size = 0;

  void Read(uint64_t offset, char* to, uint64_t count) const;
  // Replaces bytes [begin, end) of a page, `from` points at the byte for `begin`.
  void Patch(uint64_t page, uint64_t begin, uint64_t end, const char* from);
  // Shrinks; what a later growth uncovers reads as zeros.
  void Cut(uint64_t new_size);
};

struct Node;
using NodePtr = std::shared_ptr<Node>;
using Entries = std::map<std::string, NodePtr>;

struct Node {
  uint64_t id = 0;
  bool directory = false;
  // A file. A content that is not private belongs to other file systems too: copied before a
  // change.
  std::shared_ptr<Content> live;
  std::shared_ptr<Content> durable;
  bool live_private = false;
  bool durable_private = false;
  uint64_t reserved_pages = 0;  // allocated from the start of the file
  uint64_t used_pages = 0;      // counted against the capacity
  int links = 0;                // live names
  int handles = 0;              // open Files
  // flock
  int lock_holders = 0;
  bool lock_exclusive = false;
  // A directory.
  Entries entries;
  Entries durable_entries;

  Content* MutableLive();
  Content* MutableDurable();
};

enum class ChangeKind { kPage, kSize, kEntry };

struct Change {
  ChangeKind kind = ChangeKind::kPage;
  uint64_t operation = 0;
  NodePtr node;  // the file changed, or the child of the entry
  // kPage: bytes [begin, end) of `block`, which is the whole page after this write.
  uint64_t page = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  PagePtr block;
  // The kernel dropped the page after a failed sync: no later sync writes it, only a later write.
  bool stale = false;
  // kSize
  uint64_t size = 0;
  bool shrink = false;
  // kEntry: a removal has only `from`, a creation only `to`, a rename both.
  NodePtr from;
  NodePtr to;
  std::string from_name;
  std::string to_name;
};

using Changes = std::vector<Change>;
using EntriesOf = std::function<Entries*(Node*)>;

// Carries an entry change out on the maps that `entries_of` gives. `directories`: all of them, so
// that a renamed child never keeps a second name when an earlier rename of it was lost.
void ApplyEntry(const Change& change, const std::vector<Node*>& directories,
                const EntriesOf& entries_of);

// Everything that a disk could still hold: from durable names and pending creations and renames.
std::set<const Node*> Reachable(const NodePtr& root, const Changes& changes);
std::vector<Node*> DirectoriesOf(const NodePtr& root, const Changes& changes);

// Makes everything that is pending for a file durable, but for stale pages.
void CommitFile(Node* file, Changes* changes);
// After a failed sync: what was dirty is clean in memory and perhaps not on disk, for good.
void MarkStale(const Node* file, Changes* changes);
// Makes the entries of a directory durable. A rename to another directory stays pending until that
// one is synced, unless its old name is in use again.
void CommitDirectory(const NodePtr& root, Node* directory, Changes* changes);

// Same tree, same pending changes. Marks the contents of `root`'s tree as shared.
NodePtr CopyTree(const NodePtr& root, const Changes& changes, Changes* copied_changes);
// The durable tree plus the chosen parts of the changes: one sector mask a change, 0: lost.
// Everything in the result is durable.
NodePtr BuildImage(const NodePtr& root, const Changes& changes, const std::vector<uint8_t>& kept);

}  // namespace gapless::io::fault
