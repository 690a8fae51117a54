// Counts what the committing thread allocates: nothing per append in the steady state. This file
// replaces operator new of the test program.
#include <cstdlib>
#include <new>

#include "engine_fixture.h"

// Under a sanitizer gcc sees our delete inlined and the library's new, and takes them for a
// mismatch.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {
thread_local uint64_t allocations_of_thread = 0;

void* Take(size_t size, size_t alignment) {
  ++allocations_of_thread;
  void* taken = nullptr;
  const size_t wanted = size == 0 ? 1 : size;
  if (alignment <= alignof(std::max_align_t)) {
    taken = std::malloc(wanted);
  } else if (posix_memalign(&taken, alignment, wanted) != 0) {
    taken = nullptr;
  }
  if (taken == nullptr) std::abort();
  return taken;
}
}  // namespace

void* operator new(size_t size) { return Take(size, 1); }
void* operator new[](size_t size) { return Take(size, 1); }
// The standard library's own temporaries are taken without throwing, and given back to the deletes
// below.
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Take(size, 1); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return Take(size, 1); }
void* operator new(size_t size, std::align_val_t align) {
  return Take(size, static_cast<size_t>(align));
}
void* operator new[](size_t size, std::align_val_t align) {
  return Take(size, static_cast<size_t>(align));
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete(void* at, size_t) noexcept { std::free(at); }
void operator delete[](void* at, size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at, size_t, std::align_val_t) noexcept { std::free(at); }

namespace gapless::engine::test {
namespace {

TEST("a commit allocates nothing of its own in the steady state") {
  check::TempDir dir;
  Options options;
  options.durability = log::Durability::kMemory;
  options.shards = 1;
  Result<std::shared_ptr<Engine>> opened = Engine::Open(dir / "db", options);
  REQUIRE_OK(opened);
  Engine* engine = opened.value().get();
  std::vector<Ops> batches;
  for (int i = 0; i < 64; ++i) {
    batches.push_back(Ops().Put("key" + std::to_string(i), std::string(100, 'v')));
  }
  Client client;
  engine->AddClient(&client);
  REQUIRE_OK(CommitOf(engine, &client, batches[0]));
  const auto round = [&](int commits) {
    uint64_t queued = 0;
    for (int i = 0; i < commits; ++i) {
      const Submitted submitted =
          engine->Submit(&client, batches[static_cast<size_t>(i) % 64].Request(), true);
      queued += submitted.state == Submitted::State::kSequenced ? 0 : 1;
    }
    return queued;
  };
  REQUIRE_EQ(round(20000), 0u);
  const uint64_t before = allocations_of_thread;
  REQUIRE_EQ(round(20000), 0u);
  const uint64_t taken = allocations_of_thread - before;
  // Blocks of the arena and of the log's buffers come now and then, whatever the commits.
  CHECK_LT(taken, 200u);
  engine->RemoveClient(&client);
  CHECK_OK(opened.value()->Release());
}

}  // namespace
}  // namespace gapless::engine::test
