// The only shim between torch tensors and the torch-free kernels: checked, typed pointers, and errors that name the argument.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <atomic>
#include <cstdint>

#include "core/half.h"
#include "ops/operator.h"

namespace sparrow {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
constexpr ScalarType scalar_type_of();
template <>
constexpr ScalarType scalar_type_of<int64_t>() {
  return ScalarType::Long;
}
template <>
constexpr ScalarType scalar_type_of<int32_t>() {
  return ScalarType::Int;
}
template <>
constexpr ScalarType scalar_type_of<uint8_t>() {
  return ScalarType::Byte;
}
template <>
constexpr ScalarType scalar_type_of<BFloat16>() {
  return ScalarType::BFloat16;
}
template <>
constexpr ScalarType scalar_type_of<Float16>() {
  return ScalarType::Half;
}
template <>
constexpr ScalarType scalar_type_of<float>() {
  return ScalarType::Float;
}
template <>
constexpr ScalarType scalar_type_of<double>() {
  return ScalarType::Double;
}

// Read pointer of a contiguous CPU tensor of T. `name` is the argument's name in the schema.
template <typename T>
const T* input(const Tensor& tensor, const char* name) {
  STD_TORCH_CHECK(tensor.is_cpu() && tensor.is_contiguous(), name, " must be a contiguous CPU tensor");
  STD_TORCH_CHECK(tensor.scalar_type() == scalar_type_of<T>(), name, " has the wrong dtype");
  return reinterpret_cast<const T*>(tensor.const_data_ptr());
}

// Write pointer of a contiguous CPU tensor of T.
template <typename T>
T* output(const Tensor& tensor, const char* name) {
  STD_TORCH_CHECK(tensor.is_cpu() && tensor.is_contiguous(), name, " must be a contiguous CPU tensor");
  STD_TORCH_CHECK(tensor.scalar_type() == scalar_type_of<T>(), name, " has the wrong dtype");
  return reinterpret_cast<T*>(tensor.mutable_data_ptr());
}

// Value of a one-element int64 tensor: a count that an operator before wrote.
inline int64_t scalar(const Tensor& tensor, const char* name) {
  STD_TORCH_CHECK(tensor.numel() == 1, name, " must hold one value, holds ", tensor.numel());
  return *input<int64_t>(tensor, name);
}

template <typename T>
Tensor empty(std::initializer_list<int64_t> shape, const Tensor& like) {
  return torch::stable::new_empty(like, torch::headeronly::IntHeaderOnlyArrayRef(shape.begin(), shape.size()), scalar_type_of<T>());
}

// Steps are stored in int32 metadata.
inline void check_step(int64_t step) { STD_TORCH_CHECK(step >= 0 && step <= INT32_MAX, "step must be from 0 to 2^31 - 1, got ", step); }

// Whether holds(first, last) for runs that make up [0, count), asked by all threads.
template <typename F>
bool all_runs(int64_t count, F holds) {
  constexpr int64_t kGrain = 32768;
  if (count <= kGrain) return holds(int64_t{0}, count);
  std::atomic<bool> all = true;
  parallel_for(0, count, kGrain, [&](int64_t first, int64_t last) {
    if (!holds(first, last)) all = false;
  });
  return all;
}

// Checks that `offsets` [n + 1] cuts [0, num_elements) into n non-negative pieces, and returns its read pointer.
inline const int64_t* offsets_of(const Tensor& offsets, int64_t num_elements, const char* name) {
  const int64_t* data = input<int64_t>(offsets, name);
  const int64_t last = offsets.numel() - 1;
  STD_TORCH_CHECK(last >= 0 && data[0] == 0 && data[last] == num_elements, name, " must start at 0 and end at ", num_elements);
  const bool never_decrease = all_runs(last, [=](int64_t begin, int64_t end) {
    int64_t falls = 0;  // counted without leaving the loop, so that it vectorises
    for (int64_t i = begin; i < end; ++i) falls += data[i] > data[i + 1];
    return falls == 0;
  });
  for (int64_t i = 0; !never_decrease && i < last; ++i) STD_TORCH_CHECK(data[i] <= data[i + 1], name, " must never decrease, does at ", i);
  return data;
}

}  // namespace sparrow
