// Adam with L2 weight decay, as torch.optim.Adam (Kingma, Ba, ICLR 2015). Slots: exp_avg, exp_avg_sq.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

// Adam's step with what differs between its kin: whether decay is part of the gradient or of the weight.
template <typename T, bool kDecoupled>
struct AdamStep {
  static constexpr int kElementSlots = 2, kRowSlots = 0;
  T weight_decay, keep, beta1, beta2, eps, step_size, root_scale, rest1, rest2;

  explicit AdamStep(const double* hyper)
      : weight_decay(static_cast<T>(kDecoupled ? 0.0 : hyper[1])),
        keep(static_cast<T>(kDecoupled ? 1.0 - hyper[0] * hyper[1] : 1.0)),
        beta1(static_cast<T>(hyper[2])),
        beta2(static_cast<T>(hyper[3])),
        eps(static_cast<T>(hyper[4])),
        step_size(static_cast<T>(hyper[0] / hyper[kCorrection1])),
        root_scale(static_cast<T>(1.0 / std::sqrt(hyper[kCorrection2]))),
        rest1(static_cast<T>(1.0 - hyper[2])),
        rest2(static_cast<T>(1.0 - hyper[3])) {}

  void update(T* __restrict__ weight, T* __restrict__ slots, T*, const T* __restrict__ grad, int64_t dim) const {
    T* __restrict__ exp_avg = slots;
    T* __restrict__ exp_avg_sq = slots + dim;
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k] + weight_decay * weight[k];
      exp_avg[k] = beta1 * exp_avg[k] + rest1 * g;
      exp_avg_sq[k] = beta2 * exp_avg_sq[k] + rest2 * (g * g);
      weight[k] = keep * weight[k] - step_size * (exp_avg[k] / (std::sqrt(exp_avg_sq[k]) * root_scale + eps));
    }
  }
};

template <typename T>
using Adam = AdamStep<T, false>;

}  // namespace sparrow
