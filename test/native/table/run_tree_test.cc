// Trees of runs: order within levels, and changes that leave the former tree alone.
#include "table/run_tree.h"

#include <string>

#include "check.h"
#include "fake_run.h"

namespace gapless::table {
namespace {

std::string Numbers(const RunList& runs) {
  std::string text;
  for (const auto& run : runs) text += std::to_string(run->info().number) + " ";
  return text;
}

TEST("extents overlap where they share a key, bounds exclusive above") {
  const Extent ab{"a", "b", false};
  CHECK(!Overlap(ab, {"b", "c", false}));
  CHECK(!Overlap({"b", "c", false}, ab));
  CHECK(Overlap(ab, {"a", std::string("a\0", 2), false}));
  CHECK(Overlap(ab, {"", "", true}));
  CHECK(!Overlap(ab, {"b", "", true}));
  CHECK(Overlap({"c", "", true}, {"d", "", true}));
  CHECK((Hull(ab, {"x", "y", false}) == Extent{"a", "y", false}));
  CHECK((Hull(ab, {"x", "", true}) == Extent{"a", "", true}));
}

TEST("level 0 is newest first and a deeper level in key order") {
  const RunTree empty(2);
  const auto tree = empty.With(
      {}, {MakeFake(FakeInfo(3, 0, "a", "z", 10)), MakeFake(FakeInfo(5, 0, "a", "z", 10)),
           MakeFake(FakeInfo(4, 0, "a", "z", 10)), MakeFake(FakeInfo(2, 6, "m", "", 100)),
           MakeFake(FakeInfo(1, 6, "", "m", 100))});
  CHECK_EQ(Numbers(tree->shard(0).levels[0]), "5 4 3 ");
  CHECK_EQ(Numbers(tree->shard(0).levels[6]), "1 2 ");
  CHECK(tree->shard(1).empty());
  CHECK(!tree->shard(0).empty());
  CHECK_EQ(tree->bytes(), 230);
  CHECK_EQ(tree->count(), 5);
  CHECK_EQ(Numbers(tree->All()), "5 4 3 1 2 ");
  CHECK_EQ(empty.count(), 0);
}

TEST("a change leaves the former tree as it was") {
  const RunTree empty(1);
  const auto a = MakeFake(FakeInfo(1, 0, "a", "z", 10));
  const auto b = MakeFake(FakeInfo(2, 0, "a", "z", 10));
  const auto before = empty.With({}, {a, b});
  const auto after = before->With({a}, {MakeFake(FakeInfo(3, 6, "a", "z", 20))});
  CHECK_EQ(Numbers(before->All()), "2 1 ");
  CHECK_EQ(Numbers(after->All()), "2 3 ");
}

TEST("a run moves down under its own number") {
  const RunTree empty(1);
  const auto above = MakeFake(FakeInfo(1, 5, "a", "z", 10));
  const auto before = empty.With({}, {above});
  const auto after = before->With({above}, {MakeFake(FakeInfo(1, 6, "a", "z", 10))});
  CHECK(after->shard(0).levels[5].empty());
  CHECK_EQ(Numbers(after->shard(0).levels[6]), "1 ");
}

}  // namespace
}  // namespace gapless::table
