#include "core/pool_backward.h"

#include <optional>

#include "ops/kept_output.h"
#include "ops/occurrences.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

template <typename T>
Tensor pool_backward(const Tensor& grad, const Tensor& rows, const Tensor& inverse, const Tensor& offsets,
                     const std::optional<Tensor>& position_weights, const Tensor& combiners) {
  const int64_t num_unique = rows.numel();
  const PoolInput<T> in = segments_of_gradient<T>(grad, num_unique, inverse, offsets, position_weights, combiners);
  const T* gradient = input<T>(grad, "grad");
  const int32_t* row = input<int32_t>(rows, "rows");
  const OccurrenceSort<T> sort = sort_occurrences(in, num_unique);
  const Occurrences<T>& occurrences = sort.sorted();
  Tensor out = empty_kept<T>({num_unique, in.dim}, grad);
  T* summed = output<T>(out, "out");
  for_distinct_rows(occurrences, num_unique, [&](int64_t begin, int64_t end) {
    occurrences.factor ? sum_occurrences<T, true>(occurrences, gradient, row, in.dim, begin, end, summed)
                       : sum_occurrences<T, false>(occurrences, gradient, row, in.dim, begin, end, summed);
  });
  return out;
}

}  // namespace

Tensor pool_backward_cpu(Tensor grad, Tensor rows, Tensor inverse, Tensor offsets, std::optional<Tensor> position_weights,
                         Tensor combiners) {
  if (grad.scalar_type() == ScalarType::Double) return pool_backward<double>(grad, rows, inverse, offsets, position_weights, combiners);
  return pool_backward<float>(grad, rows, inverse, offsets, position_weights, combiners);
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("pool_backward", SPARROW_BOX(&sparrow::pool_backward_cpu)); }
