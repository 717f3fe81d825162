#include "core/cut_rows.h"

#include <vector>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {
namespace {

// A vector of `count` neighbours of a contiguous tensor from element `first` on, which shares its memory.
Tensor part_of(const Tensor& whole, int64_t first, int64_t count) {
  const int64_t stride = 1;
  AtenTensorHandle handle = nullptr;
  // A slice by the dispatcher costs three times as much.
  STD_TORCH_CHECK(aoti_torch__reinterpret_tensor(whole.get(), 1, &count, &stride, first, &handle) == 0, "a view of ", count,
                  " values could not be made");
  return Tensor(handle);
}

}  // namespace

std::vector<Tensor> cut_rows_cpu(Tensor offsets, std::vector<Tensor> values, std::vector<Tensor> dense, int64_t begin, int64_t end) {
  STD_TORCH_CHECK(offsets.dim() == 2 && offsets.size(1) > 0, "offsets must be [columns, rows + 1]");
  const int64_t num_lists = offsets.size(0), rows = offsets.size(1) - 1;
  STD_TORCH_CHECK(static_cast<int64_t>(values.size()) == num_lists, "values must be a tensor a row of offsets");
  STD_TORCH_CHECK(begin >= 0 && begin <= end && end <= rows, "rows ", begin, " to ", end, " are not among ", rows);
  const auto* offset = input<int64_t>(offsets, "offsets");
  int64_t num_dense = 0;
  for (const Tensor& matrix : dense) {
    STD_TORCH_CHECK(matrix.is_cpu() && matrix.is_contiguous() && matrix.dim() == 2 && matrix.size(1) == rows,
                    "dense must be contiguous CPU tensors [columns, ", rows, "]");
    num_dense += matrix.size(0);
  }
  std::vector<Tensor> out;
  out.reserve(num_dense + 2 * num_lists);
  for (const Tensor& matrix : dense)
    for (int64_t column = 0; column < matrix.size(0); ++column) out.push_back(part_of(matrix, column * rows + begin, end - begin));
  Tensor bounds = empty_kept<int64_t>({num_lists, end - begin + 1}, offsets);
  auto* bound = output<int64_t>(bounds, "bounds");
  for (int64_t column = 0; column < num_lists; ++column, offset += rows + 1, bound += end - begin + 1) {
    const Tensor& of = values[column];
    STD_TORCH_CHECK(of.is_cpu() && of.is_contiguous() && of.dim() == 1, "values must be contiguous CPU tensors of one dimension");
    const ValueRun run = cut_offsets(offset, begin, end, of.numel(), bound);
    STD_TORCH_CHECK(run.begin <= run.end, "offsets: those of column ", column, " decrease, or end beyond its ", of.numel(), " values");
    out.push_back(part_of(of, run.begin, run.end - run.begin));
  }
  for (int64_t column = 0; column < num_lists; ++column) out.push_back(part_of(bounds, column * (end - begin + 1), end - begin + 1));
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("cut_rows", SPARROW_BOX(&sparrow::cut_rows_cpu)); }
