// Checked access to many ragged columns at once, with errors that name the result or input and the argument; pieces of rows for threads.
#pragma once

#include <vector>

#include "core/row_lists.h"
#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {

// What an error calls one column of a list of tensors: "keys of result 3".
struct ColumnName {
  const char* argument;
  const char* owner;
  int64_t number;
};

// Read pointer of a contiguous CPU tensor of T.
template <typename T>
const T* input(const Tensor& tensor, const ColumnName& name) {
  STD_TORCH_CHECK(tensor.is_cpu() && tensor.is_contiguous(), name.argument, " of ", name.owner, " ", name.number,
                  " must be a contiguous CPU tensor");
  STD_TORCH_CHECK(tensor.scalar_type() == scalar_type_of<T>(), name.argument, " of ", name.owner, " ", name.number, " has the wrong dtype");
  return reinterpret_cast<const T*>(tensor.const_data_ptr());
}

// Lists of `num_values` values by their offsets; an empty tensor of offsets says that each row has one value. Only the ends are checked:
// who reads rows asks `hold` first.
inline RowLists lists_of(const Tensor& offsets, int64_t num_values, const ColumnName& name) {
  const int64_t* data = input<int64_t>(offsets, name);
  const int64_t last = offsets.numel() - 1;
  if (last < 0) return {nullptr, num_values, num_values};
  STD_TORCH_CHECK(data[0] == 0 && data[last] == num_values, name.argument, " of ", name.owner, " ", name.number, " go from ", data[0],
                  " to ", data[last], ", must go from 0 to ", num_values, ", the number of values");
  return {data, last, num_values};
}

// Throws where offsets decrease: called once a piece has said that its rows do not hold.
inline void check_no_fall(const RowLists& lists, const ColumnName& name) {
  const int64_t row = lists.first_fall();
  STD_TORCH_CHECK(row < 0, name.argument, " of ", name.owner, " ", name.number, " must never decrease, do at row ", row);
}

// Weights of `num_values` values, or null where the tensor is empty.
inline const float* weights_of(const Tensor& weights, int64_t num_values, const ColumnName& name) {
  const float* data = input<float>(weights, name);
  const int64_t count = weights.numel();
  STD_TORCH_CHECK(count == 0 || count == num_values, name.argument, " of ", name.owner, " ", name.number, " are ", count, ", its values ",
                  num_values, "; give as many, or none");
  return count == 0 ? nullptr : data;
}

inline int64_t item_bytes_of(const Tensor& tensor, const ColumnName& name) {
  switch (tensor.scalar_type()) {
    case ScalarType::Byte:
    case ScalarType::Char:
    case ScalarType::Bool: return 1;
    case ScalarType::Short:
    case ScalarType::Half:
    case ScalarType::BFloat16: return 2;
    case ScalarType::Int:
    case ScalarType::Float: return 4;
    case ScalarType::Long:
    case ScalarType::Double: return 8;
    default:
      STD_TORCH_CHECK(false, name.argument, " of ", name.owner, " ", name.number, " have a dtype that columns do not have");
      return 0;
  }
}

// first_input [results + 1]: which inputs make up each result, at least `least` of `num_inputs`.
inline const int64_t* first_inputs_of(const Tensor& first_input, int64_t num_inputs, int64_t least) {
  const int64_t* first = input<int64_t>(first_input, "first_input");
  const int64_t num_results = first_input.numel() - 1;
  STD_TORCH_CHECK(num_results >= 0 && first[0] == 0 && first[num_results] == num_inputs, "first_input must go from 0 to ", num_inputs,
                  ", the number of inputs");
  for (int64_t result = 0; result < num_results; ++result)
    STD_TORCH_CHECK(first[result + 1] - first[result] >= least, "first_input: result ", result, " has ", first[result + 1] - first[result],
                    " inputs, must have at least ", least);
  return first;
}

// Returns an uninitialised CPU tensor [count]. Not by the dispatcher, which would cost more than a short column takes.
inline Tensor list_output(ScalarType type, int64_t item_bytes, int64_t count, const Tensor& like) {
  if (count * item_bytes >= kKeptOutputBytes) return empty_kept(type, item_bytes, {count}, like);
  const auto code = [](auto value) { return torch::stable::detail::to<int32_t>(torch::stable::detail::from(value)); };
  static const int32_t cpu = code(torch::headeronly::DeviceType::CPU);
  const int64_t stride = 1;
  AtenTensorHandle handle = nullptr;
  const AOTITorchError error = aoti_torch_empty_strided(1, &count, &stride, code(type), cpu, -1, &handle);
  STD_TORCH_CHECK(error == 0, "an output of ", count, " values could not be made");
  return Tensor(handle);
}

template <typename T>
Tensor list_output(int64_t count, const Tensor& like) {
  return list_output(scalar_type_of<T>(), sizeof(T), count, like);
}

// Calls work(scratch, piece) for all pieces, with a scratch of its own for each thread. Returns whether all said true.
template <typename Scratch, typename Work>
bool all_pieces(const std::vector<ResultRows>& pieces, int64_t num_values, Work work) {
  // What starting a thread is worth.
  constexpr int64_t kValuesPerThread = 32768;
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  const int64_t grain = std::max<int64_t>(1, num_pieces * kValuesPerThread / (num_values + num_pieces * kResultRows + 1));
  std::atomic<bool> all = true;
  parallel_for(0, num_pieces, grain, [&](int64_t first, int64_t last) {
    Scratch scratch{};
    for (int64_t i = first; i < last; ++i)
      if (!work(scratch, pieces[i])) all = false;
  });
  return all;
}

struct NoScratch {};

}  // namespace sparrow
