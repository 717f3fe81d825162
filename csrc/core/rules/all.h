// Every update rule, in the order of the codes in src/sparrow/ops/update_rows/rules.py.
#pragma once

#include "core/rules/adagrad.h"
#include "core/rules/adagrad_decay.h"
#include "core/rules/adam.h"
#include "core/rules/adamw.h"
#include "core/rules/async_rmsprop.h"
#include "core/rules/ftrl.h"
#include "core/rules/momentum.h"
#include "core/rules/rmsprop.h"
#include "core/rules/rowwise_adagrad.h"
#include "core/rules/sgd.h"
#include "core/rules/tf_adam.h"

namespace sparrow {

template <template <typename> class... Rules>
struct RuleList {};

using AllRules = RuleList<Sgd, Adagrad, Adam, RowwiseAdagrad, Momentum, AdamW, Rmsprop, Ftrl, AdagradDecay, TfAdam, AsyncRmsprop>;

}  // namespace sparrow
