// Adam with L2 weight decay, as torch.optim.Adam (Kingma, Ba, ICLR 2015). Slots: exp_avg, exp_avg_sq.
#pragma once

#include <cmath>
#include <cstdint>

namespace sparrow {

template <typename T>
struct Adam {
  static constexpr int kElementSlots = 2;
  static constexpr int kRowSlots = 0;
  T weight_decay, beta1, beta2, eps, step_size, sqrt_correction2, rest1, rest2;

  explicit Adam(const double* hyper)
      : weight_decay(static_cast<T>(hyper[1])),
        beta1(static_cast<T>(hyper[2])),
        beta2(static_cast<T>(hyper[3])),
        eps(static_cast<T>(hyper[4])),
        // In double, rounded once: 1 - beta^t loses digits in float.
        step_size(static_cast<T>(hyper[0] / hyper[5])),
        sqrt_correction2(static_cast<T>(std::sqrt(hyper[6]))),
        rest1(static_cast<T>(1.0 - hyper[2])),
        rest2(static_cast<T>(1.0 - hyper[3])) {}

  void update(T* __restrict__ weight, T* __restrict__ slots, T*, const T* __restrict__ grad, int64_t dim) const {
    T* __restrict__ exp_avg = slots;
    T* __restrict__ exp_avg_sq = slots + dim;
    for (int64_t k = 0; k < dim; ++k) {
      const T g = grad[k] + weight_decay * weight[k];
      exp_avg[k] = beta1 * exp_avg[k] + rest1 * g;
      exp_avg_sq[k] = beta2 * exp_avg_sq[k] + rest2 * (g * g);
      weight[k] = weight[k] - step_size * (exp_avg[k] / (std::sqrt(exp_avg_sq[k]) / sqrt_correction2 + eps));
    }
  }
};

}  // namespace sparrow
