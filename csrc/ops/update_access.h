// The arguments that update_rows_ and pool_update_rows_ share, checked.
#pragma once

#include <vector>

#include "core/rules/all.h"
#include "core/update_rows.h"
#include "ops/block_access.h"

namespace sparrow {

struct UpdateArguments {
  const std::vector<Tensor>&weights, &element_slots, &row_slots;
  const Tensor &meta, &rows, &hyper;
  int64_t step;
};

// Returns what an update by Rule reads and writes, but for `grads`.
template <typename W, typename Rule>
UpdateRows<W> update_of(const UpdateArguments& a) {
  using T = Compute<W>;
  const auto weights = blocks_of<W>(a.weights, "weights");
  const auto element = blocks_of<T>(a.element_slots, "element_slots"), per_row = blocks_of<T>(a.row_slots, "row_slots");
  STD_TORCH_CHECK(element.width == Rule::kElementSlots * weights.width, "element_slots must be ", Rule::kElementSlots * weights.width,
                  " wide, got ", element.width);
  STD_TORCH_CHECK(per_row.width == Rule::kRowSlots || weights.data.empty(), "row_slots must be ", Rule::kRowSlots, " wide, got ",
                  per_row.width);
  check_covers(element, weights, "element_slots");
  check_covers(per_row, weights, "row_slots");
  STD_TORCH_CHECK(a.meta.dim() == 2 && a.meta.size(0) >= weights.num_rows() && a.meta.size(1) == 4,
                  "meta [rows, 4] must cover every row of weights");
  return {weights,
          element,
          per_row,
          reinterpret_cast<RowMeta*>(output<int32_t>(a.meta, "meta")),
          rows_of(a.rows, weights.num_rows(), "rows"),
          nullptr,
          static_cast<int32_t>(a.step)};
}

// Returns one rule object a table.
template <typename Rule>
std::vector<Rule> rules_of(const Tensor& hyper) {
  STD_TORCH_CHECK(hyper.dim() == 2 && hyper.size(1) == kHyperWords, "hyper must be float64 [num_tables, ", kHyperWords, "]");
  const double* words = input<double>(hyper, "hyper");
  std::vector<Rule> rules;
  for (int64_t table = 0; table < hyper.size(0); ++table) rules.emplace_back(words + table * kHyperWords);
  return rules;
}

template <typename T, template <typename> class... Rules, typename F>
void with_rule(int64_t code, RuleList<Rules...>, F f) {
  int64_t index = 0;
  const bool known = ((index++ == code && (f.template operator()<Rules<T>>(), true)) || ...);
  STD_TORCH_CHECK(known, "unknown update rule ", code);
}

// Calls f.operator()<W, Rule>() for the type of the weights and the rule of that code. A group whose tables hold no rows yet has no blocks;
// `like` tells the type then.
template <typename F>
void with_update(const UpdateArguments& arguments, const Tensor& like, int64_t code, F f) {
  const Tensor& typed = arguments.weights.empty() ? like : arguments.weights[0];
  with_weight_type(typed.scalar_type(), [&](auto weight) {
    using W = decltype(weight);
    with_rule<Compute<W>>(code, AllRules{}, [&]<typename Rule>() { f.template operator()<W, Rule>(); });
  });
}

}  // namespace sparrow
