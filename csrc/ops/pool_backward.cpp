#include "core/pool_backward.h"

#include <algorithm>
#include <optional>

#include "ops/kept_output.h"
#include "ops/pool_access.h"

namespace sparrow {
namespace {

// Pieces of equal work; a small problem is one thread's.
constexpr int64_t kPieces = 64;
constexpr int64_t kRowsPerThread = 2048;
constexpr int64_t kWorthSharing = 8192;
constexpr int64_t kMostParts = 12;

template <typename T>
Tensor pool_backward(const Tensor& grad, const Tensor& rows, const Tensor& inverse, const Tensor& offsets,
                     const std::optional<Tensor>& position_weights, const Tensor& combiners) {
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(1) == combiners.numel(),
                  "grad must be [num_samples, num_features, D] with num_features = ", combiners.numel());
  const int64_t num_unique = rows.numel(), dim = grad.size(2);
  const T* gradient = input<T>(grad, "grad");
  const int32_t* row = input<int32_t>(rows, "rows");
  const PoolInput<T> in = segments_of<T>(num_unique, inverse, offsets, position_weights, combiners, grad.size(0), dim);
  // A few thousand positions are one thread's; beyond a dozen threads looking at all positions would cost more than it saves.
  const int64_t num_parts = in.num_positions < kWorthSharing ? 1 : std::min<int64_t>(kMostParts, torch::stable::get_num_threads());
  OccurrenceSort<T> sort(in, num_unique, num_parts);
  const auto each_part = [num_parts](auto phase) {
    torch::stable::parallel_for(0, num_parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) phase(part);
    });
  };
  each_part([&](int64_t part) { sort.count(part); });
  sort.sum_parts();
  each_part([&](int64_t part) { sort.place(part); });
  const Occurrences<T>& occurrences = sort.sorted();
  Tensor out = empty_kept<T>({num_unique, dim}, grad);
  T* summed = output<T>(out, "out");
  const int64_t grain = std::max<int64_t>(1, kPieces * kRowsPerThread / std::max<int64_t>(1, in.num_positions + num_unique));
  torch::stable::parallel_for(0, kPieces, grain, [&](int64_t first, int64_t last) {
    const int64_t begin = first == 0 ? 0 : piece_end(occurrences, num_unique, first - 1, kPieces);
    const int64_t end = last == kPieces ? num_unique : piece_end(occurrences, num_unique, last - 1, kPieces);
    occurrences.factor ? sum_occurrences<T, true>(occurrences, gradient, row, dim, begin, end, summed)
                       : sum_occurrences<T, false>(occurrences, gradient, row, dim, begin, end, summed);
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
