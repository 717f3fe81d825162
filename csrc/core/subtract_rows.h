// Differences of two columns, value by value, or with one value of each row.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/row_lists.h"

namespace sparrow {

// int64 from int64 is int64; two floats give the wider; an integer and a float are subtracted as float64.
template <typename A, typename B>
using Difference = std::conditional_t<std::is_same_v<A, B>, A, double>;

// A difference, wrapped around where it leaves int64; `wrapped` is negative then.
template <typename A, typename B>
inline Difference<A, B> subtract(A a, B b, int64_t* wrapped) {
  if constexpr (std::is_same_v<A, int64_t> && std::is_same_v<B, int64_t>) {
    const auto difference = static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
    *wrapped |= (a ^ b) & (a ^ difference);
    return difference;
  } else {
    return static_cast<Difference<A, B>>(a) - static_cast<Difference<A, B>>(b);
  }
}

// out[i] = a[i] - b[i] for i < count. Returns whether all stayed in range.
template <typename A, typename B>
bool subtract_aligned(const A* __restrict a, const B* __restrict b, int64_t count, Difference<A, B>* __restrict out) {
  int64_t wrapped = 0;
  for (int64_t i = 0; i < count; ++i) out[i] = subtract(a[i], b[i], &wrapped);
  return wrapped >= 0;
}

// out[i] = values[i] - one[r], or one[r] - values[i] where kOneFirst, for the values i of rows [first, last). Returns whether all stayed
// in range. Eight at a time: those too many are of the next rows, which are written later, and may say "out of range" of a pair that is
// none; who is told so looks again.
template <bool kOneFirst, typename Value, typename One>
bool subtract_one_a_row(const Value* __restrict values, const RowLists& lists, const One* __restrict one, int64_t first, int64_t last,
                        Difference<Value, One>* __restrict out) {
  constexpr int64_t kAtOnce = 8;
  int64_t wrapped[kAtOnce] = {};
  const auto difference = [](Value value, One of_row, int64_t* flag) {
    if constexpr (kOneFirst)
      return subtract(of_row, value, flag);
    else
      return subtract(value, of_row, flag);
  };
  const int64_t end = lists[last];
  for (int64_t row = first; row < last; ++row) {
    const One of_row = one[row];
    int64_t i = lists[row];
    const int64_t stop = lists[row + 1];
    for (; i < stop && i + kAtOnce <= end; i += kAtOnce)
      for (int64_t lane = 0; lane < kAtOnce; ++lane) out[i + lane] = difference(values[i + lane], of_row, wrapped + lane);
    for (; i < stop; ++i) out[i] = difference(values[i], of_row, wrapped);
  }
  int64_t any = 0;
  for (const int64_t flag : wrapped) any |= flag;
  return any >= 0;
}

}  // namespace sparrow
