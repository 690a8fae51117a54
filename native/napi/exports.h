// Everything that the addon exports; src/binding/contract.ts is its type.
#pragma once

#include <node_api.h>

namespace gapless::napi {

void FillExports(napi_env env, napi_value exports);

}  // namespace gapless::napi
