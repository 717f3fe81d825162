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

// Copies lists of `length` values each to where rows of `width` have them.
template <typename Word>
void copy_even(const Word* from, int64_t length, int64_t num_rows, Word* to, int64_t width) {
  constexpr int64_t kAtOnce = 8;
  if (length == 1) {
    for (int64_t row = 0; row < num_rows; ++row) to[row * width] = from[row];
    return;
  }
  for (int64_t row = 0; row < num_rows; ++row, from += length, to += width) {
    int64_t i = 0;
    for (; i + kAtOnce <= length; i += kAtOnce) __builtin_memcpy(to + i, from + i, kAtOnce * sizeof(Word));
    for (; i < length; ++i) to[i] = from[i];
  }
}

// Concatenates rows whose lists are equally long in every input, as those of dense columns are. Returns false, and writes nothing, where
// some are not.
template <typename Word>
bool concat_even_rows(const ConcatInput* inputs, int64_t num_inputs, int64_t first, int64_t last, int64_t begin, Word* values,
                      int64_t* offsets) {
  int64_t width = 0;
  for (int64_t i = 0; i < num_inputs; ++i) {
    const int64_t length = inputs[i].lists.even_length(first, last);
    if (length < 0) return false;
    width += length;
  }
  int64_t at = begin;
  for (int64_t i = 0; i < num_inputs; ++i) {
    const RowLists& lists = inputs[i].lists;
    const int64_t length = lists.even_length(first, first + 1);
    copy_even(static_cast<const Word*>(inputs[i].values) + lists[first], length, last - first, values + at, width);
    at += length;
  }
  for (int64_t row = first; row < last; ++row) offsets[row + 1] = begin + (row - first + 1) * width;
  return true;
}

// Writes the values of rows [first, last), their weights unless `weights` is null, and offsets[first + 1] to offsets[last].
template <typename Word>
void concat_rows(const ConcatInput* inputs, int64_t num_inputs, int64_t first, int64_t last, Word* values, float* weights,
                 int64_t* offsets) {
  int64_t to = concat_begin(inputs, num_inputs, first);
  if (first == last) return;
  if (weights == nullptr && concat_even_rows(inputs, num_inputs, first, last, to, values, offsets)) return;
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
