// Stochastic gradient descent with L2 weight decay, as torch.optim.SGD without momentum.
#pragma once

#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct Sgd {
  static constexpr int kElementSlots = 0, kRowSlots = 0;
  T lr, weight_decay;

  explicit Sgd(const double* hyper) : lr(static_cast<T>(hyper[0])), weight_decay(static_cast<T>(hyper[1])) {}

  void update(T* __restrict__ weight, T*, T*, const T* __restrict__ grad, int64_t dim) const {
    for (int64_t k = 0; k < dim; ++k) weight[k] = weight[k] - lr * (grad[k] + weight_decay * weight[k]);
  }
};

}  // namespace sparrow
