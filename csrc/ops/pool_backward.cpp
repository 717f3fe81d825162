#include "core/pool_backward.h"

#include <optional>
#include <vector>

#include "ops/block_access.h"

namespace sparrow {
namespace {

template <typename T>
Tensor pool_backward(const Tensor& grad, const Tensor& rows, const Tensor& inverse, const Tensor& offsets,
                     const std::optional<Tensor>& position_weights, const Tensor& combiners) {
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(1) == combiners.numel(), "grad must be [num_samples, num_features, D]");
  const int64_t num_samples = grad.size(0), num_features = grad.size(1), dim = grad.size(2);
  const int64_t num_unique = rows.numel(), num_positions = inverse.numel();
  STD_TORCH_CHECK(offsets.numel() == num_features * num_samples + 1, "offsets must be int64 [num_features * num_samples + 1]");
  STD_TORCH_CHECK(!position_weights || position_weights->numel() == num_positions, "position_weights must hold one value an id");
  const T* gradient = input<T>(grad, "grad");
  const int32_t* row = input<int32_t>(rows, "rows");
  const int32_t* index = indices_of(inverse, num_unique, "inverse");
  const int64_t* offset = offsets_of(offsets, num_positions, "offsets");
  const int64_t* combiner = input<int64_t>(combiners, "combiners");
  const float* weight = position_weights ? input<float>(*position_weights, "position_weights") : nullptr;
  // Per position: the gradient row it receives, and by what factor.
  std::vector<int32_t> source(num_positions);
  std::vector<T> factor(num_positions);
  torch::stable::parallel_for(0, num_features * num_samples, 512, [&](int64_t first, int64_t last) {
    for (int64_t segment = first; segment < last; ++segment) {
      const int64_t feature = segment / num_samples, begin = offset[segment], end = offset[segment + 1];
      const T by = combiner[feature] == kMean && begin < end ? divisor<T>(weight, begin, end) : T(1);
      for (int64_t position = begin; position < end; ++position) {
        const T own = weight == nullptr ? T(1) : static_cast<T>(weight[position]);
        source[position] = static_cast<int32_t>(segment % num_samples * num_features + feature);
        factor[position] = by == T(0) ? T(0) : own / by;
      }
    }
  });
  const PositionsByRow by_row(index, num_positions, num_unique);
  Tensor out = empty<T>({num_unique, dim}, grad);
  T* summed = output<T>(out, "out");
  torch::stable::parallel_for(0, num_unique, 256, [&](int64_t first, int64_t last) {
    std::vector<T> chunk(dim);
    for (int64_t unique = first; unique < last; ++unique) {
      const int32_t* position = by_row.positions.data() + by_row.first[unique];
      const int64_t count = row[unique] < 0 ? 0 : by_row.first[unique + 1] - by_row.first[unique];
      auto value = [&](int64_t i) { return gradient + source[position[i]] * dim; };
      chunked_sum<T>(count, dim, value, [&](int64_t i) { return factor[position[i]]; }, summed + unique * dim, chunk.data());
    }
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

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("pool_backward", TORCH_BOX(&sparrow::pool_backward_cpu)); }
