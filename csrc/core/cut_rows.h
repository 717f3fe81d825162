// Offsets of a run of rows.
#pragma once

#include <cstdint>

#include "core/unpack_arrow.h"

namespace sparrow {

// Where the values of a run of rows lie.
struct ValueRun {
  int64_t begin, end;
};

// Writes the offsets of rows begin..end, from 0 on: [end - begin + 1]. Returns where their values lie; {0, -1} where these offsets
// decrease or leave 0..num_values.
inline ValueRun cut_offsets(const int64_t* offsets, int64_t begin, int64_t end, int64_t num_values, int64_t* out) {
  if (!widen_offsets(offsets + begin, end - begin, num_values, out)) return {0, -1};
  return {offsets[begin], offsets[end]};
}

}  // namespace sparrow
