// Lists of tensors as row blocks, checked: equal shapes [rows_per_block, width], rows_per_block a power of two.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "core/blocks.h"
#include "ops/tensor_access.h"

namespace sparrow {

// Calls f with a value of the type that weights of `type` are stored in.
template <typename F>
void with_weight_type(ScalarType type, F f) {
  switch (type) {
    case ScalarType::Float: return f(float{});
    case ScalarType::Double: return f(double{});
    case ScalarType::BFloat16: return f(BFloat16{});
    case ScalarType::Half: return f(Float16{});
    default: STD_TORCH_CHECK(false, "weights must be float32, float64, bfloat16 or float16");
  }
}

template <typename T>
Blocks<T> blocks_of(const std::vector<Tensor>& tensors, const char* name) {
  Blocks<T> blocks;
  blocks.data.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    STD_TORCH_CHECK(tensor.dim() == 2 && tensor.size(0) == tensors[0].size(0) && tensor.size(1) == tensors[0].size(1), name,
                    ": blocks must be 2-D and of equal shape");
    blocks.data.push_back(output<T>(tensor, name));
  }
  if (!tensors.empty()) {
    const int64_t rows_per_block = tensors[0].size(0);
    STD_TORCH_CHECK(rows_per_block > 0 && (rows_per_block & (rows_per_block - 1)) == 0, name,
                    ": rows per block must be a power of two, got ", rows_per_block);
    while ((int64_t{1} << blocks.shift) < rows_per_block) ++blocks.shift;
    blocks.width = tensors[0].size(1);
  }
  return blocks;
}

// Checks that `slots`, unless there are none, have a row for every row of `weights`, at the same place.
template <typename T, typename W>
void check_covers(const Blocks<T>& slots, const Blocks<W>& weights, const char* name) {
  STD_TORCH_CHECK(slots.data.empty() || (slots.shift == weights.shift && slots.data.size() >= weights.data.size()), name,
                  " must cover every row of weights, in blocks of as many rows");
}

// Whether data[0, count) lie in [begin, end).
inline bool all_within(const int32_t* data, int64_t count, int64_t begin, int64_t end) {
  if (end <= begin) return count == 0;
  const auto low = static_cast<uint32_t>(begin), most = static_cast<uint32_t>(std::min<int64_t>(end - 1, INT32_MAX)) - low;
  return all_runs(count, [=](int64_t first, int64_t last) {
    uint32_t largest = 0;  // never leaves the loop, so that it vectorises
    for (int64_t i = first; i < last; ++i) largest = std::max(largest, static_cast<uint32_t>(data[i]) - low);
    return largest <= most;
  });
}

// Read pointer of int32 rows, the first `count` (all when negative) checked to be -1 or inside the blocks.
inline const int32_t* rows_of(const Tensor& rows, int64_t num_rows, const char* name, int64_t count = -1) {
  const int32_t* data = input<int32_t>(rows, name);
  if (count < 0) count = rows.numel();
  if (!all_within(data, count, -1, num_rows))
    for (int64_t i = 0; i < count; ++i)
      STD_TORCH_CHECK(data[i] >= -1 && data[i] < num_rows, name, "[", i, "] is ", data[i], ", the blocks hold ", num_rows, " rows");
  return data;
}

// Read pointer of int32 indices, the first `count` (all when negative) checked to lie in [0, end).
inline const int32_t* indices_of(const Tensor& indices, int64_t end, const char* name, int64_t count = -1) {
  const int32_t* data = input<int32_t>(indices, name);
  if (count < 0) count = indices.numel();
  if (!all_within(data, count, 0, end))
    for (int64_t i = 0; i < count; ++i)
      STD_TORCH_CHECK(data[i] >= 0 && data[i] < end, name, "[", i, "] is ", data[i], ", expected 0 to ", end - 1);
  return data;
}

// Returns the step to stamp rows with: that of `clock` where there is one.
inline int64_t step_of(int64_t step, const std::optional<Tensor>& clock) {
  if (clock) step = scalar(*clock, "clock");
  check_step(step);
  return step;
}

}  // namespace sparrow
