// Adam as TensorFlow computes it: epsilon is added to the root that is not corrected for bias, and the correction goes into the rate.
// Weights may decay before the step, by 1 - lr * weight_decay or by 1 - weight_decay. Slots: exp_avg, exp_avg_sq.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct TfAdam {
  static constexpr int kElementSlots = 2, kRowSlots = 0;
  T keep, beta1, beta2, eps, rate, rest1, rest2;

  explicit TfAdam(const double* hyper)
      : keep(static_cast<T>(1.0 - (hyper[5] != 0 ? hyper[0] * hyper[1] : hyper[1]))),
        beta1(static_cast<T>(hyper[2])),
        beta2(static_cast<T>(hyper[3])),
        eps(static_cast<T>(hyper[4])),
        rate(static_cast<T>(hyper[0] * std::sqrt(hyper[kCorrection2]) / hyper[kCorrection1])),
        rest1(static_cast<T>(1.0 - hyper[2])),
        rest2(static_cast<T>(1.0 - hyper[3])) {}

  void update(T* __restrict__ weight, T* __restrict__ slots, T*, const T* __restrict__ grad, int64_t dim) const {
    T* __restrict__ exp_avg = slots;
    T* __restrict__ exp_avg_sq = slots + dim;
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k];
      exp_avg[k] = beta1 * exp_avg[k] + rest1 * g;
      exp_avg_sq[k] = beta2 * exp_avg_sq[k] + rest2 * (g * g);
      weight[k] = keep * weight[k] - rate * (exp_avg[k] / (std::sqrt(exp_avg_sq[k]) + eps));
    }
  }
};

}  // namespace sparrow
