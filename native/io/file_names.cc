// Names of a data directory: written and parsed by one description each.
#include "io/file_names.h"

namespace gapless::io {
namespace {

constexpr char kGenerationPrefix[] = "gen-";
constexpr char kManifestPrefix[] = "MANIFEST-";
constexpr char kRunPrefix[] = "run-";
constexpr char kValuesPrefix[] = "values-";
constexpr char kFlowPrefix[] = "flow-";
constexpr char kSegmentSuffix[] = ".log";
constexpr char kIndexSuffix[] = ".idx";
constexpr size_t kShortDigits = 6;
constexpr size_t kFlowDigits = 5;
constexpr size_t kOffsetDigits = 20;
constexpr size_t kSnapshotNameMax = 64;

std::string Padded(uint64_t number, size_t digits) {
  std::string text = std::to_string(number);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return text;
}

// Accepts what Padded(number, digits) writes; false also for a number beyond 64 bits.
bool ParsePadded(Slice text, size_t digits, uint64_t* number) {
  if (text.size() < digits || text.size() > kOffsetDigits) return false;
  if (text.size() > digits && text[0] == '0') return false;
  uint64_t parsed = 0;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    const auto digit = static_cast<uint64_t>(text[i] - '0');
    if (parsed > (UINT64_MAX - digit) / 10) return false;
    parsed = parsed * 10 + digit;
  }
  *number = parsed;
  return true;
}

bool ParseBetween(Slice name, Slice prefix, Slice suffix, size_t digits, uint64_t* number) {
  if (name.size() < prefix.size() + suffix.size() || !name.StartsWith(prefix)) return false;
  const size_t middle = name.size() - prefix.size() - suffix.size();
  if (name.Sub(prefix.size() + middle, suffix.size()) != suffix) return false;
  return ParsePadded(name.Sub(prefix.size(), middle), digits, number);
}

// Takes the number before `end` off the front of `*text`, and `end` with it.
bool TakeNumber(Slice* text, char end, uint64_t max, uint64_t* number) {
  const size_t at = text->View().find(end);
  if (at == std::string_view::npos) return false;
  if (!ParsePadded(text->Sub(0, at), 1, number) || *number > max) return false;
  text->RemovePrefix(at + 1);
  return true;
}

}  // namespace

std::string GenerationName(uint64_t generation) {
  return kGenerationPrefix + Padded(generation, kShortDigits);
}
bool ParseGenerationName(Slice name, uint64_t* generation) {
  return ParseBetween(name, kGenerationPrefix, "", kShortDigits, generation);
}

std::string ManifestName(uint64_t number) { return kManifestPrefix + Padded(number, kShortDigits); }
bool ParseManifestName(Slice name, uint64_t* number) {
  return ParseBetween(name, kManifestPrefix, "", kShortDigits, number);
}

std::string RunName(uint64_t number) { return kRunPrefix + Padded(number, kShortDigits); }
bool ParseRunName(Slice name, uint64_t* number) {
  return ParseBetween(name, kRunPrefix, "", kShortDigits, number);
}

std::string ValuesName(uint64_t number) { return kValuesPrefix + Padded(number, kShortDigits); }
bool ParseValuesName(Slice name, uint64_t* number) {
  return ParseBetween(name, kValuesPrefix, "", kShortDigits, number);
}

std::string SegmentName(uint64_t offset) { return Padded(offset, kOffsetDigits) + kSegmentSuffix; }
bool ParseSegmentName(Slice name, uint64_t* offset) {
  return ParseBetween(name, "", kSegmentSuffix, kOffsetDigits, offset);
}

std::string SegmentIndexName(uint64_t offset) {
  return Padded(offset, kOffsetDigits) + kIndexSuffix;
}
bool ParseSegmentIndexName(Slice name, uint64_t* offset) {
  return ParseBetween(name, "", kIndexSuffix, kOffsetDigits, offset);
}

std::string FlowName(uint64_t flow) { return kFlowPrefix + Padded(flow, kFlowDigits); }
bool ParseFlowName(Slice name, uint64_t* flow) {
  return ParseBetween(name, kFlowPrefix, "", kFlowDigits, flow);
}

std::string LostName(uint32_t term, uint32_t run, uint64_t first_seq, uint64_t last_seq) {
  return std::to_string(term) + "." + std::to_string(run) + "-" + std::to_string(first_seq) + "-" +
         std::to_string(last_seq) + kSegmentSuffix;
}

bool ParseLostName(Slice name, uint32_t* term, uint32_t* run, uint64_t* first_seq,
                   uint64_t* last_seq) {
  uint64_t parsed_term = 0;
  uint64_t parsed_run = 0;
  uint64_t parsed_first = 0;
  uint64_t parsed_last = 0;
  const bool parsed = TakeNumber(&name, '.', UINT32_MAX, &parsed_term) &&
                      TakeNumber(&name, '-', UINT32_MAX, &parsed_run) &&
                      TakeNumber(&name, '-', UINT64_MAX, &parsed_first) &&
                      TakeNumber(&name, '.', UINT64_MAX, &parsed_last) && name == "log";
  if (!parsed) return false;
  *term = static_cast<uint32_t>(parsed_term);
  *run = static_cast<uint32_t>(parsed_run);
  *first_seq = parsed_first;
  *last_seq = parsed_last;
  return true;
}

bool IsTemporaryName(Slice name) { return name.View().ends_with(kTemporarySuffix); }

bool IsDataDirectoryName(Slice name) {
  for (const char* own : {kLockFile, kIdentityFile, kStateFile, kCurrentFile, kSnapshotsDirectory,
                          kIncomingDirectory, kLostDirectory, kQuarantineDirectory}) {
    if (name == own || name.View() == std::string(own) + kTemporarySuffix) return true;
  }
  uint64_t generation = 0;
  return ParseGenerationName(name, &generation);
}

bool IsSnapshotName(Slice name) {
  if (name.empty() || name.size() > kSnapshotNameMax || name == "." || name == "..") return false;
  for (const char c : name.View()) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool other = (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!letter && !other) return false;
  }
  return true;
}

}  // namespace gapless::io
