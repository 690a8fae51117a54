// The native test harness: tests register themselves, checks count failures and go on, REQUIRE
// leaves the test. Checks may be used from any thread; a test owns every thread that it starts and
// joins it before it ends. TEST names are facts in the present tense: TEST("a torn tail record is
// ignored") { ... }.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace gapless::check {

using TestBody = void (*)();

// Adds a test to the list that main() runs; called before main by TEST.
struct Registration {
  Registration(const char* name, const char* file, int line, TestBody body);
};

// Prints one line `file:line: text` and marks the running test as failed. Any thread.
void Fail(const char* file, int line, const std::string& text);

// True when the running test has failed so far: lets a long loop stop at the first bad round.
bool Failed();

// Text with everything outside printable ASCII escaped, so that binary keys can be read in a
// failure line.
std::string Quote(std::string_view text);

template <typename T>
inline constexpr bool kIsNumber =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
    !std::is_same_v<T, char8_t> && !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char16_t> &&
    !std::is_same_v<T, char32_t>;

template <typename T>
std::string Show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return Quote(std::string_view(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<int64_t>(value));
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return value == nullptr ? "null" : "pointer";
  } else if constexpr (requires { value.ToString(); }) {
    return std::string(value.ToString());
  } else if constexpr (requires { value.status().ToString(); }) {
    return std::string(value.status().ToString());
  } else {
    return "(value)";
  }
}

struct Equal {
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    if constexpr (kIsNumber<A> && kIsNumber<B>) {
      return std::cmp_equal(a, b);
    } else {
      return a == b;
    }
  }
};

struct Less {
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    if constexpr (kIsNumber<A> && kIsNumber<B>) {
      return std::cmp_less(a, b);
    } else {
      return a < b;
    }
  }
};

template <typename A, typename B>
bool Expect(bool holds, const A& a, const B& b, const char* text, const char* file, int line) {
  if (!holds) Fail(file, line, std::string(text) + " is not so: " + Show(a) + " and " + Show(b));
  return holds;
}

inline bool ExpectTrue(bool holds, const char* text, const char* file, int line) {
  if (!holds) Fail(file, line, std::string(text) + " is not so");
  return holds;
}

template <typename T>
bool ExpectOk(const T& result, const char* text, const char* file, int line) {
  if (!result.ok()) Fail(file, line, std::string(text) + " is not OK: " + Show(result));
  return result.ok();
}

// A directory of its own, removed with everything in it when the object dies.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // The path of `name` inside the directory.
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace gapless::check

#define GAPLESS_TEST_JOIN2(a, b) a##b
#define GAPLESS_TEST_JOIN(a, b) GAPLESS_TEST_JOIN2(a, b)
#define GAPLESS_TEST_BODY GAPLESS_TEST_JOIN(TestBodyAtLine, __LINE__)

#define TEST(name)                                                                      \
  static void GAPLESS_TEST_BODY();                                                      \
  static const ::gapless::check::Registration GAPLESS_TEST_JOIN(kTestAtLine, __LINE__)( \
      name, __FILE__, __LINE__, GAPLESS_TEST_BODY);                                     \
  static void GAPLESS_TEST_BODY()

// Evaluates both sides once; prints both when the comparison does not hold.
#define GAPLESS_COMPARE(holds, a, b, text)                                                   \
  [](const auto& left_side, const auto& right_side) {                                        \
    return ::gapless::check::Expect(holds, left_side, right_side, text, __FILE__, __LINE__); \
  }((a), (b))
#define GAPLESS_EQ(a, b) \
  GAPLESS_COMPARE(::gapless::check::Equal{}(left_side, right_side), a, b, #a " == " #b)

#define CHECK(cond) \
  (void)::gapless::check::ExpectTrue(static_cast<bool>(cond), #cond, __FILE__, __LINE__)
#define CHECK_EQ(a, b) (void)GAPLESS_EQ(a, b)
#define CHECK_NE(a, b) \
  (void)GAPLESS_COMPARE(!::gapless::check::Equal{}(left_side, right_side), a, b, #a " != " #b)
#define CHECK_LT(a, b) \
  (void)GAPLESS_COMPARE(::gapless::check::Less{}(left_side, right_side), a, b, #a " < " #b)
#define CHECK_LE(a, b) \
  (void)GAPLESS_COMPARE(!::gapless::check::Less{}(right_side, left_side), a, b, #a " <= " #b)
#define CHECK_GT(a, b) \
  (void)GAPLESS_COMPARE(::gapless::check::Less{}(right_side, left_side), a, b, #a " > " #b)
#define CHECK_GE(a, b) \
  (void)GAPLESS_COMPARE(!::gapless::check::Less{}(left_side, right_side), a, b, #a " >= " #b)
// For a Status, or a result with status().
#define CHECK_OK(expr) (void)::gapless::check::ExpectOk((expr), #expr, __FILE__, __LINE__)

// Like the checks above, but leave the enclosing void function when they fail.
#define REQUIRE(cond)                                                                              \
  do {                                                                                             \
    if (!::gapless::check::ExpectTrue(static_cast<bool>(cond), #cond, __FILE__, __LINE__)) return; \
  } while (false)
#define REQUIRE_EQ(a, b)           \
  do {                             \
    if (!GAPLESS_EQ(a, b)) return; \
  } while (false)
#define REQUIRE_OK(expr)                                                        \
  do {                                                                          \
    if (!::gapless::check::ExpectOk((expr), #expr, __FILE__, __LINE__)) return; \
  } while (false)
