// Adagrad with one sum a row, of the mean squared gradient: a sixteenth of the state at dim 16, and what most recommenders train with.
// Row slot: sum.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace sparrow {

// The sum of 16 lanes, added in halves: 8 pairs, 4, 2, 1.
template <typename T>
inline T add_lanes(const T* lane) {
  T sum[16];
  for (int k = 0; k < 8; ++k) sum[k] = lane[k] + lane[k + 8];
  for (int half = 4; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) sum[k] = sum[k] + sum[k + half];
  return sum[0];
}

#if defined(__AVX512F__)
// The same additions in registers: through memory, their latency costs as much as the row.
template <>
inline float add_lanes(const float* lane) {
  const __m512 all = _mm512_loadu_ps(lane);
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(all), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(all), 1)));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
#endif

template <typename T>
struct RowwiseAdagrad {
  static constexpr int kElementSlots = 0, kRowSlots = 1;
  static constexpr int64_t kLanes = 16;
  T lr, weight_decay, eps;

  explicit RowwiseAdagrad(const double* hyper)
      : lr(static_cast<T>(hyper[0])), weight_decay(static_cast<T>(hyper[1])), eps(static_cast<T>(hyper[2])) {}

  void update(T* __restrict__ weight, T*, T* __restrict__ sum, const T* __restrict__ grad, int64_t dim) const {
    // Column k is added in lane k mod 16: an order that vectorises.
    T lane[kLanes] = {};
    int64_t first = 0;
    for (; first + kLanes <= dim; first += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) lane[k] = lane[k] + square(grad[first + k] + weight_decay * weight[first + k]);
    for (int64_t k = 0; first + k < dim; ++k) lane[k] = lane[k] + square(grad[first + k] + weight_decay * weight[first + k]);
    sum[0] = sum[0] + add_lanes(lane) / static_cast<T>(dim);
    const T rate = lr / (std::sqrt(sum[0]) + eps);
    for (int64_t k = 0; k < dim; ++k) weight[k] = weight[k] - rate * (grad[k] + weight_decay * weight[k]);
  }

 private:
  static T square(T g) { return g * g; }
};

}  // namespace sparrow
