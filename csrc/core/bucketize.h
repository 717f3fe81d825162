// Buckets of numbers: how many of some strictly increasing boundaries a number reaches. A number equal to a boundary reaches it.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace sparrow {

// reached[i] = how many of boundaries[0, count) value[i] reaches, for kLanes values at once. NaN is below no boundary and so reaches all.
// A binary search whose trip count depends on `count` alone; a step multiplies by the outcome of its comparison, since compilers turn a
// choice back into a branch, which would mispredict every other time. The lanes' searches wait for memory together.
template <int kLanes, typename Value, typename Boundary>
inline void count_reached(const Value* value, const Boundary* boundaries, int64_t count, int64_t* reached) {
  Boundary key[kLanes];
  int64_t base[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane) key[lane] = value[lane];
  for (int64_t left = count; left > 0;) {
    const int64_t half = (left + 1) / 2;
    for (int lane = 0; lane < kLanes; ++lane) base[lane] += half * !(boundaries[base[lane] + half - 1] > key[lane]);
    left -= half;
  }
  for (int lane = 0; lane < kLanes; ++lane) reached[lane] = base[lane];
}

template <typename Value, typename Boundary>
inline void count_reached(const Value* value, int64_t num_values, const Boundary* boundaries, int64_t count, int64_t* reached) {
  constexpr int kLanes = 8;
  int64_t i = 0;
  for (; i + kLanes <= num_values; i += kLanes) count_reached<kLanes>(value + i, boundaries, count, reached + i);
  for (; i < num_values; ++i) count_reached<1>(value + i, boundaries, count, reached + i);
}

// The integers that reach `boundaries` first: comparing with them is exact, where an integer above 2^53 as a double is not. Boundaries that
// no 64-bit integer reaches are left out.
inline std::vector<int64_t> first_integers(const double* boundaries, int64_t count) {
  std::vector<int64_t> integers;
  for (int64_t i = 0; i < count && boundaries[i] < 0x1p63; ++i)
    integers.push_back(boundaries[i] <= -0x1p63 ? INT64_MIN : static_cast<int64_t>(std::ceil(boundaries[i])));
  return integers;
}

}  // namespace sparrow
