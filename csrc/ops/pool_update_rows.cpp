#include "core/pool_update_rows.h"

#include <optional>
#include <vector>

#include "ops/occurrences.h"
#include "ops/operator.h"
#include "ops/update_access.h"

namespace sparrow {
namespace {

struct Gradient {
  const Tensor &grad, &table_offsets, &inverse, &offsets;
  const std::optional<Tensor>& position_weights;
  const Tensor& combiners;
  bool stamps;
};

template <typename W, typename Rule>
void run(const UpdateArguments& a, const Gradient& g) {
  using T = Compute<W>;
  const int64_t num_unique = a.rows.numel();
  PoolUpdate<W> in{update_of<W, Rule>(a), offsets_of(g.table_offsets, num_unique, "table_offsets"), input<T>(g.grad, "grad")};
  if (!g.stamps) in.update.meta = nullptr;
  const std::vector<Rule> rules = rules_of<Rule>(a.hyper);
  STD_TORCH_CHECK(g.table_offsets.numel() == a.hyper.size(0) + 1,
                  "table_offsets must hold one more than hyper has tables: ", a.hyper.size(0) + 1, ", holds ", g.table_offsets.numel());
  const PoolInput<T> segments = segments_of_gradient<T>(g.grad, num_unique, g.inverse, g.offsets, g.position_weights, g.combiners);
  if (a.weights.empty()) return;  // every row is -1
  STD_TORCH_CHECK(segments.dim == in.update.weights.width, "grad must be ", in.update.weights.width, " wide, as the weights are, got ",
                  segments.dim);
  const OccurrenceSort<T> sort = sort_occurrences(segments, num_unique);
  for_distinct_rows(sort.sorted(), num_unique, [&](int64_t begin, int64_t end) { pool_update_rows(in, sort.sorted(), rules, begin, end); });
}

}  // namespace

void pool_update_rows_cpu(std::vector<Tensor> weights, std::vector<Tensor> element_slots, std::vector<Tensor> row_slots, Tensor meta,
                          Tensor rows, Tensor table_offsets, Tensor grad, Tensor inverse, Tensor offsets,
                          std::optional<Tensor> position_weights, Tensor combiners, Tensor hyper, int64_t rule, int64_t step, bool stamps,
                          std::optional<Tensor> clock) {
  const UpdateArguments arguments{weights, element_slots, row_slots, meta, rows, hyper, step_of(step, clock)};
  const Gradient gradient{grad, table_offsets, inverse, offsets, position_weights, combiners, stamps};
  with_update(arguments, grad, rule, [&]<typename W, typename Rule>() { run<W, Rule>(arguments, gradient); });
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("pool_update_rows_", SPARROW_BOX(&sparrow::pool_update_rows_cpu)); }
