// Exports that need no store: checksums, record verification, tokens, layout constants.
#pragma once

#include <node_api.h>

namespace gapless::napi {

void AddCodecExports(napi_env env, napi_value exports);

}  // namespace gapless::napi
