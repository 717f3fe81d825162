// RMSprop, as torch.optim.RMSprop without momentum (Hinton, 2012). Slot: square_avg.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct Rmsprop {
  static constexpr int kElementSlots = 1, kRowSlots = 0;
  T lr, weight_decay, alpha, eps, rest;

  explicit Rmsprop(const double* hyper)
      : lr(static_cast<T>(hyper[0])),
        weight_decay(static_cast<T>(hyper[1])),
        alpha(static_cast<T>(hyper[2])),
        eps(static_cast<T>(hyper[3])),
        rest(static_cast<T>(1.0 - hyper[2])) {}

  void update(T* __restrict__ weight, T* __restrict__ square_avg, T*, const T* __restrict__ grad, int64_t dim) const {
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k] + weight_decay * weight[k];
      square_avg[k] = alpha * square_avg[k] + rest * (g * g);
      weight[k] = weight[k] - lr * (g / (std::sqrt(square_avg[k]) + eps));
    }
  }
};

}  // namespace sparrow
