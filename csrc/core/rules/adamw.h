// Adam with decay of the weights themselves, as torch.optim.AdamW (Loshchilov, Hutter, ICLR 2019). Slots: exp_avg, exp_avg_sq.
#pragma once

#include "core/rules/adam.h"

namespace sparrow {

template <typename T>
using AdamW = AdamStep<T, true>;

}  // namespace sparrow
