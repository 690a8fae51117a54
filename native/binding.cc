// The addon's entry point: Node loads it once per thread and receives the exports object.
#include <napi.h>

namespace {

Napi::Object Init(Napi::Env /*env*/, Napi::Object exports) { return exports; }

}  // namespace

NODE_API_MODULE(gaplessdb, Init)
