// The arguments that gather_pool and pool_backward share, checked.
#pragma once

#include <optional>

#include "core/gather_pool.h"
#include "ops/block_access.h"

namespace sparrow {

// Returns the segments to pool: all but the rows, which only the forward reads.
template <typename W>
PoolInput<W> segments_of(int64_t num_unique, const Tensor& inverse, const Tensor& offsets, const std::optional<Tensor>& position_weights,
                         const Tensor& combiners, int64_t num_samples, int64_t dim) {
  PoolInput<W> in{};
  in.num_positions = inverse.numel();
  in.num_features = combiners.numel();
  in.num_samples = num_samples;
  in.dim = dim;
  STD_TORCH_CHECK(num_samples >= 0 && num_samples < INT32_MAX, "num_samples must be from 0 to 2^31 - 2, got ", num_samples);
  STD_TORCH_CHECK(in.num_positions < INT32_MAX, "inverse: one call takes fewer than 2^31 ids, got ", in.num_positions);
  STD_TORCH_CHECK(offsets.numel() == in.num_features * num_samples + 1, "offsets must be int64 [num_features * num_samples + 1] = [",
                  in.num_features * num_samples + 1, "], holds ", offsets.numel());
  STD_TORCH_CHECK(in.num_features * num_samples < INT32_MAX, "offsets: one call takes fewer than 2^31 segments");
  in.inverse = indices_of(inverse, num_unique, "inverse");
  in.offsets = offsets_of(offsets, in.num_positions, "offsets");
  in.combiners = input<int64_t>(combiners, "combiners");
  for (int64_t feature = 0; feature < in.num_features; ++feature)
    STD_TORCH_CHECK(in.combiners[feature] >= kSum && in.combiners[feature] <= kSqrtN, "combiners[", feature, "] is ", in.combiners[feature],
                    ", expected 0 (sum), 1 (mean) or 2 (sqrtn)");
  if (position_weights) {
    in.position_weights = input<float>(*position_weights, "position_weights");
    STD_TORCH_CHECK(position_weights->numel() == in.num_positions, "position_weights must hold one value an id: ", in.num_positions,
                    ", holds ", position_weights->numel());
  }
  in.one_id_each = !position_weights && in.num_positions == in.num_features * num_samples &&
                   all_runs(in.num_positions, [&in](int64_t first, int64_t last) {
                     int64_t others = 0;
                     for (int64_t i = first; i < last; ++i) others += in.offsets[i] != i;
                     return others == 0;
                   });
  return in;
}

// The same for a gradient [num_samples, F, D] of the pooled rows.
template <typename T>
PoolInput<T> segments_of_gradient(const Tensor& grad, int64_t num_unique, const Tensor& inverse, const Tensor& offsets,
                                  const std::optional<Tensor>& position_weights, const Tensor& combiners) {
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(1) == combiners.numel(),
                  "grad must be [num_samples, num_features, D] with num_features = ", combiners.numel());
  return segments_of<T>(num_unique, inverse, offsets, position_weights, combiners, grad.size(0), grad.size(2));
}

}  // namespace sparrow
