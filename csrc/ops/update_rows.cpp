#include "core/update_rows.h"

#include <atomic>
#include <vector>

#include "core/rules/all.h"
#include "ops/block_access.h"

namespace sparrow {
namespace {

struct Arguments {
  const std::vector<Tensor>&weights, &element_slots, &row_slots;
  const Tensor &meta, &rows, &grads, &hyper;
  int64_t step;
};

template <typename W, typename Rule>
void run(const Arguments& a) {
  using T = Compute<W>;
  const auto weights = blocks_of<W>(a.weights, "weights");
  const auto element = blocks_of<T>(a.element_slots, "element_slots"), per_row = blocks_of<T>(a.row_slots, "row_slots");
  STD_TORCH_CHECK(element.width == Rule::kElementSlots * weights.width, "element_slots must be ", Rule::kElementSlots * weights.width,
                  " wide, got ", element.width);
  STD_TORCH_CHECK(per_row.width == Rule::kRowSlots || weights.data.empty(), "row_slots must be ", Rule::kRowSlots, " wide, got ",
                  per_row.width);
  check_covers(element, weights, "element_slots");
  check_covers(per_row, weights, "row_slots");
  STD_TORCH_CHECK(a.hyper.dim() == 2 && a.hyper.size(1) == kHyperWords, "hyper must be float64 [num_tables, ", kHyperWords, "]");
  STD_TORCH_CHECK(a.grads.dim() == 2 && a.grads.size(0) == a.rows.numel() && (a.weights.empty() || a.grads.size(1) == weights.width),
                  "grads must be [", a.rows.numel(), ", ", weights.width, "]");
  STD_TORCH_CHECK(a.meta.dim() == 2 && a.meta.size(0) >= weights.num_rows() && a.meta.size(1) == 4,
                  "meta [rows, 4] must cover every row of weights");
  const UpdateRows<W> in{weights,
                         element,
                         per_row,
                         reinterpret_cast<RowMeta*>(output<int32_t>(a.meta, "meta")),
                         rows_of(a.rows, weights.num_rows(), "rows"),
                         input<T>(a.grads, "grads"),
                         static_cast<int32_t>(a.step)};
  const double* hyper = input<double>(a.hyper, "hyper");
  std::vector<Rule> rules;
  for (int64_t table = 0; table < a.hyper.size(0); ++table) rules.emplace_back(hyper + table * kHyperWords);
  std::atomic<int64_t> stray = -1;
  torch::stable::parallel_for(0, a.rows.numel(), 256, [&](int64_t first, int64_t last) {
    if (const int64_t found = update_rows(in, rules, first, last); found >= 0) stray = found;
  });
  STD_TORCH_CHECK(stray < 0, "row ", in.rows[stray], " is of table ", in.meta[in.rows[stray]].table, ", hyper has ", a.hyper.size(0),
                  " tables");
}

template <typename W, template <typename> class... Rules>
void dispatch(const Arguments& arguments, int64_t code, RuleList<Rules...>) {
  int64_t index = 0;
  const bool known = ((index++ == code && (run<W, Rules<Compute<W>>>(arguments), true)) || ...);
  STD_TORCH_CHECK(known, "unknown update rule ", code);
}

}  // namespace

void update_rows_cpu(std::vector<Tensor> weights, std::vector<Tensor> element_slots, std::vector<Tensor> row_slots, Tensor meta,
                     Tensor rows, Tensor grads, Tensor hyper, int64_t rule, int64_t step) {
  const Arguments arguments{weights, element_slots, row_slots, meta, rows, grads, hyper, step};
  check_step(step);
  // A group whose tables hold no rows yet has no blocks; every row is -1 then, and nothing is done.
  const Tensor& like = weights.empty() ? grads : weights[0];
  with_weight_type(like.scalar_type(), [&](auto weight) { dispatch<decltype(weight)>(arguments, rule, AllRules{}); });
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("update_rows_", TORCH_BOX(&sparrow::update_rows_cpu)); }
