// The words of a hyper row, as src/sparrow/ops/update_rows/rules.py writes them: a rule's own first, `lr` at 0.
//
// A rule is a class template on T, the type its arithmetic is done in, with
//   kElementSlots, kRowSlots   how many values it keeps beside each weight, and beside each row
//   Rule(const double* hyper)  constants, computed in double and rounded once: 1 - beta^t loses digits in float
//   update(weight, slots, row_slots, grad, dim)   one row; slots is [kElementSlots][dim]
// in IEEE + - * / sqrt alone, sums over a row by lanes.h, in the order that src/sparrow/ops/update_rows/reference.py follows, so that every
// body gives the same bits.
#pragma once

#include <cstdint>

namespace sparrow {

constexpr int kHyperWords = 16;
constexpr int kCorrection1 = 12, kCorrection2 = 13;  // 1 - beta1^t, 1 - beta2^t
constexpr int kGlobalStep = 14, kTableStep = 15;     // from 1

}  // namespace sparrow
