// The lists of several columns, one after the other, row by row.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/row_lists.h"

namespace sparrow {

// One column to concatenate; weights are null where all are 1.
struct ConcatInput {
  const void* values;
  const float* weights;
  RowLists lists;
};

// Where row `row` of the result begins: behind all values of the rows before, whichever column they are of.
inline int64_t concat_begin(const ConcatInput* inputs, int64_t num_inputs, int64_t row) {
  int64_t begin = 0;
  for (int64_t i = 0; i < num_inputs; ++i) begin += inputs[i].lists[row];
  return begin;
}

// Writes the values of rows [first, last), their weights unless `weights` is null, and offsets[first + 1] to offsets[last].
template <typename Word>
void concat_rows(const ConcatInput* inputs, int64_t num_inputs, int64_t first, int64_t last, Word* values, float* weights,
                 int64_t* offsets) {
  int64_t to = concat_begin(inputs, num_inputs, first);
  const int64_t end = concat_begin(inputs, num_inputs, last);
  for (int64_t row = first; row < last; ++row) {
    for (int64_t i = 0; i < num_inputs; ++i) {
      const ConcatInput& input = inputs[i];
      const int64_t from = input.lists[row], count = input.lists[row + 1] - from;
      const auto* word = static_cast<const Word*>(input.values);
      copy_list(word + from, word + input.lists.num_values, count, values + to, values + end);
      if (weights != nullptr) {
        if (input.weights == nullptr)
          std::fill_n(weights + to, count, 1.0f);
        else
          copy_list(input.weights + from, input.weights + input.lists.num_values, count, weights + to, weights + end);
      }
      to += count;
    }
    offsets[row + 1] = to;
  }
}

}  // namespace sparrow
