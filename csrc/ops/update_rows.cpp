#include "core/update_rows.h"

#include <atomic>
#include <optional>
#include <vector>

#include "ops/operator.h"
#include "ops/update_access.h"

namespace sparrow {
namespace {

template <typename W, typename Rule>
void run(const UpdateArguments& a, const Tensor& grads) {
  UpdateRows<W> in = update_of<W, Rule>(a);
  STD_TORCH_CHECK(grads.dim() == 2 && grads.size(0) == a.rows.numel() && (a.weights.empty() || grads.size(1) == in.weights.width),
                  "grads must be [", a.rows.numel(), ", ", in.weights.width, "]");
  in.grads = input<Compute<W>>(grads, "grads");
  const std::vector<Rule> rules = rules_of<Rule>(a.hyper);
  std::atomic<int64_t> stray = -1;
  parallel_for(0, a.rows.numel(), 256, [&](int64_t first, int64_t last) {
    if (const int64_t found = update_rows(in, rules, first, last); found >= 0) stray = found;
  });
  STD_TORCH_CHECK(stray < 0, "row ", in.rows[stray], " is of table ", in.meta[in.rows[stray]].table, ", hyper has ", a.hyper.size(0),
                  " tables");
}

}  // namespace

void update_rows_cpu(std::vector<Tensor> weights, std::vector<Tensor> element_slots, std::vector<Tensor> row_slots, Tensor meta,
                     Tensor rows, Tensor grads, Tensor hyper, int64_t rule, int64_t step, std::optional<Tensor> clock) {
  const UpdateArguments arguments{weights, element_slots, row_slots, meta, rows, hyper, step_of(step, clock)};
  with_update(arguments, grads, rule, [&]<typename W, typename Rule>() { run<W, Rule>(arguments, grads); });
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("update_rows_", SPARROW_BOX(&sparrow::update_rows_cpu)); }
