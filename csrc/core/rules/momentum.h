// Gradient descent with momentum, plain or Nesterov's, as torch.optim.SGD(dampening=0). Slot: momentum_buffer.
#pragma once

#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct Momentum {
  static constexpr int kElementSlots = 1, kRowSlots = 0;
  T lr, weight_decay, momentum;
  bool nesterov;

  explicit Momentum(const double* hyper)
      : lr(static_cast<T>(hyper[0])), weight_decay(static_cast<T>(hyper[1])), momentum(static_cast<T>(hyper[2])), nesterov(hyper[3] != 0) {}

  void update(T* __restrict__ weight, T* __restrict__ buffer, T*, const T* __restrict__ grad, int64_t dim) const {
    const T own = nesterov ? T(1) : T(0), held = nesterov ? momentum : T(1);
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k] + weight_decay * weight[k];
      buffer[k] = momentum * buffer[k] + g;
      weight[k] = weight[k] - lr * (own * g + held * buffer[k]);
    }
  }
};

}  // namespace sparrow
