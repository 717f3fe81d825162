// Adagrad with one sum a row, of the mean squared gradient: a sixteenth of the state at dim 16, and what most recommenders train with.
// Row slot: sum.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"
#include "core/rules/lanes.h"

namespace sparrow {

template <typename T>
struct RowwiseAdagrad {
  static constexpr int kElementSlots = 0, kRowSlots = 1;
  T lr, weight_decay, eps;

  explicit RowwiseAdagrad(const double* hyper)
      : lr(static_cast<T>(hyper[0])), weight_decay(static_cast<T>(hyper[1])), eps(static_cast<T>(hyper[2])) {}

  void update(T* __restrict__ weight, T*, T* __restrict__ sum, const T* __restrict__ grad, int64_t dim) const {
    const T squares = sum_in_lanes<T>(dim, [&](int64_t k) {
      const T g = grad[k] + weight_decay * weight[k];
      return g * g;
    });
    sum[0] = sum[0] + squares / static_cast<T>(dim);
    const T rate = lr / (std::sqrt(sum[0]) + eps);
    for (int64_t k = 0; k < dim; ++k) weight[k] = weight[k] - rate * (grad[k] + weight_decay * weight[k]);
  }
};

}  // namespace sparrow
