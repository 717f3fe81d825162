#include "core/bucketize.h"

#include "ops/tensor_access.h"

namespace sparrow {
namespace {

template <typename Value, typename Boundary>
void bucketize(const Tensor& values, const Boundary* boundary, int64_t num_boundaries, int64_t* bucket) {
  const auto* value = input<Value>(values, "values");
  torch::stable::parallel_for(0, values.numel(), 8192, [=](int64_t first, int64_t last) {
    count_reached(value + first, last - first, boundary, num_boundaries, bucket + first);
  });
}

}  // namespace

Tensor bucketize_cpu(Tensor values, Tensor boundaries) {
  const double* boundary = input<double>(boundaries, "boundaries");
  const int64_t num_boundaries = boundaries.numel();
  // Written so that NaN fails, a single one too.
  for (int64_t i = 0; i < num_boundaries; ++i)
    STD_TORCH_CHECK(i == 0 ? boundary[0] == boundary[0] : boundary[i - 1] < boundary[i], "boundaries must increase, do not at ", i);
  Tensor out = empty<int64_t>({values.numel()}, boundaries);
  auto* bucket = output<int64_t>(out, "out");
  if (values.scalar_type() == ScalarType::Long) {
    const auto integers = first_integers(boundary, num_boundaries);
    bucketize<int64_t>(values, integers.data(), static_cast<int64_t>(integers.size()), bucket);
  } else if (values.scalar_type() == ScalarType::Double) {
    bucketize<double>(values, boundary, num_boundaries, bucket);
  } else {
    STD_TORCH_CHECK(values.scalar_type() == ScalarType::Float, "values must be float32, float64 or int64");
    bucketize<float>(values, boundary, num_boundaries, bucket);
  }
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("bucketize", TORCH_BOX(&sparrow::bucketize_cpu)); }
