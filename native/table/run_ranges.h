// The range deletes and the extent of a run, encoded. Layout: docs/FORMAT.md "Ranges" and "Run
// index block". Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/slice.h"
#include "table/block_data.h"
#include "table/range_set.h"
#include "table/run.h"

namespace gapless::table {

// Whether `next` may follow `before` (null: is the first): in itself sound, behind it, no overlap.
bool FragmentFollows(const RangeFragment* before, const RangeFragment& next);

std::string EncodeRanges(const std::vector<RangeFragment>& fragments);
ContentFault DecodeRanges(Slice raw, std::vector<RangeFragment>* fragments);

// Filled up with zeros to a multiple of 8.
std::string EncodeExtent(const Extent& extent);
ContentFault DecodeExtent(Slice bytes, Extent* extent);

}  // namespace gapless::table
