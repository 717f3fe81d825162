// Sums of a row in one written order that vectorises: column k is added in lane k mod 16, and the lanes are added in halves.
#pragma once

#include <cstdint>
#include <cstring>

namespace sparrow {

template <typename T, int kLanes>
struct LanesOf {
  typedef T type __attribute__((vector_size(kLanes * sizeof(T))));
};
template <typename T, int kLanes>
using Lanes = typename LanesOf<T, kLanes>::type;

// The upper half of the lanes added to the lower, down to one.
template <typename T, int kLanes>
[[gnu::always_inline]] inline T add_halves(const T* lanes) {
  if constexpr (kLanes == 1) {
    return *lanes;
  } else {
    Lanes<T, kLanes / 2> low, high;
    std::memcpy(&low, lanes, sizeof(low));
    std::memcpy(&high, lanes + kLanes / 2, sizeof(high));
    low = low + high;
    return add_halves<T, kLanes / 2>(reinterpret_cast<const T*>(&low));
  }
}

// The sum of value(k) over [0, dim).
template <typename T, typename F>
[[gnu::always_inline]] inline T sum_in_lanes(int64_t dim, F value) {
  constexpr int64_t kLanes = 16;
  T lane[kLanes] = {};
  int64_t first = 0;
  for (; first + kLanes <= dim; first += kLanes) {
    T part[kLanes];
    for (int64_t k = 0; k < kLanes; ++k) part[k] = value(first + k);
    for (int64_t k = 0; k < kLanes; ++k) lane[k] = lane[k] + part[k];
  }
  for (int64_t k = 0; first + k < dim; ++k) lane[k] = lane[k] + value(first + k);
  return add_halves<T, kLanes>(lane);
}

}  // namespace sparrow
