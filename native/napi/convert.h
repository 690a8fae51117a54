// Values of the rooms below as plain JavaScript objects, field by field as src/binding/contract.ts
// names them, and back. JavaScript thread; cold paths.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "engine/offline.h"
#include "napi/value.h"
#include "snapshot/snapshot.h"

namespace gapless::napi {

napi_value MakeMeta(napi_env env, const log::MetaState& meta);
bool ReadMeta(napi_env env, napi_value value, log::MetaState* meta);
napi_value MakeSummary(napi_env env, const snapshot::FlowSummary& summary);
bool ReadSummary(napi_env env, napi_value value, snapshot::FlowSummary* summary);
napi_value MakeToken(napi_env env, const snapshot::Token& token);
bool ReadToken(napi_env env, napi_value value, snapshot::Token* token);
bool ReadCompression(napi_env env, napi_value value, snapshot::Compression* compression);
napi_value MakeDivergence(napi_env env, const engine::Divergence& divergence);
napi_value MakeRecovery(napi_env env, const engine::RecoveryReport& report);
napi_value MakeDamageList(napi_env env, const std::vector<log::Damage>& damage);
napi_value MakeLogStats(napi_env env, const log::LogStats& stats);
napi_value MakeChunk(napi_env env, const log::LogChunk& chunk);

}  // namespace gapless::napi
