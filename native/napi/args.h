// Arguments of one native call. JavaScript thread; valid for the duration of the call.
//
// Typed arrays are looked at anew in every call: a buffer that was detached or shrunk meanwhile has
// another length then, and is refused or used only as far as it reaches.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "base/slice.h"
#include "napi/value.h"

namespace gapless::napi {

struct MutableBytes {
  char* data = nullptr;
  size_t size = 0;
};

class Args {
 public:
  static constexpr size_t kMax = 8;

  Args(napi_env environment, napi_callback_info info) : env(environment) {
    napi_get_cb_info(env, info, &count_, values_, &self, &bound);
  }
  napi_value operator[](size_t index) const { return values_[index]; }

  // The quick readers of hot paths: no check for shared memory (our own scratch buffers only).
  bool Uint(size_t index, uint32_t* to) const {
    return napi_get_value_uint32(env, values_[index], to) == napi_ok || Refuse(env, "a number");
  }
  bool Int(size_t index, int32_t* to) const {
    return napi_get_value_int32(env, values_[index], to) == napi_ok || Refuse(env, "a number");
  }
  bool Flag(size_t index, bool* to) const { return ReadBool(env, values_[index], "a flag", to); }
  bool Scratch(size_t index, MutableBytes* to) const {
    void* data = nullptr;
    if (!Array(index, napi_uint8_array, &data, &to->size)) return false;
    to->data = static_cast<char*>(data);
    return true;
  }
  // The first `size` bytes of a scratch buffer.
  bool ScratchPrefix(size_t index, size_t size, Slice* to) const {
    MutableBytes bytes;
    if (!Scratch(index, &bytes)) return false;
    if (size > bytes.size) return Refuse(env, "a length");
    *to = size == 0 ? Slice() : Slice(bytes.data, size);
    return true;
  }
  bool Words(size_t index, size_t least, uint64_t** to) const {
    void* data = nullptr;
    size_t length = 0;
    if (!Array(index, napi_biguint64_array, &data, &length)) return false;
    if (length < least) return Refuse(env, "the length of an out-parameter");
    *to = static_cast<uint64_t*>(data);
    return true;
  }
  bool Ints(size_t index, size_t least, int32_t** to) const {
    void* data = nullptr;
    size_t length = 0;
    if (!Array(index, napi_int32_array, &data, &length)) return false;
    if (length < least) return Refuse(env, "the length of an out-parameter");
    *to = static_cast<int32_t*>(data);
    return true;
  }

  size_t count() const { return count_; }  // as the caller gave them

  const napi_env env;
  napi_value self = nullptr;
  void* bound = nullptr;  // what the function was made with

 private:
  bool Array(size_t index, napi_typedarray_type wanted, void** data, size_t* length) const {
    napi_typedarray_type type = napi_int8_array;
    if (napi_get_typedarray_info(env, values_[index], &type, length, data, nullptr, nullptr) !=
            napi_ok ||
        type != wanted) {
      return Refuse(env, "a typed array");
    }
    return true;
  }

  size_t count_ = kMax;
  napi_value values_[kMax] = {};
};

}  // namespace gapless::napi
