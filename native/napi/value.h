// Making and reading JavaScript values with the C interface of Node-API; nothing here knows the
// engine. JavaScript threads only.
//
// Makers return nullptr when the environment refuses (it is being torn down, or an exception is
// pending); passing nullptr on is harmless: setters ignore it and the caller returns it to Node,
// which takes it for undefined. Readers return false with a TypeError pending.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>

#include "base/slice.h"
#include "log/position.h"

namespace gapless::napi {

napi_value MakeUndefined(napi_env env);
napi_value MakeNull(napi_env env);
napi_value MakeBool(napi_env env, bool value);
napi_value MakeNumber(napi_env env, double value);
napi_value MakeCount(napi_env env, uint64_t value);  // exact up to 2^53, which no count here passes
napi_value MakeBig(napi_env env, uint64_t value);
napi_value MakeSignedBig(napi_env env, int64_t value);
napi_value MakeText(napi_env env, const std::string& text);
napi_value MakeHex64(napi_env env, uint64_t value);
napi_value MakeId(napi_env env, const Id128& id);
napi_value MakeBytes(napi_env env, Slice bytes);  // a Buffer of its own
napi_value MakeArray(napi_env env);
void Push(napi_env env, napi_value array, napi_value value);

class ObjectBuilder {
 public:
  explicit ObjectBuilder(napi_env env);
  ObjectBuilder& Set(const char* name, napi_value value);
  ObjectBuilder& Count(const char* name, uint64_t value);
  ObjectBuilder& Big(const char* name, uint64_t value);
  ObjectBuilder& Text(const char* name, const std::string& value);
  ObjectBuilder& Bool(const char* name, bool value);
  ObjectBuilder& Null(const char* name);
  napi_value Done() const { return object_; }

 private:
  napi_env env_;
  napi_value object_ = nullptr;
};

// Throws a TypeError unless an exception is pending already; returns false.
bool Refuse(napi_env env, const char* what);

bool ReadNumber(napi_env env, napi_value value, const char* name, double* to);
bool ReadU32(napi_env env, napi_value value, const char* name, uint32_t* to);
bool ReadCount(napi_env env, napi_value value, const char* name, uint64_t* to);  // safe integers
bool ReadBig(napi_env env, napi_value value, const char* name, uint64_t* to);
bool ReadBool(napi_env env, napi_value value, const char* name, bool* to);
bool ReadText(napi_env env, napi_value value, const char* name, std::string* to);
bool ReadId(napi_env env, napi_value value, const char* name, Id128* to);
bool ReadHex64(napi_env env, napi_value value, const char* name, uint64_t* to);
bool ReadEpoch(napi_env env, napi_value value, const char* name, Epoch* to);
bool ReadPosition(napi_env env, napi_value value, const char* name, Position* to);
// A Uint8Array that is not backed by shared memory; valid until JavaScript runs again.
bool ReadBytes(napi_env env, napi_value value, const char* name, Slice* to);
bool ReadProperty(napi_env env, napi_value object, const char* name, napi_value* to);
bool IsNullish(napi_env env, napi_value value);

}  // namespace gapless::napi
