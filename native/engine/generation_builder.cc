// The replica's side of a full sync, and restore: a generation built beside the live one.
#include "engine/generation_builder.h"

#include "engine/engine_impl.h"

namespace gapless::engine {

Result<std::unique_ptr<GenerationBuilder>> MakeGenerationBuilder(EngineImpl* engine) {
  return Status::Error(Code::kNotReady, "a full sync needs the generation builder")
      .WithFile(engine->path(), -1);
}

}  // namespace gapless::engine
