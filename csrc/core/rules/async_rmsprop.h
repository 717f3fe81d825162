// What DeepRec's AdamAsync does with apply_sparse_rmsprop: RMSProp with momentum beta1, epsilon inside the root, no bias correction.
// Slots: exp_avg (of steps, not of gradients), exp_avg_sq.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct AsyncRmsprop {
  static constexpr int kElementSlots = 2, kRowSlots = 0;
  T lr, beta1, beta2, eps, rest2;

  explicit AsyncRmsprop(const double* hyper)
      : lr(static_cast<T>(hyper[0])),
        beta1(static_cast<T>(hyper[1])),
        beta2(static_cast<T>(hyper[2])),
        eps(static_cast<T>(hyper[3])),
        rest2(static_cast<T>(1.0 - hyper[2])) {}

  void update(T* __restrict__ weight, T* __restrict__ slots, T*, const T* __restrict__ grad, int64_t dim) const {
    T* __restrict__ exp_avg = slots;
    T* __restrict__ exp_avg_sq = slots + dim;
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k];
      exp_avg_sq[k] = beta2 * exp_avg_sq[k] + rest2 * (g * g);
      exp_avg[k] = beta1 * exp_avg[k] + lr * g / std::sqrt(exp_avg_sq[k] + eps);
      weight[k] = weight[k] - exp_avg[k];
    }
  }
};

}  // namespace sparrow
