// Status, Slice, coding, hex.
#include <cerrno>
#include <set>
#include <string>

#include "base/coding.h"
#include "base/hex.h"
#include "base/slice.h"
#include "base/status.h"
#include "check.h"

namespace gapless {
namespace {

TEST("an OK status holds nothing") {
  const Status status;
  CHECK(status.ok());
  CHECK(status.Is(Code::kOk));
  CHECK_EQ(status.message(), "");
  CHECK_EQ(status.file(), "");
  CHECK_EQ(status.offset(), -1);
  CHECK_EQ(status.details().size(), 0U);
  CHECK_EQ(status.ToString(), "OK");
}

TEST("every code has a text of its own") {
  std::set<std::string> texts;
  int count = 0;
#define GAPLESS_COUNT(name, text)                    \
  CHECK_EQ(std::string(CodeText(Code::name)), text); \
  texts.insert(CodeText(Code::name));                \
  count++;
  GAPLESS_CODES(GAPLESS_COUNT)
#undef GAPLESS_COUNT
  CHECK_EQ(texts.size(), static_cast<size_t>(count));
  CHECK_EQ(std::string(CodeText(static_cast<Code>(255))), "UNKNOWN");
}

TEST("a full disk is no space, any other errno is io") {
  CHECK(Status::FromErrno(ENOSPC, "write", "f").Is(Code::kNoSpace));
  CHECK(Status::FromErrno(EDQUOT, "write", "f").Is(Code::kNoSpace));
  const Status io = Status::FromErrno(EIO, "write", "log/1");
  CHECK(io.Is(Code::kIo));
  CHECK_EQ(io.sys_errno(), EIO);
  CHECK_EQ(io.file(), "log/1");
  CHECK_EQ(io.message(), "write: Input/output error");
}

TEST("facts are added to a copy of a status") {
  const Status bare = Status::Corrupt("body crc", "log/1", 8192);
  const Status full = bare.With("seq", 17).With("kind", "batch").Wrap("replay log");
  CHECK_EQ(bare.ToString(), "CORRUPT: body crc (file log/1, offset 8192)");
  CHECK_EQ(full.ToString(),
           "CORRUPT: replay log: body crc (file log/1, offset 8192, seq 17, kind batch)");
  REQUIRE_EQ(full.details().size(), 2U);
  CHECK(full.details()[0].is_number);
  CHECK_EQ(full.details()[0].number, 17);
  CHECK_EQ(full.details()[1].text, "batch");
  CHECK_EQ(full.WithFile("other", -1).offset(), -1);
  CHECK_EQ(full.WithFile("other", 3).file(), "other");
}

Status FailsWhen(bool fails) {
  RETURN_IF_ERROR(fails ? Status::Error(Code::kConflict, "no") : Status::Ok());
  return Status::Error(Code::kUsage, "went on");
}

TEST("RETURN_IF_ERROR returns errors and only errors") {
  CHECK(FailsWhen(true).Is(Code::kConflict));
  CHECK(FailsWhen(false).Is(Code::kUsage));
}

TEST("a result holds a value or a reason") {
  const Result<std::string> value = std::string("x");
  const Result<std::string> error = Status::Error(Code::kNotFound, "gone");
  REQUIRE(value.ok());
  CHECK_EQ(value.value(), "x");
  CHECK(!error.ok());
  CHECK(error.status().Is(Code::kNotFound));
}

TEST("slices compare as unsigned bytes, prefixes first") {
  CHECK(Slice("a") < Slice("b"));
  CHECK(Slice("a") < Slice("aa"));
  CHECK(Slice("") < Slice("a"));
  CHECK(Slice("\x7f") < Slice("\x80"));
  CHECK(Slice("ab") == Slice(std::string("ab")));
  CHECK(!(Slice("ab") < Slice("ab")));
  CHECK(Slice("abc").StartsWith("ab"));
  CHECK(Slice("abc").StartsWith(""));
  CHECK(!Slice("a").StartsWith("ab"));
  CHECK_EQ(Slice("a\0b", 3).size(), 3U);
}

TEST("numbers are little-endian in buffers") {
  std::string bytes;
  AppendLe<uint16_t>(&bytes, 0x0102);
  AppendLe<uint32_t>(&bytes, 0x03040506);
  AppendLe<uint64_t>(&bytes, 0x0708090a0b0c0d0e);
  CHECK_EQ(HexEncode(bytes), "0201060504030e0d0c0b0a090807");
  CHECK_EQ(LoadU16(bytes.data()), 0x0102);
  CHECK_EQ(LoadU32(bytes.data() + 2), 0x03040506U);
  CHECK_EQ(LoadU64(bytes.data() + 6), 0x0708090a0b0c0d0eU);
  StoreU64(bytes.data() + 1, 1);
  CHECK_EQ(LoadU64(bytes.data() + 1), 1U);
}

TEST("sizes are aligned up to eight") {
  CHECK_EQ(AlignUp8(0), 0U);
  CHECK_EQ(AlignUp8(1), 8U);
  CHECK_EQ(AlignUp8(8), 8U);
  CHECK_EQ(AlignUp8(9), 16U);
}

TEST("hex goes there and back and refuses everything else") {
  std::string all;
  for (int i = 0; i < 256; i++) all.push_back(static_cast<char>(i));
  std::string back;
  CHECK(HexDecode(HexEncode(all), &back));
  CHECK(back == all);
  CHECK(HexDecode("aBCd", &back));
  CHECK_EQ(back, "\xab\xcd");
  for (const char* bad : {"a", "0g", "g0", " 0", "0x"}) CHECK(!HexDecode(bad, &back));
  CHECK_EQ(HexU32(0x1f), "0000001f");
  CHECK_EQ(HexU64(0xabc), "0000000000000abc");
  CHECK_EQ(HexU128(1, 2), "00000000000000010000000000000002");
  uint64_t value = 5;
  CHECK(ParseHexU64("fedcba9876543210", &value));
  CHECK_EQ(value, 0xfedcba9876543210U);
  for (const char* bad : {"", "fedcba987654321", "fedcba98765432100", "fedcba987654321x"}) {
    CHECK(!ParseHexU64(bad, &value));
  }
  CHECK_EQ(value, 0xfedcba9876543210U);
}

}  // namespace
}  // namespace gapless
