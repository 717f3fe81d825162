// Adagrad, as torch.optim.Adagrad (Duchi, Hazan, Singer, JMLR 2011). Slot: sum of squared gradients.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct Adagrad {
  static constexpr int kElementSlots = 1, kRowSlots = 0;
  T lr, weight_decay, eps;

  explicit Adagrad(const double* hyper)
      : lr(static_cast<T>(hyper[0] / (1.0 + (hyper[kTableStep] - 1.0) * hyper[3]))),
        weight_decay(static_cast<T>(hyper[1])),
        eps(static_cast<T>(hyper[2])) {}

  void update(T* __restrict__ weight, T* __restrict__ sum, T*, const T* __restrict__ grad, int64_t dim) const {
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k] + weight_decay * weight[k];
      sum[k] = sum[k] + g * g;
      weight[k] = weight[k] - lr * (g / (std::sqrt(sum[k]) + eps));
    }
  }
};

}  // namespace sparrow
