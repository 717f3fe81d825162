#include "core/gather_pool.h"

#include <optional>
#include <vector>

#include "ops/block_access.h"

namespace sparrow {
namespace {

template <typename T>
Tensor gather_pool(const Tensor& sink, const std::vector<Tensor>& weights, const Tensor& default_row, const Tensor& rows,
                   const Tensor& inverse, const Tensor& offsets, const std::optional<Tensor>& position_weights, const Tensor& combiners,
                   int64_t num_samples) {
  const int64_t num_features = combiners.numel();
  const int64_t dim = default_row.numel();
  PoolInput<T> in;
  in.weights = blocks_of<T>(weights, "weights");
  STD_TORCH_CHECK(weights.empty() || in.weights.width == dim, "default_row must hold as many values as a row of weights");
  STD_TORCH_CHECK(sink.dim() == 2 && sink.size(0) == rows.numel() && sink.size(1) == dim, "sink must be [U, D]");
  STD_TORCH_CHECK(offsets.numel() == num_features * num_samples + 1, "offsets must be int64 [num_features * num_samples + 1]");
  in.default_row = input<T>(default_row, "default_row");
  in.rows = rows_of(rows, in.weights.num_rows(), "rows");
  in.inverse = indices_of(inverse, rows.numel(), "inverse");
  in.offsets = offsets_of(offsets, inverse.numel(), "offsets");
  in.position_weights = position_weights ? input<float>(*position_weights, "position_weights") : nullptr;
  STD_TORCH_CHECK(!position_weights || position_weights->numel() == inverse.numel(), "position_weights must hold one value an id");
  in.num_positions = inverse.numel();
  in.dim = dim;
  const int64_t* combiner = input<int64_t>(combiners, "combiners");
  Tensor out = empty<T>({num_samples, num_features, dim}, default_row);
  T* pooled = output<T>(out, "out");
  // Segments of one feature follow each other, so that prefetches of the next ids stay within the feature.
  torch::stable::parallel_for(0, num_features * num_samples, 512, [&](int64_t first, int64_t last) {
    std::vector<T> chunk(dim);
    for (int64_t segment = first; segment < last; ++segment) {
      const int64_t feature = segment / num_samples, sample = segment % num_samples;
      T* target = pooled + (sample * num_features + feature) * dim;
      pool_segment<T>(in, in.offsets[segment], in.offsets[segment + 1], combiner[feature], target, chunk.data());
    }
  });
  return out;
}

}  // namespace

Tensor gather_pool_cpu(Tensor sink, std::vector<Tensor> weights, Tensor default_row, Tensor rows, Tensor inverse, Tensor offsets,
                       std::optional<Tensor> position_weights, Tensor combiners, int64_t num_samples) {
  if (default_row.scalar_type() == ScalarType::Double)
    return gather_pool<double>(sink, weights, default_row, rows, inverse, offsets, position_weights, combiners, num_samples);
  return gather_pool<float>(sink, weights, default_row, rows, inverse, offsets, position_weights, combiners, num_samples);
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("gather_pool", TORCH_BOX(&sparrow::gather_pool_cpu)); }
