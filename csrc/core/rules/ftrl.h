// Follow the regularised leader, as TensorFlow's Ftrl with learning_rate_power -1/2 (McMahan et al., KDD 2013): weights whose gradients
// stay small are exactly zero. Slots: accumulator, linear.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct Ftrl {
  static constexpr int kElementSlots = 2, kRowSlots = 0;
  T lr, l1, twice_l2;

  explicit Ftrl(const double* hyper)
      : lr(static_cast<T>(hyper[0])), l1(static_cast<T>(hyper[1])), twice_l2(static_cast<T>(2.0 * hyper[2])) {}

  void update(T* __restrict__ weight, T* __restrict__ slots, T*, const T* __restrict__ grad, int64_t dim) const {
    T* __restrict__ accumulator = slots;
    T* __restrict__ linear = slots + dim;
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k], before = std::sqrt(accumulator[k]);
      accumulator[k] = accumulator[k] + g * g;
      const T root = std::sqrt(accumulator[k]);
      linear[k] = linear[k] + (g - (root - before) / lr * weight[k]);
      const T z = linear[k], beyond = (z < T(0) ? -z : z) - l1, shrunk = z < T(0) ? beyond : -beyond;
      weight[k] = beyond > T(0) ? shrunk / (root / lr + twice_l2) : T(0);
    }
  }
};

}  // namespace sparrow
