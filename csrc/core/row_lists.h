// Ragged columns as operators see them that combine columns row by row, and the pieces of rows that threads take.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sparrow {

// The lists of one column: row r has the values from (*this)[r] to (*this)[r + 1]. Without offsets every row has one value.
struct RowLists {
  const int64_t* offsets;
  int64_t num_rows, num_values;

  int64_t operator[](int64_t row) const { return offsets == nullptr ? row : offsets[row]; }

  // Whether the offsets of rows [first, last) never decrease and stay among the values: then these rows may be read.
  bool hold(int64_t first, int64_t last) const {
    if (offsets == nullptr) return true;
    int64_t falls = 0;  // counted without leaving the loop, so that it vectorises
    for (int64_t row = first; row < last; ++row) falls += offsets[row] > offsets[row + 1];
    return falls == 0 && offsets[first] >= 0 && offsets[last] <= num_values;
  }

  // The length of the lists of rows [first, last), of which there is one at least, where all are equally long; else -1.
  int64_t even_length(int64_t first, int64_t last) const {
    if (offsets == nullptr) return 1;
    const int64_t length = offsets[first + 1] - offsets[first];
    int64_t others = 0;
    for (int64_t row = first; row < last; ++row) others += offsets[row + 1] - offsets[row] != length;
    return others == 0 ? length : -1;
  }

  // The first row that ends before it begins; -1 where there is none.
  int64_t first_fall() const {
    for (int64_t row = 0; offsets != nullptr && row < num_rows; ++row)
      if (offsets[row] > offsets[row + 1]) return row;
    return -1;
  }
};

// A run of rows of one result: what a thread takes at a time. Its size depends on nothing, so neither does what is computed.
struct ResultRows {
  int64_t result, first, last;
};

constexpr int64_t kResultRows = 512;

inline void add_result_rows(int64_t result, int64_t num_rows, std::vector<ResultRows>& pieces) {
  for (int64_t first = 0; first < num_rows; first += kResultRows)
    pieces.push_back({result, first, std::min(first + kResultRows, num_rows)});
}

// Copies `count` values to `to`, eight at a time while neither runs over its end: lists are a few values each, nobody knows how many, and
// what lies behind them is written later by the same thread.
template <typename Word>
void copy_list(const Word* from, const Word* from_end, int64_t count, Word* to, const Word* to_end) {
  constexpr int64_t kAtOnce = 8;
  int64_t i = 0;
  for (; i < count && from_end - from >= i + kAtOnce && to_end - to >= i + kAtOnce; i += kAtOnce)
    __builtin_memcpy(to + i, from + i, kAtOnce * sizeof(Word));
  for (; i < count; ++i) to[i] = from[i];
}

}  // namespace sparrow
