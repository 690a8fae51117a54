// Status: building errors and writing them out. A Status is immutable once built, so that copies
// may be read by several threads at once.
#include "base/status.h"

#include <cerrno>
#include <system_error>

namespace gapless {
namespace {

const std::string kNoText;
const std::vector<Detail> kNoDetails;

}  // namespace

const char* CodeText(Code code) {
  switch (code) {
#define GAPLESS_CODE_TEXT(name, text) \
  case Code::name:                    \
    return text;
    GAPLESS_CODES(GAPLESS_CODE_TEXT)
#undef GAPLESS_CODE_TEXT
  }
  return "UNKNOWN";
}

Status Status::Error(Code code, std::string message) {
  GAPLESS_ASSERT(code != Code::kOk);
  auto rep = std::make_shared<Rep>();
  rep->code = code;
  rep->message = std::move(message);
  return Status(std::move(rep));
}

Status Status::FromErrno(int sys_errno, std::string what, std::string file) {
  const bool no_space = sys_errno == ENOSPC || sys_errno == EDQUOT;
  auto rep = std::make_shared<Rep>();
  rep->code = no_space ? Code::kNoSpace : Code::kIo;
  rep->message = std::move(what) + ": " + std::generic_category().message(sys_errno);
  rep->sys_errno = sys_errno;
  rep->file = std::move(file);
  return Status(std::move(rep));
}

Status Status::Corrupt(std::string what, std::string file, uint64_t offset) {
  auto rep = std::make_shared<Rep>();
  rep->code = Code::kCorrupt;
  rep->message = std::move(what);
  rep->file = std::move(file);
  rep->offset = static_cast<int64_t>(offset);
  return Status(std::move(rep));
}

const std::string& Status::message() const { return rep_ == nullptr ? kNoText : rep_->message; }
const std::string& Status::file() const { return rep_ == nullptr ? kNoText : rep_->file; }
const std::vector<Detail>& Status::details() const {
  return rep_ == nullptr ? kNoDetails : rep_->details;
}

Status Status::WithFile(std::string file, int64_t offset) const {
  GAPLESS_ASSERT(!ok());
  auto rep = std::make_shared<Rep>(*rep_);
  rep->file = std::move(file);
  rep->offset = offset;
  return Status(std::move(rep));
}

Status Status::With(std::string name, std::string text) const {
  GAPLESS_ASSERT(!ok());
  auto rep = std::make_shared<Rep>(*rep_);
  Detail detail;
  detail.name = std::move(name);
  detail.text = std::move(text);
  rep->details.push_back(std::move(detail));
  return Status(std::move(rep));
}

Status Status::With(std::string name, int64_t number) const {
  GAPLESS_ASSERT(!ok());
  auto rep = std::make_shared<Rep>(*rep_);
  Detail detail;
  detail.name = std::move(name);
  detail.number = number;
  detail.is_number = true;
  rep->details.push_back(std::move(detail));
  return Status(std::move(rep));
}

Status Status::Wrap(const std::string& doing) const {
  GAPLESS_ASSERT(!ok());
  auto rep = std::make_shared<Rep>(*rep_);
  rep->message = doing + ": " + rep->message;
  return Status(std::move(rep));
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string text = std::string(CodeText(code())) + ": " + message();
  std::string facts;
  const auto add = [&facts](const std::string& name, const std::string& value) {
    facts += facts.empty() ? " (" : ", ";
    facts += name + " " + value;
  };
  if (!file().empty()) add("file", file());
  if (offset() >= 0) add("offset", std::to_string(offset()));
  if (sys_errno() != 0) add("errno", std::to_string(sys_errno()));
  for (const Detail& detail : details()) {
    add(detail.name, detail.is_number ? std::to_string(detail.number) : detail.text);
  }
  return facts.empty() ? text : text + facts + ")";
}

}  // namespace gapless
