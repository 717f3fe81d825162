#include "core/gather_pool.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/pool_access.h"

namespace sparrow {
namespace {

// Rows a thread should at least read or write before a second one is worth waking.
constexpr int64_t kRowsPerThread = 2048;

template <typename W>
Tensor gather_pool(const Tensor& sink, const std::vector<Tensor>& weights, const Tensor& default_row, const Tensor& rows,
                   const Tensor& inverse, const Tensor& offsets, const std::optional<Tensor>& position_weights, const Tensor& combiners,
                   int64_t num_samples) {
  using T = Compute<W>;
  const int64_t dim = default_row.numel();
  STD_TORCH_CHECK(sink.dim() == 2 && sink.size(0) == rows.numel() && sink.size(1) == dim, "sink must be [U, D] = [", rows.numel(), ", ",
                  dim, "]");
  STD_TORCH_CHECK(sink.scalar_type() == scalar_type_of<T>(),
                  "sink must have the dtype of default_row, or be float32 where that has 16 bits");
  PoolInput<W> in = segments_of<W>(rows.numel(), inverse, offsets, position_weights, combiners, num_samples, dim);
  in.weights = blocks_of<W>(weights, "weights");
  STD_TORCH_CHECK(weights.empty() || in.weights.width == dim,
                  "default_row must hold as many values as a row of weights: ", in.weights.width, ", holds ", dim);
  in.default_row = input<W>(default_row, "default_row");
  in.rows = rows_of(rows, in.weights.num_rows(), "rows");
  Tensor out = empty_kept<T>({num_samples, in.num_features, dim}, default_row);
  T* pooled = output<T>(out, "out");
  const int64_t num_rows = in.num_positions + num_samples * in.num_features;
  if (in.one_id_each) {
    const int64_t grain = std::max<int64_t>(1, kRowsPerThread / std::max<int64_t>(1, in.num_features));
    parallel_for(0, num_samples, grain, [&](int64_t first, int64_t last) { gather_samples(in, first, last, pooled); });
    return out;
  }
  const int64_t num_tasks = num_pool_tasks(in);
  const int64_t grain = std::max<int64_t>(1, num_tasks * kRowsPerThread / std::max<int64_t>(1, num_rows));
  parallel_for(0, num_tasks, grain, [&](int64_t first, int64_t last) {
    in.position_weights == nullptr ? pool_tasks<W, false>(in, first, last, pooled) : pool_tasks<W, true>(in, first, last, pooled);
  });
  return out;
}

}  // namespace

Tensor gather_pool_cpu(Tensor sink, std::vector<Tensor> weights, Tensor default_row, Tensor rows, Tensor inverse, Tensor offsets,
                       std::optional<Tensor> position_weights, Tensor combiners, int64_t num_samples) {
  Tensor out = sink;
  with_weight_type(default_row.scalar_type(), [&](auto weight) {
    out = gather_pool<decltype(weight)>(sink, weights, default_row, rows, inverse, offsets, position_weights, combiners, num_samples);
  });
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("gather_pool", SPARROW_BOX(&sparrow::gather_pool_cpu)); }
