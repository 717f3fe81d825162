// Adagrad with one sum a row, of the mean squared gradient: a sixteenth of the state at dim 16, and what most recommenders train with.
// Row slot: sum.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct RowwiseAdagrad {
  static constexpr int kElementSlots = 0, kRowSlots = 1;
  static constexpr int64_t kLanes = 16;
  T lr, weight_decay, eps;

  explicit RowwiseAdagrad(const double* hyper)
      : lr(static_cast<T>(hyper[0])), weight_decay(static_cast<T>(hyper[1])), eps(static_cast<T>(hyper[2])) {}

  void update(T* __restrict__ weight, T*, T* __restrict__ sum, const T* __restrict__ grad, int64_t dim) const {
    // Column k is added in lane k mod 16, the lanes in halves: an order that vectorises.
    T lane[kLanes] = {};
    int64_t first = 0;
    for (; first + kLanes <= dim; first += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) add(lane[k], grad[first + k] + weight_decay * weight[first + k]);
    for (int64_t k = 0; first + k < dim; ++k) add(lane[k], grad[first + k] + weight_decay * weight[first + k]);
    for (int64_t half = kLanes / 2; half > 0; half /= 2)
      for (int64_t k = 0; k < half; ++k) lane[k] = lane[k] + lane[k + half];
    sum[0] = sum[0] + lane[0] / static_cast<T>(dim);
    const T rate = lr / (std::sqrt(sum[0]) + eps);
    for (int64_t k = 0; k < dim; ++k) weight[k] = weight[k] - rate * (grad[k] + weight_decay * weight[k]);
  }

 private:
  static void add(T& lane, T g) { lane = lane + g * g; }
};

}  // namespace sparrow
