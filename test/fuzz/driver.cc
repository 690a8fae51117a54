// Runs one fuzz target: replays files, or mutates inputs for a time. Compiled without coverage
// instrumentation; the rest is compiled with -fsanitize-coverage=trace-pc, and an input that
// reaches a new place joins the corpus. Under libFuzzer (GAPLESS_LIBFUZZER) the target's name and
// the directory for its seeds come from the environment, and this file has no main.
//   fuzz TARGET --seconds N [--seed N] [--artifact FILE] [FILE ...]      fuzz --list
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "fuzz.h"

namespace gapless::fuzz {
namespace {

constexpr size_t kInputBytesMax = 64 << 10;
constexpr size_t kPlaces = 1 << 16;
constexpr size_t kCorpusMax = 20000;

std::vector<Target>& Targets() {
  static std::vector<Target> targets;
  return targets;
}

const Target* FindTarget(const char* name) {
  for (const Target& target : Targets()) {
    if (name != nullptr && std::strcmp(target.name, name) == 0) return &target;
  }
  return nullptr;
}

// The input under way: written out by whoever ends the process.
std::string current_input;
std::string artifact_path;

void SaveInput() {
  if (artifact_path.empty()) return;
  FILE* const file = std::fopen(artifact_path.c_str(), "wb");
  if (file == nullptr) return;
  (void)std::fwrite(current_input.data(), 1, current_input.size(), file);
  (void)std::fclose(file);
}

[[maybe_unused]] void WriteSeeds(const Target& target, const std::string& directory) {
  int number = 0;
  for (const std::string& seed : target.seeds()) {
    artifact_path = directory + "/" + target.name + "-" + std::to_string(number++);
    current_input = seed;
    SaveInput();
  }
}

[[maybe_unused]] void OnSignal(int number) {
  SaveInput();
  (void)signal(number, SIG_DFL);
  (void)raise(number);
}

}  // namespace

Registration::Registration(const Target& target) { Targets().push_back(target); }

void Fail(const char* file, int line, const char* property) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, property);
  std::abort();
}

}  // namespace gapless::fuzz

using namespace gapless;        // NOLINT: the entry points below stand outside
using namespace gapless::fuzz;  // NOLINT

#ifdef GAPLESS_LIBFUZZER

// Writes the seeds into the corpus directory before libFuzzer reads it.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* const directory = std::getenv("GAPLESS_FUZZ_SEEDS");
  const Target* const target = FindTarget(std::getenv("GAPLESS_FUZZ_TARGET"));
  if (directory == nullptr || target == nullptr) std::abort();
  WriteSeeds(*target, directory);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Target* const target = FindTarget(std::getenv("GAPLESS_FUZZ_TARGET"));
  if (target == nullptr) std::abort();
  target->run(Slice(data, size));
  return 0;
}

#else

