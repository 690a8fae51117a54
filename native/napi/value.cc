// Values in both directions. See value.h.
#include "napi/value.h"

#include <cmath>
#include <cstdio>

#include "base/hex.h"

namespace gapless::napi {

namespace {
constexpr double kSafeIntegerMax = 9007199254740991.0;
}

napi_value MakeUndefined(napi_env env) {
  napi_value value = nullptr;
  napi_get_undefined(env, &value);
  return value;
}

napi_value MakeNull(napi_env env) {
  napi_value value = nullptr;
  napi_get_null(env, &value);
  return value;
}

napi_value MakeBool(napi_env env, bool flag) {
  napi_value value = nullptr;
  napi_get_boolean(env, flag, &value);
  return value;
}

napi_value MakeNumber(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

napi_value MakeCount(napi_env env, uint64_t number) {
  return MakeNumber(env, static_cast<double>(number));
}

napi_value MakeBig(napi_env env, uint64_t number) {
  napi_value value = nullptr;
  napi_create_bigint_uint64(env, number, &value);
  return value;
}

napi_value MakeSignedBig(napi_env env, int64_t number) {
  napi_value value = nullptr;
  napi_create_bigint_int64(env, number, &value);
  return value;
}

napi_value MakeText(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value MakeHex64(napi_env env, uint64_t number) { return MakeText(env, HexU64(number)); }

napi_value MakeId(napi_env env, const Id128& id) {
  return MakeText(env, HexEncode(Slice(id.data(), id.size())));
}

napi_value MakeBytes(napi_env env, Slice bytes) {
  napi_value value = nullptr;
  napi_create_buffer_copy(env, bytes.size(), bytes.data(), nullptr, &value);
  return value;
}

napi_value MakeArray(napi_env env) {
  napi_value value = nullptr;
  napi_create_array(env, &value);
  return value;
}

void Push(napi_env env, napi_value array, napi_value value) {
  uint32_t length = 0;
  if (array == nullptr || value == nullptr) return;
  if (napi_get_array_length(env, array, &length) != napi_ok) return;
  napi_set_element(env, array, length, value);
}

ObjectBuilder::ObjectBuilder(napi_env env) : env_(env) { napi_create_object(env, &object_); }

ObjectBuilder& ObjectBuilder::Set(const char* name, napi_value value) {
  if (object_ != nullptr && value != nullptr) napi_set_named_property(env_, object_, name, value);
  return *this;
}
ObjectBuilder& ObjectBuilder::Count(const char* name, uint64_t value) {
  return Set(name, MakeCount(env_, value));
}
ObjectBuilder& ObjectBuilder::Big(const char* name, uint64_t value) {
  return Set(name, MakeBig(env_, value));
}
ObjectBuilder& ObjectBuilder::Text(const char* name, const std::string& value) {
  return Set(name, MakeText(env_, value));
}
ObjectBuilder& ObjectBuilder::Bool(const char* name, bool value) {
  return Set(name, MakeBool(env_, value));
}
ObjectBuilder& ObjectBuilder::Null(const char* name) { return Set(name, MakeNull(env_)); }

bool Refuse(napi_env env, const char* what) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    const std::string message = std::string("native call: ") + what + " is not what it must be";
    napi_throw_type_error(env, nullptr, message.c_str());
  }
  return false;
}

bool ReadNumber(napi_env env, napi_value value, const char* name, double* to) {
  if (napi_get_value_double(env, value, to) != napi_ok) return Refuse(env, name);
  return true;
}

bool ReadCount(napi_env env, napi_value value, const char* name, uint64_t* to) {
  double number = 0;
  if (!ReadNumber(env, value, name, &number)) return false;
  if (!(number >= 0) || number > kSafeIntegerMax || number != std::floor(number)) {
    return Refuse(env, name);
  }
  *to = static_cast<uint64_t>(number);
  return true;
}

bool ReadU32(napi_env env, napi_value value, const char* name, uint32_t* to) {
  uint64_t number = 0;
  if (!ReadCount(env, value, name, &number)) return false;
  if (number > UINT32_MAX) return Refuse(env, name);
  *to = static_cast<uint32_t>(number);
  return true;
}

bool ReadBig(napi_env env, napi_value value, const char* name, uint64_t* to) {
  bool lossless = false;
  if (napi_get_value_bigint_uint64(env, value, to, &lossless) != napi_ok || !lossless) {
    return Refuse(env, name);
  }
  return true;
}

bool ReadBool(napi_env env, napi_value value, const char* name, bool* to) {
  if (napi_get_value_bool(env, value, to) != napi_ok) return Refuse(env, name);
  return true;
}

bool ReadText(napi_env env, napi_value value, const char* name, std::string* to) {
  size_t size = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &size) != napi_ok) {
    return Refuse(env, name);
  }
  to->resize(size + 1);
  if (napi_get_value_string_utf8(env, value, to->data(), size + 1, &size) != napi_ok) {
    return Refuse(env, name);
  }
  to->resize(size);
  return true;
}

bool ReadId(napi_env env, napi_value value, const char* name, Id128* to) {
  std::string text;
  std::string bytes;
  if (!ReadText(env, value, name, &text)) return false;
  if (!HexDecode(text, &bytes) || bytes.size() != to->size()) return Refuse(env, name);
  std::memcpy(to->data(), bytes.data(), to->size());
  return true;
}

bool ReadHex64(napi_env env, napi_value value, const char* name, uint64_t* to) {
  std::string text;
  if (!ReadText(env, value, name, &text)) return false;
  return ParseHexU64(text, to) || Refuse(env, name);
}

bool ReadEpoch(napi_env env, napi_value value, const char* name, Epoch* to) {
  std::string text;
  if (!ReadText(env, value, name, &text)) return false;
  unsigned term = 0;
  unsigned run = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%u.%u%c", &term, &run, &rest) != 2) return Refuse(env, name);
  *to = Epoch{term, run};
  return true;
}

bool ReadPosition(napi_env env, napi_value value, const char* name, Position* to) {
  napi_value part = nullptr;
  if (!ReadProperty(env, value, "epoch", &part) || !ReadEpoch(env, part, name, &to->epoch)) {
    return false;
  }
  if (!ReadProperty(env, value, "seq", &part) || !ReadBig(env, part, name, &to->seq)) return false;
  if (!ReadProperty(env, value, "offset", &part) || !ReadBig(env, part, name, &to->offset)) {
    return false;
  }
  return ReadProperty(env, value, "chain", &part) && ReadHex64(env, part, name, &to->chain);
}

bool ReadBytes(napi_env env, napi_value value, const char* name, Slice* to) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  napi_value memory = nullptr;
  bool is_plain = false;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, &memory, nullptr) != napi_ok ||
      type != napi_uint8_array || napi_is_arraybuffer(env, memory, &is_plain) != napi_ok ||
      !is_plain) {
    return Refuse(env, name);
  }
  *to = length == 0 ? Slice() : Slice(static_cast<const char*>(data), length);
  return true;
}

bool ReadProperty(napi_env env, napi_value object, const char* name, napi_value* to) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, object, &type) != napi_ok || type != napi_object) return Refuse(env, name);
  if (napi_get_named_property(env, object, name, to) != napi_ok) return Refuse(env, name);
  return true;
}

bool IsNullish(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  return value == nullptr || napi_typeof(env, value, &type) != napi_ok || type == napi_undefined ||
         type == napi_null;
}

}  // namespace gapless::napi
