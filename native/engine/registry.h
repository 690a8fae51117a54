// The engines of this process, by the device and inode of their directories.
//
// Open joins an engine that is open already, or opens one while others that ask for it wait; the
// last Release closes it while a new Open of the same directory waits. Any thread.
#pragma once

#include "base/status.h"
#include "engine/engine_impl.h"

namespace gapless::engine {

Status ReleaseEngine(EngineImpl* engine);

}  // namespace gapless::engine
