// Adagrad for endless training: the accumulator is discounted once a period of the global step, never below its first value (DeepRec's
// AdagradDecay). A row unseen for several periods catches up with all of them, or, with `exact` 0 as DeepRec does, with one at each touch.
// Slot: accumulator. Row slot: period, those accounted for.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/rules/hyper.h"

namespace sparrow {

template <typename T>
struct AdagradDecay {
  static constexpr int kElementSlots = 1, kRowSlots = 1;
  T lr, floor, rate, period;
  bool exact;

  explicit AdagradDecay(const double* hyper)
      : lr(static_cast<T>(hyper[0])),
        floor(static_cast<T>(hyper[1])),
        rate(static_cast<T>(hyper[3])),
        period(static_cast<T>(std::floor(hyper[kGlobalStep] / hyper[2]))),
        exact(hyper[4] != 0) {}

  void update(T* __restrict__ weight, T* __restrict__ accumulator, T* __restrict__ accounted, const T* __restrict__ grad,
              int64_t dim) const {
    if (period > accounted[0]) {
      const T discount = exact ? power(rate, static_cast<int64_t>(period - accounted[0])) : rate;
      for (int64_t k = 0; k < dim; ++k) accumulator[k] = discount * accumulator[k] < floor ? floor : discount * accumulator[k];
      accounted[0] = exact ? period : accounted[0] + T(1);
    }
    for (int64_t k = 0; k < dim; ++k) {
      accumulator[k] = accumulator[k] + grad[k] * grad[k];
      weight[k] = weight[k] - lr * grad[k] / std::sqrt(accumulator[k]);
    }
  }

 private:
  // By squaring, from the lowest bit: the same bits everywhere, which a library's pow does not promise.
  static T power(T base, int64_t exponent) {
    T result = T(1);
    for (; exponent > 0; exponent /= 2, base = base * base)
      if (exponent % 2 == 1) result = result * base;
    return result;
  }
};

}  // namespace sparrow
