// Exports that work on directories which are not open here: verify, digest, log, repair, restore.
#pragma once

#include <node_api.h>

namespace gapless::napi {

void AddOfflineExports(napi_env env, napi_value exports);

}  // namespace gapless::napi
