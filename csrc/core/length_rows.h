// Lengths of the lists of a level.
#pragma once

#include <cstdint>

namespace sparrow {

// Writes the lengths of lists [first, last). Returns whether none is negative.
inline bool lengths_of(const int64_t* __restrict offsets, int64_t first, int64_t last, int64_t* __restrict out) {
  int64_t falls = 0;
  for (int64_t row = first; row < last; ++row) {
    falls += offsets[row] > offsets[row + 1];
    // Unsigned, since any numbers may stand there.
    out[row] = static_cast<int64_t>(static_cast<uint64_t>(offsets[row + 1]) - static_cast<uint64_t>(offsets[row]));
  }
  return falls == 0;
}

}  // namespace sparrow
