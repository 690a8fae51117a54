// Where a value stands that is in a value file, and what a run holds of such a file. Layout:
// docs/FORMAT.md "Value reference". Pure; any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/coding.h"
#include "base/slice.h"
#include "table/run_format.h"

namespace gapless::table {

class ValueFile;

// As an entry of a run holds it.
struct ValueRef {
  uint64_t file = 0;      // number
  uint64_t position = 0;  // in the file
  uint32_t stored_bytes = 0;
  uint32_t raw_bytes = 0;  // more than stored_bytes: compressed
  uint32_t crc = 0;
};

inline void EncodeValueRef(const ValueRef& ref, char* to) {
  StoreU64(to + kValueRefFile, ref.file);
  StoreU64(to + kValueRefPosition, ref.position);
  StoreU32(to + kValueRefStoredBytes, ref.stored_bytes);
  StoreU32(to + kValueRefRawBytes, ref.raw_bytes);
  StoreU32(to + kValueRefCrc, ref.crc);
}

// Requires: kValueRefBytes.
inline ValueRef DecodeValueRef(Slice bytes) {
  const char* const at = bytes.data();
  return {LoadU64(at + kValueRefFile), LoadU64(at + kValueRefPosition),
          LoadU32(at + kValueRefStoredBytes), LoadU32(at + kValueRefRawBytes),
          LoadU32(at + kValueRefCrc)};
}

// What one run refers to in one value file.
struct ValueUse {
  uint64_t file = 0;        // number
  uint64_t file_bytes = 0;  // length of the file
  uint64_t bytes = 0;       // stored bytes of the values that the run refers to
  bool operator==(const ValueUse&) const = default;
};
using ValueUses = std::vector<ValueUse>;  // numbers ascend

// Null: the file is not among them.
inline const ValueUse* FindUse(const ValueUses& uses, uint64_t file) {
  const auto at = std::lower_bound(uses.begin(), uses.end(), file,
                                   [](const ValueUse& use, uint64_t f) { return use.file < f; });
  return at != uses.end() && at->file == file ? &*at : nullptr;
}

// Whether the place can be there at all: nothing is allocated for one that cannot.
inline bool RefersInto(const ValueRef& ref, const ValueUses& uses) {
  const ValueUse* const use = FindUse(uses, ref.file);
  return use != nullptr && ref.position >= kValuesHeaderBytes && ref.position <= use->file_bytes &&
         ref.stored_bytes <= use->file_bytes - ref.position && ref.stored_bytes > 0 &&
         ref.stored_bytes <= ref.raw_bytes && ref.raw_bytes <= kRunValueBytesMax;
}

// A reference with its open file, which lives as long as slices of the same cell would.
struct StoredValue {
  const ValueFile* file = nullptr;  // null: the value is not stored apart
  ValueRef ref;
};

}  // namespace gapless::table
