// Per-environment data, errors and class instances. See env_data.h.
#include "napi/env_data.h"

#include "napi/value.h"

namespace gapless::napi {

namespace {

napi_value Call(napi_env env, napi_ref function_ref, size_t count, const napi_value* arguments) {
  napi_value function = nullptr;
  napi_value result = nullptr;
  if (function_ref == nullptr) return nullptr;
  if (napi_get_reference_value(env, function_ref, &function) != napi_ok) return nullptr;
  const napi_value self = MakeUndefined(env);
  if (napi_call_function(env, self, function, count, arguments, &result) != napi_ok) return nullptr;
  return result;
}

void DropEnvData(napi_env /*env*/, void* data, void* /*hint*/) {
  delete static_cast<EnvData*>(data);
}

// Classes cannot be built from JavaScript: only with the key that NewInstance hands over.
napi_value Construct(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value key = nullptr;
  napi_value self = nullptr;
  napi_get_cb_info(env, info, &count, &key, &self, nullptr);
  void* object = nullptr;
  if (count != 1 || napi_get_value_external(env, key, &object) != napi_ok) {
    Refuse(env, "the constructor");
    return nullptr;
  }
  return self;
}

bool TakeFunction(napi_env env, napi_value hooks, const char* name, napi_ref* ref) {
  napi_value function = nullptr;
  napi_valuetype type = napi_undefined;
  if (!ReadProperty(env, hooks, name, &function)) return false;
  if (napi_typeof(env, function, &type) != napi_ok || type != napi_function) {
    return Refuse(env, name);
  }
  if (*ref != nullptr) napi_delete_reference(env, *ref);
  *ref = nullptr;
  return napi_create_reference(env, function, 1, ref) == napi_ok;
}

}  // namespace

EnvData* DataOf(napi_env env) {
  void* data = nullptr;
  if (napi_get_instance_data(env, &data) != napi_ok) return nullptr;
  return static_cast<EnvData*>(data);
}

void SetUpEnvData(napi_env env) {
  napi_set_instance_data(env, new EnvData(), DropEnvData, nullptr);
}

napi_value SetHooks(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value hooks = nullptr;
  napi_get_cb_info(env, info, &count, &hooks, nullptr, nullptr);
  EnvData* data = DataOf(env);
  if (data == nullptr || count < 1) return nullptr;
  if (!TakeFunction(env, hooks, "error", &data->make_error)) return nullptr;
  TakeFunction(env, hooks, "position", &data->make_position);
  return nullptr;
}

napi_value MakeError(napi_env env, const Status& status) {
  ObjectBuilder details(env);
  for (const Detail& detail : status.details()) {
    details.Set(detail.name.c_str(), detail.is_number
                                         ? MakeNumber(env, static_cast<double>(detail.number))
                                         : MakeText(env, detail.text));
  }
  ObjectBuilder plain(env);
  plain.Text("code", CodeText(status.code())).Text("message", status.message());
  plain.Set("errno", MakeNumber(env, status.sys_errno())).Text("file", status.file());
  plain.Set("offset", MakeNumber(env, static_cast<double>(status.offset())));
  plain.Set("details", details.Done());
  const napi_value argument = plain.Done();
  const EnvData* data = DataOf(env);
  if (data == nullptr || argument == nullptr) return nullptr;
  return Call(env, data->make_error, 1, &argument);
}

napi_value Throw(napi_env env, const Status& status) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || pending) return nullptr;
  const napi_value error = MakeError(env, status);
  if (error != nullptr) {
    napi_throw(env, error);
  } else if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
    napi_throw_error(env, CodeText(status.code()), status.message().c_str());
  }
  return nullptr;
}

napi_value MakePosition(napi_env env, const Position& position) {
  const EnvData* data = DataOf(env);
  const napi_value parts[4] = {MakeText(env, ToText(position.epoch)), MakeBig(env, position.seq),
                               MakeBig(env, position.offset), MakeHex64(env, position.chain)};
  if (data == nullptr) return nullptr;
  for (const napi_value part : parts) {
    if (part == nullptr) return nullptr;
  }
  return Call(env, data->make_position, 4, parts);
}

void DefineClass(napi_env env, const char* name, size_t count,
                 const napi_property_descriptor* methods, napi_ref* ref) {
  napi_value constructor = nullptr;
  if (napi_define_class(env, name, NAPI_AUTO_LENGTH, Construct, nullptr, count, methods,
                        &constructor) != napi_ok) {
    return;
  }
  napi_create_reference(env, constructor, 1, ref);
}

napi_value NewInstance(napi_env env, napi_ref class_ref, const napi_type_tag& tag, void* object,
                       napi_finalize finalize) {
  napi_value constructor = nullptr;
  napi_value key = nullptr;
  napi_value instance = nullptr;
  if (napi_get_reference_value(env, class_ref, &constructor) != napi_ok) return nullptr;
  if (napi_create_external(env, object, nullptr, nullptr, &key) != napi_ok) return nullptr;
  if (napi_new_instance(env, constructor, 1, &key, &instance) != napi_ok) return nullptr;
  if (napi_wrap(env, instance, object, finalize, nullptr, nullptr) != napi_ok) return nullptr;
  if (napi_type_tag_object(env, instance, &tag) != napi_ok) {
    void* back = nullptr;
    napi_remove_wrap(env, instance, &back);
    return nullptr;
  }
  return instance;
}

void* Unwrap(napi_env env, napi_value self, const napi_type_tag& tag) {
  bool ours = false;
  void* object = nullptr;
  if (napi_check_object_type_tag(env, self, &tag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, self, &object) != napi_ok) {
    Refuse(env, "the receiver");
    return nullptr;
  }
  return object;
}

}  // namespace gapless::napi
