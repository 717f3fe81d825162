#include <cmath>
#include <vector>

#include "ops/tensor_access.h"

namespace sparrow {
namespace {

// Number of boundaries <= value, by a branchless binary search: the trip count depends on the boundaries alone, so nothing mispredicts.
inline int64_t bucket_of(double value, const double* boundaries, int64_t count) {
  if (std::isnan(value)) return count;
  const double* base = boundaries;
  while (count > 1) {
    const int64_t half = count / 2;
    base += base[half - 1] <= value ? half : 0;
    count -= half;
  }
  return base - boundaries + (count == 1 && base[0] <= value);
}

template <typename T>
void bucketize(const Tensor& values, const double* boundary, int64_t num_boundaries, int64_t* bucket) {
  const T* value = input<T>(values, "values");
  torch::stable::parallel_for(0, values.numel(), 8192, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) bucket[i] = bucket_of(static_cast<double>(value[i]), boundary, num_boundaries);
  });
}

}  // namespace

Tensor bucketize_cpu(Tensor values, Tensor boundaries) {
  const double* boundary = input<double>(boundaries, "boundaries");
  for (int64_t i = 1; i < boundaries.numel(); ++i)
    STD_TORCH_CHECK(boundary[i - 1] < boundary[i], "boundaries must increase, do not at ", i);
  Tensor out = empty<int64_t>({values.numel()}, boundaries);
  auto* bucket = output<int64_t>(out, "out");
  if (values.scalar_type() == ScalarType::Double)
    bucketize<double>(values, boundary, boundaries.numel(), bucket);
  else
    bucketize<float>(values, boundary, boundaries.numel(), bucket);
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("bucketize", TORCH_BOX(&sparrow::bucketize_cpu)); }
