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
    if (rows == 1) {
      good &= offsets[0] >= 0 && offsets[0] <= offsets[1] && offsets[1] <= parts[run.part].num_values;
      out[row++] = num_values;
      num_values = static_cast<int64_t>(static_cast<uint64_t>(offsets[1]) + shift);
      continue;
    }
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

// Copies the values of the runs' rows, end to end: `num_out` of them.
template <typename Word>
void pack_values(const ListPart* parts, const std::vector<RowRun>& runs, int64_t num_out, Word* __restrict out) {
  constexpr int64_t kAtOnce = 32 / sizeof(Word);
  const Word* const end = out + num_out;
  for (const RowRun& run : runs) {
    const ListPart& part = parts[run.part];
    const int64_t first = part.offsets[run.begin], count = part.offsets[run.end] - first;
    const auto* from = reinterpret_cast<const Word*>(part.values);
    if (count <= kAtOnce && end - out >= kAtOnce && part.num_values - first >= kAtOnce) {
      // Rows that were shuffled are a few values each, nobody knows how many: the next row writes over those too many.
      std::memcpy(out, from + first, kAtOnce * sizeof(Word));
    } else if (count != 0) {
      std::memcpy(out, from + first, count * sizeof(Word));
    }
    out += count;
  }
}

}  // namespace sparrow
