// What belongs to one environment (thread): the hooks into JavaScript, the constructors of our
// classes, the open handles. Created by Init, dropped with the environment. That thread only.
//
// Teardown: one cleanup hook per handle (store_handle.cc), added behind the handle's thread-safe
// function, so that it runs before Node ends that function.
#pragma once

#include <node_api.h>

#include "base/status.h"
#include "log/position.h"

namespace gapless::napi {

struct EnvData {
  napi_ref make_error = nullptr;
  napi_ref make_position = nullptr;
  napi_ref store_class = nullptr;
  napi_ref flow_class = nullptr;
  napi_ref flow_file_class = nullptr;
  napi_ref generation_class = nullptr;
};

// Null while the environment has none.
EnvData* DataOf(napi_env env);
void SetUpEnvData(napi_env env);

// setHooks({error, position}).
napi_value SetHooks(napi_env env, napi_callback_info info);

// The Error object of a status, as src/errors.ts builds it. Requires: !status.ok().
napi_value MakeError(napi_env env, const Status& status);
// Throws it; returns nullptr so that a caller can `return Throw(...)`.
napi_value Throw(napi_env env, const Status& status);

napi_value MakePosition(napi_env env, const Position& position);

// Defines a class and keeps its constructor in *ref. New instances are made by NewInstance only.
void DefineClass(napi_env env, const char* name, size_t count,
                 const napi_property_descriptor* methods, napi_ref* ref);
// An instance that wraps `object`; `finalize` gets it back. nullptr: refused, nothing was taken.
napi_value NewInstance(napi_env env, napi_ref class_ref, const napi_type_tag& tag, void* object,
                       napi_finalize finalize);
// What NewInstance wrapped with this tag, or nullptr with a TypeError pending.
void* Unwrap(napi_env env, napi_value self, const napi_type_tag& tag);

}  // namespace gapless::napi
