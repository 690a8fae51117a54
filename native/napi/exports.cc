// The exports object. See exports.h.
#include "napi/exports.h"

#include "napi/codec.h"
#include "napi/env_data.h"
#include "napi/offline.h"
#include "napi/store_handle.h"

namespace gapless::napi {

void FillExports(napi_env env, napi_value exports) {
  SetUpEnvData(env);
  DefineStoreClass(env);
  DefineFlowClasses(env);
  DefineGenerationClass(env);
  const napi_property_descriptor functions[] = {
      Method("setHooks", SetHooks),
      Method("openStore", OpenStore),
      Method("attachStore", AttachStore),
  };
  napi_define_properties(env, exports, std::size(functions), functions);
  AddCodecExports(env, exports);
  AddOfflineExports(env, exports);
}

}  // namespace gapless::napi
