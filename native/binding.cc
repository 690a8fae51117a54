// The addon's entry point: Node loads it once per thread and receives the exports object.
#include <node_api.h>

#include "napi/exports.h"

NAPI_MODULE_INIT() {
  gapless::napi::FillExports(env, exports);
  return exports;
}