namespace {

std::array<uint8_t, kPlaces> reached;  // by this input
std::array<uint8_t, kPlaces> known;
bool counting = false;

// Which of `reached` are set, in order of arrival.
std::array<uint32_t, kPlaces> arrived;
size_t arrivals = 0;

bool ReachedNewPlace() {
  bool found = false;
  for (size_t i = 0; i < arrivals; ++i) {
    found = found || known[arrived[i]] == 0;
    known[arrived[i]] = 1;
  }
  return found;
}

void ForgetArrivals() {
  for (size_t i = 0; i < arrivals; ++i) reached[arrived[i]] = 0;
  arrivals = 0;
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string Mutate(const std::vector<std::string>& corpus) {
    std::string input = corpus[random_.Below(corpus.size())];
    const uint64_t steps = 1 + random_.Below(random_.OneIn(4) ? 12 : 3);
    for (uint64_t i = 0; i < steps; ++i) Step(corpus, &input);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  size_t At(const std::string& input) { return random_.Below(input.size()); }

  void Step(const std::vector<std::string>& corpus, std::string* input) {
    if (input->empty()) input->push_back(static_cast<char>(random_.Next()));
    const size_t at = At(*input);
    const size_t rest = input->size() - at;
    switch (random_.Below(9)) {
      case 0:
        (*input)[at] = static_cast<char>((*input)[at] ^ (1 << random_.Below(8)));
        break;
      case 1:
        (*input)[at] = static_cast<char>(random_.Next());
        break;
      case 2:
      case 3:
        SetNumber(input, at);
        break;
      case 4:
        input->erase(at, 1 + random_.Below(rest));
        break;
      case 5:
        input->insert(at, std::string(1 + random_.Below(32), static_cast<char>(random_.Next())));
        break;
      case 6:
        input->insert(At(*input), input->substr(at, 1 + random_.Below(rest)));
        break;
      case 7: {
        const std::string& other = corpus[random_.Below(corpus.size())];
        if (!other.empty()) input->replace(at, rest, other.substr(At(other)));
        break;
      }
      default:
        (*input)[0] = static_cast<char>(random_.Next());  // the target's mode
    }
  }

  // Numbers at the borders of their types and of the formats.
  void SetNumber(std::string* input, size_t at) {
    static constexpr uint64_t kNumbers[] = {0,          1,
                                            2,          7,
                                            8,          16,
                                            31,         32,
                                            33,         55,
                                            56,         57,
                                            127,        128,
                                            129,        255,
                                            4095,       4096,
                                            4097,       32767,
                                            32768,      32769,
                                            65535,      65536,
                                            1000000,    1000001,
                                            1 << 20,    (1 << 20) + 1,
                                            1 << 26,    (1 << 26) + 1,
                                            1 << 27,    INT32_MAX,
                                            1ull << 31, UINT32_MAX,
                                            1ull << 32, INT64_MAX,
                                            1ull << 63, UINT64_MAX - 7,
                                            UINT64_MAX};
    uint64_t number = kNumbers[random_.Below(std::size(kNumbers))];
    const size_t width = size_t{1} << random_.Below(4);
    if (at + width > input->size()) return;
    if (random_.OneIn(2)) {
      uint64_t old = 0;
      std::memcpy(&old, input->data() + at, width);
      number = random_.OneIn(2) ? old + 1 : old - 1;
    }
    std::memcpy(input->data() + at, &number, width);
  }

  SeededRandom random_;
};

double Seconds() {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// A copy of its own on the heap: reading outside of it is seen by the address sanitizer.
void RunOne(const Target& target, const std::string& input) {
  current_input = input;
  const std::vector<char> copy(input.begin(), input.end());
  ForgetArrivals();
  counting = true;
  (void)alarm(20);  // an input that takes so long is a bug, too
  target.run(Slice(copy.data(), copy.size()));
  (void)alarm(0);
  counting = false;
}

std::string ReadInput(const char* path) {
  std::string bytes;
  FILE* const file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::fprintf(stderr, "cannot open %s\n", path);
    std::exit(2);
  }
  char buffer[4096];
  for (size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
    bytes.append(buffer, got);
  (void)std::fclose(file);
  return bytes;
}

void Fuzz(const Target& target, std::vector<std::string> corpus, double seconds, uint64_t seed) {
  for (const std::string& file : corpus) RunOne(target, file);
  for (std::string& input : target.seeds()) {
    RunOne(target, input);
    (void)ReachedNewPlace();
    corpus.push_back(std::move(input));
  }
  Mutator mutator(seed);
  uint64_t runs = 0;
  for (const double end = Seconds() + seconds; Seconds() < end; ++runs) {
    std::string input = mutator.Mutate(corpus);
    RunOne(target, input);
    if (ReachedNewPlace() && corpus.size() < kCorpusMax) corpus.push_back(std::move(input));
  }
  size_t places = 0;
  for (const uint8_t place : known) places += place;
  std::printf("%s: %" PRIu64 " runs, %zu inputs kept, %zu places, seed %" PRIu64 "\n", target.name,
              runs, corpus.size(), places, seed);
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc();
extern "C" void __sanitizer_cov_trace_pc() {
  if (!counting) return;
  const auto place = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  const auto at = static_cast<uint32_t>((place ^ (place >> 16)) % kPlaces);
  if (reached[at] != 0) return;
  reached[at] = 1;
  arrived[arrivals++] = at;
}

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const Target& target : Targets()) std::printf("%s\n", target.name);
    return 0;
  }
  const Target* const target = argc > 1 ? FindTarget(argv[1]) : nullptr;
  if (target == nullptr) {
    std::fprintf(stderr, "name a target: fuzz --list\n");
    return 2;
  }
  double seconds = 0;
  uint64_t seed = 1;
  std::vector<std::string> inputs;
  for (int i = 2; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (more && std::strcmp(argv[i], "--seconds") == 0)
      seconds = std::atof(argv[++i]);
    else if (more && std::strcmp(argv[i], "--seed") == 0)
      seed = std::strtoull(argv[++i], nullptr, 10);
    else if (more && std::strcmp(argv[i], "--artifact") == 0)
      artifact_path = argv[++i];
    else
      inputs.push_back(ReadInput(argv[i]));
  }
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) {
    (void)signal(number, OnSignal);
  }
  Fuzz(*target, std::move(inputs), seconds, seed);
  return 0;
}

#endif
