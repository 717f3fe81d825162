#include "core/update_rows.h"

#include <vector>

#include "core/rules/adagrad.h"
#include "core/rules/adam.h"
#include "core/rules/sgd.h"
#include "ops/block_access.h"

namespace sparrow {
namespace {

struct Arguments {
  const std::vector<Tensor>&weights, &element_slots, &row_slots;
  const Tensor &meta, &rows, &grads, &hyper;
  int64_t step;
};

template <typename T, template <typename> class Rule>
void run(const Arguments& a) {
  const auto weights = blocks_of<T>(a.weights, "weights"), element = blocks_of<T>(a.element_slots, "element_slots"),
             per_row = blocks_of<T>(a.row_slots, "row_slots");
  STD_TORCH_CHECK(element.width == Rule<T>::kElementSlots * weights.width, "element_slots must be ", Rule<T>::kElementSlots * weights.width,
                  " wide, got ", element.width);
  STD_TORCH_CHECK(per_row.width == Rule<T>::kRowSlots, "row_slots must be ", Rule<T>::kRowSlots, " wide, got ", per_row.width);
  check_covers(element, weights, "element_slots");
  check_covers(per_row, weights, "row_slots");
  STD_TORCH_CHECK(a.hyper.dim() == 2 && a.hyper.size(1) == kHyperWords, "hyper must be float64 [num_tables, 8]");
  STD_TORCH_CHECK(a.grads.dim() == 2 && a.grads.size(0) == a.rows.numel() && (a.weights.empty() || a.grads.size(1) == weights.width),
                  "grads must be [", a.rows.numel(), ", ", weights.width, "]");
  STD_TORCH_CHECK(a.meta.dim() == 2 && a.meta.size(0) >= weights.num_rows() && a.meta.size(1) == 4,
                  "meta [rows, 4] must cover every row of weights");
  const int32_t* rows = rows_of(a.rows, weights.num_rows(), "rows");
  const T* grads = input<T>(a.grads, "grads");
  int32_t* meta = output<int32_t>(a.meta, "meta");
  const double* hyper = input<double>(a.hyper, "hyper");
  std::vector<Rule<T>> rules;
  for (int64_t table = 0; table < a.hyper.size(0); ++table) rules.emplace_back(hyper + table * kHyperWords);
  for (int64_t i = 0; i < a.rows.numel(); ++i) {
    if (rows[i] < 0) continue;
    const int32_t table = meta[4 * int64_t{rows[i]} + 3];
    STD_TORCH_CHECK(table >= 0 && table < a.hyper.size(0), "row ", rows[i], " is of table ", table, ", hyper has ", a.hyper.size(0),
                    " tables");
  }
  torch::stable::parallel_for(0, a.rows.numel(), 256, [&](int64_t first, int64_t last) {
    update_rows<T, Rule>(weights, element, per_row, meta, rows, grads, rules, static_cast<int32_t>(a.step), first, last);
  });
}

// The codes of src/sparrow/ops/update_rows/rules.py.
template <typename T>
void dispatch(const Arguments& arguments, int64_t rule) {
  switch (rule) {
    case 0: return run<T, Sgd>(arguments);
    case 1: return run<T, Adagrad>(arguments);
    case 2: return run<T, Adam>(arguments);
    default: STD_TORCH_CHECK(false, "unknown update rule ", rule);
  }
}

}  // namespace

void update_rows_cpu(std::vector<Tensor> weights, std::vector<Tensor> element_slots, std::vector<Tensor> row_slots, Tensor meta,
                     Tensor rows, Tensor grads, Tensor hyper, int64_t rule, int64_t step) {
  const Arguments arguments{weights, element_slots, row_slots, meta, rows, grads, hyper, step};
  check_step(step);
  // A group whose tables hold no rows yet has no blocks; every row is -1 then, and nothing is done.
  const Tensor& like = weights.empty() ? grads : weights[0];
  if (like.scalar_type() == ScalarType::Double) return dispatch<double>(arguments, rule);
  dispatch<float>(arguments, rule);
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("update_rows_", TORCH_BOX(&sparrow::update_rows_cpu)); }
