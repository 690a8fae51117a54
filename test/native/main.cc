// Runs the registered native tests: --filter TEXT keeps the tests whose name or file contains TEXT,
// --trace prints each name before and after it runs (scripts/native.mjs counts these lines when a
// process dies). The last line is `N passed, N failed`; the exit code is 1 when a test failed.
// Single caller: the main thread.
#include <stdlib.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "check.h"

namespace gapless::check {
namespace {

struct Test {
  const char* name;
  const char* file;
  int line;
  TestBody body;
};

std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}

std::atomic<int> failures_in_test{0};
std::atomic<const char*> running{""};

}  // namespace

Registration::Registration(const char* name, const char* file, int line, TestBody body) {
  Tests().push_back({name, file, line, body});
}

void Fail(const char* file, int line, const std::string& text) {
  const int earlier = failures_in_test.fetch_add(1);
  if (earlier >= 20) return;  // A loop that fails every round must not bury the first failures.
  std::fprintf(stderr, "%s:%d: [%s] %s\n", file, line, running.load(), text.c_str());
}

bool Failed() { return failures_in_test.load() != 0; }

std::string Quote(std::string_view text) {
  constexpr size_t kShown = 200;
  std::string out = "\"";
  for (const char c : text.substr(0, kShown)) {
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
      out += c;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x",
                  static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += escaped;
  }
  out += '"';
  if (text.size() > kShown) out += "... (" + std::to_string(text.size()) + " bytes)";
  return out;
}

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/gaplessdb-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) {
    std::perror("mkdtemp for a test directory");
    std::abort();
  }
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) Fail(__FILE__, __LINE__, "cannot remove " + path_ + ": " + error.message());
}

int RunTests(const char* filter, bool trace) {
  int passed = 0;
  int failed = 0;
  for (const Test& test : Tests()) {
    if (std::strstr(test.name, filter) == nullptr && std::strstr(test.file, filter) == nullptr) {
      continue;
    }
    running.store(test.name);
    failures_in_test.store(0);
    if (trace) std::printf("[ RUN  ] %s\n", test.name);
    std::fflush(stdout);
    test.body();
    const bool ok = failures_in_test.load() == 0;
    ++(ok ? passed : failed);
    if (trace) std::printf("[ %s ] %s\n", ok ? "OK  " : "FAIL", test.name);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace gapless::check

int main(int argc, char** argv) {
  const char* filter = "";
  bool trace = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--filter") == 0 && i + 1 < argc) {
      filter = argv[++i];
    } else if (std::strcmp(argv[i], "--trace") == 0) {
      trace = true;
    } else {
      std::fprintf(stderr, "unknown option: %s\n", argv[i]);
      return 2;
    }
  }
  return gapless::check::RunTests(filter, trace);
}
