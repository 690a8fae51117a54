// The engines that this process uses through the addon: counted references, whatever thread holds
// them. With the last reference the ring is taken off and the engine released (syncs, joins
// threads).
//
// The table is process-wide and is never destroyed: exit() runs static destructors while threads of
// ours may still run. Any thread; no lock is held while an engine opens or closes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "engine/engine.h"
#include "napi/ring_sink.h"

namespace gapless::napi {

struct EngineEntry;

class EngineRef {
 public:
  EngineRef() = default;
  EngineRef(const EngineRef& other);
  EngineRef(EngineRef&& other) noexcept;
  EngineRef& operator=(EngineRef other) noexcept;
  ~EngineRef();

  // Opens or joins. `name_options` gets the options of an engine that is open on this directory, or
  // the defaults, and sets those that the caller named. Waits.
  static Result<EngineRef> Open(const std::string& path,
                                const std::function<void(engine::Options*)>& name_options);
  // kNotOpen if no engine with this token is in use.
  static Result<EngineRef> Attach(uint64_t token);

  explicit operator bool() const { return entry_ != nullptr; }
  engine::Engine* get() const;
  engine::Engine* operator->() const { return get(); }
  uint64_t token() const;
  RingSink* ring() const;
  // The meta state of each pin, so that any handle can make its flows. kEvicted: no such pin.
  void KeepPinned(uint64_t pin, const log::MetaState& meta) const;
  void ForgetPinned(uint64_t pin) const;
  Result<log::MetaState> PinnedMeta(uint64_t pin) const;
  // Gives the reference up; waits if it was the last one, and returns how the engine closed.
  Status Release();

 private:
  explicit EngineRef(EngineEntry* entry) : entry_(entry) {}
  EngineEntry* entry_ = nullptr;
};

}  // namespace gapless::napi
