// Rows of lists that lie in several parts -> one list of them, end to end.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace sparrow {

// One column of one part: offsets of rows + 1 numbers from 0 on, and values of `item_bytes` each.
struct ListPart {
  const int64_t* offsets;
  const char* values;
  int64_t num_values;
};

// A run of rows of one part.
struct RowRun {
  int64_t part, begin, end;
};

// Writes the offsets of the runs' rows, end to end, from 0 on: [rows of all runs + 1]. Returns the last: the number of values; -1 where
// offsets of these rows decrease, or leave the part's values.
inline int64_t pack_offsets(const ListPart* parts, const std::vector<RowRun>& runs, int64_t* __restrict out) {
  int64_t row = 0, num_values = 0;
  bool good = true;
  for (const RowRun& run : runs) {
    const int64_t* __restrict offsets = parts[run.part].offsets + run.begin;
    // Unsigned, since any numbers may stand there.
    const uint64_t shift = static_cast<uint64_t>(num_values) - static_cast<uint64_t>(offsets[0]);
    const int64_t rows = run.end - run.begin;
    int64_t steps_down = 0;
    for (int64_t i = 0; i < rows; ++i) {
      steps_down += offsets[i] > offsets[i + 1];
      out[row + i] = static_cast<int64_t>(static_cast<uint64_t>(offsets[i]) + shift);
    }
    good &= steps_down == 0 && offsets[0] >= 0 && offsets[rows] <= parts[run.part].num_values;
    row += rows;
    num_values = static_cast<int64_t>(static_cast<uint64_t>(offsets[rows]) + shift);
  }
  out[row] = num_values;
  return good ? num_values : -1;
}

// Copies the values of the runs' rows, end to end.
inline void pack_values(const ListPart* parts, const std::vector<RowRun>& runs, int64_t item_bytes, char* out) {
  for (const RowRun& run : runs) {
    const int64_t* offsets = parts[run.part].offsets;
    const int64_t first = offsets[run.begin], bytes = (offsets[run.end] - first) * item_bytes;
    const char* from = parts[run.part].values + first * item_bytes;
    // Rows that were shuffled are a few values each, which a call would cost more than to copy.
    if (bytes <= 64 && item_bytes == 8) {
      for (int64_t at = 0; at < bytes; at += 8) std::memcpy(out + at, from + at, 8);
    } else if (bytes != 0) {
      std::memcpy(out, from, bytes);
    }
    out += bytes;
  }
}

}  // namespace sparrow
