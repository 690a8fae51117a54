// Batch bodies, checks and control bodies, as a caller or a peer may send them: the judge and the
// walker agree, decoding and encoding are each other's inverse, nothing is read outside.
#include "base/coding.h"
#include "engine/write_request.h"
#include "fuzz.h"
#include "log/record.h"

namespace gapless::fuzz {
namespace {

void WalkBatch(Slice body) {
  uint32_t operations = 0;
  const bool whole = log::CheckBatchBody(body, &operations).ok();
  log::BatchReader reader(body);
  log::Operation operation;
  uint32_t walked = 0;
  uint64_t bytes = 0;
  while (reader.Next(&operation)) {
    ++walked;
    for (const char c : operation.key.View()) bytes += static_cast<uint8_t>(c);
    for (const char c : operation.value.View()) bytes += static_cast<uint8_t>(c);
  }
  if (!whole) return;
  FUZZ_CHECK(!reader.malformed());
  FUZZ_CHECK(walked == operations);
}

void Commit(Slice input) {
  if (input.size() < 4) return;
  engine::WriteRequest request;
  const size_t body_bytes = std::min<size_t>(LoadU16(input.data()), input.size() - 4);
  request.operations = LoadU16(input.data() + 2);
  input.RemovePrefix(4);
  request.body = input.Sub(0, body_bytes);
  request.checks = input.Sub(body_bytes, input.size() - body_bytes);
  engine::Work work;
  if (!engine::PrepareBatch(request, log::Durability::kSync, &work).ok()) return;
  table::Store store(table::StoreOptions{.shards = 2});
  store.Apply({table::MutationKind::kPut, "n", "41", false, 0, 1});
  store.Apply({table::MutationKind::kPut, "m", "9223372036854775807", false, 0, 2});
  store.Publish(2);
  const table::ReadGuard guard(&store);
  const engine::StateBefore before{&store, {2, 0}, [](uint64_t) { return Epoch{1, 0}; }};
  (void)engine::EvaluateChecks(work.checks, before);
  std::string effects;
  std::vector<int64_t> results;
  if (!engine::EvaluateIncrements(work.body, before, &effects, &results).ok()) return;
  uint32_t operations = 0;
  FUZZ_CHECK(work.operations == 0 || log::CheckBatchBody(effects, &operations).ok());
  FUZZ_CHECK(work.operations == operations);
}

void Control(Slice input) {
  log::EpochBody epoch;
  if (log::DecodeEpochBody(input, &epoch)) FUZZ_CHECK(Slice(log::EncodeEpochBody(epoch)) == input);
  log::CursorBody cursor;
  if (log::DecodeCursorBody(input, &cursor)) {
    FUZZ_CHECK(Slice(log::EncodeCursorBody(cursor)) == input);
  }
  log::ConfigBody config;
  if (log::DecodeConfigBody(input, &config)) {
    FUZZ_CHECK(Slice(log::EncodeConfigBody(config)) == input);
  }
}

void Run(Slice input) {
  const uint8_t mode = TakeMode(&input);
  if (mode % 3 == 0) WalkBatch(input);
  if (mode % 3 == 1) Commit(input);
  if (mode % 3 == 2) Control(input);
}

std::string Operation(uint8_t op, uint8_t flags, const std::string& key, const std::string& value,
                      bool expiry = false) {
  std::string bytes = {static_cast<char>(op), static_cast<char>(flags)};
  AppendLe<uint16_t>(&bytes, static_cast<uint16_t>(key.size()));
  AppendLe<uint32_t>(&bytes, static_cast<uint32_t>(value.size()));
  if (expiry) AppendLe<uint64_t>(&bytes, 1700000000000);
  return bytes + key + value;
}

std::string Request(const std::string& body, uint16_t operations, const std::string& checks) {
  std::string bytes = "\x01";
  AppendLe<uint16_t>(&bytes, static_cast<uint16_t>(body.size()));
  AppendLe<uint16_t>(&bytes, operations);
  return bytes + body + checks;
}

std::vector<std::string> Seeds() {
  const std::string puts = Operation(1, 0, "k", "value") + Operation(1, 1, "e", "x", true) +
                           Operation(2, 0, "gone", "") + Operation(3, 0, "a", "b") +
                           Operation(3, 2, "z", "");
  std::string by;
  AppendLe<int64_t>(&by, 1);
  std::string check;
  AppendLe<uint16_t>(&check, 1);
  AppendLe<uint16_t>(&check, 0);
  AppendLe<uint32_t>(&check, 1);
  AppendLe<uint32_t>(&check, 0);
  AppendLe<uint64_t>(&check, 1);
  const std::string body =
      Operation(4, 0, "n", by) + Operation(1, 0, "p", "q") + Operation(4, 0, "m", by);
  const std::string mode_control = "\x02";
  return {std::string(1, '\0') + puts,
          Request(body, 3, check + "n"),
          Request(Operation(4, 0, "n", by), 1, ""),
          mode_control + log::EncodeEpochBody({}),
          mode_control + log::EncodeCursorBody({{{1, 2}, 3, 4, 5}, "indexer"}),
          mode_control + log::EncodeConfigBody({1, {}})};
}

const Registration kTarget({"body", Run, Seeds});

}  // namespace
}  // namespace gapless::fuzz
