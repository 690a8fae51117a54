// Names of a data directory: what is written is read back, and nothing else is.
#include "io/file_names.h"

#include "check.h"
#include "io/clock.h"
#include "io/fake_clock.h"

namespace gapless::io {
namespace {

TEST("names have the form of the design") {
  CHECK_EQ(GenerationName(1), "gen-000001");
  CHECK_EQ(ManifestName(42), "MANIFEST-000042");
  CHECK_EQ(RunName(7), "run-000007");
  CHECK_EQ(SegmentName(4096), "00000000000000004096.log");
  CHECK_EQ(SegmentIndexName(0), "00000000000000000000.idx");
  CHECK_EQ(FlowName(3), "flow-00003");
  CHECK_EQ(LostName(3, 1, 118, 131), "3.1-118-131.log");
  CHECK_EQ(SegmentName(UINT64_MAX), "18446744073709551615.log");
}

TEST("every name that is written is read back") {
  for (const uint64_t number : {uint64_t{0}, uint64_t{1}, uint64_t{99999}, uint64_t{100000},
                                uint64_t{999999}, uint64_t{1000000}, UINT64_MAX}) {
    uint64_t parsed = 5;
    CHECK(ParseGenerationName(GenerationName(number), &parsed));
    CHECK_EQ(parsed, number);
    CHECK(ParseManifestName(ManifestName(number), &parsed));
    CHECK_EQ(parsed, number);
    CHECK(ParseRunName(RunName(number), &parsed));
    CHECK_EQ(parsed, number);
    CHECK(ParseSegmentName(SegmentName(number), &parsed));
    CHECK_EQ(parsed, number);
    CHECK(ParseSegmentIndexName(SegmentIndexName(number), &parsed));
    CHECK_EQ(parsed, number);
    CHECK(ParseFlowName(FlowName(number), &parsed));
    CHECK_EQ(parsed, number);
  }
  uint32_t term = 0;
  uint32_t run = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  CHECK(ParseLostName(LostName(UINT32_MAX, 2, UINT64_MAX, 4), &term, &run, &first, &last));
  CHECK_EQ(term, UINT32_MAX);
  CHECK_EQ(run, 2U);
  CHECK_EQ(first, UINT64_MAX);
  CHECK_EQ(last, 4U);
}

TEST("a name that would not be written is refused") {
  uint64_t number = 77;
  for (const char* bad : {"", "gen-", "gen-1", "gen-00001", "gen-0000001", "gen-000001 ",
                          "gen-00000x", "Gen-000001", "gen-000001.tmp", "gen--00001",
                          "gen-18446744073709551616", "gen-99999999999999999999999"}) {
    CHECK(!ParseGenerationName(bad, &number));
  }
  for (const char* bad :
       {"0.log", "0000000000000000000.log", "000000000000000000000.log", "00000000000000000000.idx",
        "00000000000000000000", ".log", "99999999999999999999.log", "+0000000000000000001.log"}) {
    CHECK(!ParseSegmentName(bad, &number));
  }
  CHECK_EQ(number, 77U);
  uint32_t part = 0;
  for (const char* bad : {"3-118-131.log", "3.1-118.log", "3.1-118-131.wal", "03.1-118-131.log",
                          "3.1-118-131.log.tmp", "4294967296.1-1-2.log", ".1-1-2.log"}) {
    CHECK(!ParseLostName(bad, &part, &part, &number, &number));
  }
}

TEST("names of the top of a data directory are known") {
  for (const char* own : {"LOCK", "IDENTITY", "STATE", "CURRENT", "gen-000001", "snapshots",
                          "incoming", "lost", "quarantine", "CURRENT.tmp"}) {
    CHECK(IsDataDirectoryName(own));
  }
  for (const char* other : {"log", "runs", "gen-1", "lock", "CURRENT2", "", ".", "x.tmp"}) {
    CHECK(!IsDataDirectoryName(other));
  }
  CHECK(IsTemporaryName("CURRENT.tmp"));
  CHECK(!IsTemporaryName("CURRENT"));
}

TEST("a snapshot's name cannot leave its directory") {
  for (const char* good : {"a", "2026-01-01_x", "..a"}) {
    CHECK(IsSnapshotName(good));
  }
  for (const char* bad : {"", ".", "..", "a/b", "/a", "a b", "\xc3\xa4"}) {
    CHECK(!IsSnapshotName(bad));
  }
  CHECK(IsSnapshotName(std::string(64, 'a')));
  CHECK(!IsSnapshotName(std::string(65, 'a')));
  CHECK(!IsSnapshotName(Slice("a\0b", 3)));
}

TEST("the machine's clocks go on and its random bytes differ") {
  const uint64_t start = SystemClock()->MonotonicUs();
  CHECK_GE(SystemClock()->MonotonicUs(), start);
  CHECK_GT(SystemClock()->WallMs(), 1700000000000U);
  CHECK_GT(SystemClock()->BoottimeMs(), 0U);
  uint64_t a = 0;
  uint64_t b = 0;
  SystemRandom()->Fill(&a, sizeof(a));
  SystemRandom()->Fill(&b, sizeof(b));
  CHECK_NE(a, b);
  std::string large(1000, '\0');
  SystemRandom()->Fill(large.data(), large.size());
  CHECK_NE(large.substr(900), std::string(100, '\0'));
}

TEST("a fake clock moves only when it is told to") {
  FakeClock clock;
  const uint64_t wall = clock.WallMs();
  const uint64_t monotonic = clock.MonotonicUs();
  const uint64_t boottime = clock.BoottimeMs();
  clock.AdvanceMs(5);
  clock.SuspendMs(100);
  CHECK_EQ(clock.WallMs(), wall + 105);
  CHECK_EQ(clock.MonotonicUs(), monotonic + 5000);
  CHECK_EQ(clock.BoottimeMs(), boottime + 105);
  clock.SetWallMs(3);
  CHECK_EQ(clock.WallMs(), 3U);
  FakeRandom a(1);
  FakeRandom b(1);
  FakeRandom c(2);
  uint64_t bytes[3] = {};
  a.Fill(&bytes[0], 8);
  b.Fill(&bytes[1], 8);
  c.Fill(&bytes[2], 8);
  CHECK_EQ(bytes[0], bytes[1]);
  CHECK_NE(bytes[0], bytes[2]);
}

}  // namespace
}  // namespace gapless::io
