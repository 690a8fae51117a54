// Factory of the generation builder: what Engine::NewGeneration returns.
#pragma once

#include <memory>

#include "base/status.h"
#include "engine/engine.h"

namespace gapless::engine {

class EngineImpl;

// The builder works beside the live generation of `engine`, which outlives it, and ends with
// EngineImpl::InstallGeneration.
Result<std::unique_ptr<GenerationBuilder>> MakeGenerationBuilder(EngineImpl* engine);

}  // namespace gapless::engine
