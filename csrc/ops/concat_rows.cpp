#include "core/concat_rows.h"

#include <tuple>

#include "ops/list_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

struct Concat {
  const ConcatInput* inputs;
  int64_t num_inputs, item_bytes;
  void* values;
  float* weights;
  int64_t* offsets;
};

void concat_piece(const Concat& concat, const ResultRows& piece) {
  const auto run = [&](auto word) {
    concat_rows(concat.inputs, concat.num_inputs, piece.first, piece.last, static_cast<decltype(word)*>(concat.values), concat.weights,
                concat.offsets);
  };
  switch (concat.item_bytes) {
    case 1: run(uint8_t{}); break;
    case 2: run(uint16_t{}); break;
    case 4: run(uint32_t{}); break;
    default: run(uint64_t{});
  }
}

}  // namespace

std::tuple<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>> concat_rows_cpu(std::vector<Tensor> values,
                                                                                          std::vector<Tensor> weights,
                                                                                          std::vector<Tensor> offsets, Tensor first_input) {
  const auto num_inputs = static_cast<int64_t>(values.size());
  STD_TORCH_CHECK(weights.size() == values.size() && offsets.size() == values.size(),
                  "values, weights and offsets must be of as many inputs, are ", values.size(), ", ", weights.size(), " and ",
                  offsets.size());
  std::vector<ConcatInput> inputs(num_inputs);
  for (int64_t i = 0; i < num_inputs; ++i) {
    STD_TORCH_CHECK(values[i].is_cpu() && values[i].is_contiguous(), "values of input ", i, " must be a contiguous CPU tensor");
    const int64_t num_values = values[i].numel();
    inputs[i] = {values[i].const_data_ptr(), weights_of(weights[i], num_values, {"weights", "input", i}),
                 lists_of(offsets[i], num_values, {"offsets", "input", i})};
  }
  const int64_t* first_of = first_inputs_of(first_input, num_inputs, 1);
  const int64_t num_results = first_input.numel() - 1;
  std::vector<Concat> concats(num_results);
  std::vector<Tensor> out_values, out_weights, out_offsets;
  out_values.reserve(num_results);
  out_weights.reserve(num_results);
  out_offsets.reserve(num_results);
  std::vector<ResultRows> pieces;
  int64_t num_copied = 0;
  for (int64_t result = 0; result < num_results; ++result) {
    const int64_t first = first_of[result], num_rows = inputs[first].lists.num_rows;
    const Tensor& like = values[first];
    int64_t size = 0;
    bool weighted = false;
    for (int64_t i = first; i < first_of[result + 1]; ++i) {
      STD_TORCH_CHECK(inputs[i].lists.num_rows == num_rows, "result ", result, ": input ", i, " has ", inputs[i].lists.num_rows,
                      " rows, its first input has ", num_rows);
      STD_TORCH_CHECK(values[i].scalar_type() == like.scalar_type(), "result ", result, ": values of input ", i,
                      " have another dtype than those of its first input");
      size += inputs[i].lists.num_values;
      weighted |= inputs[i].weights != nullptr;
    }
    const int64_t item_bytes = item_bytes_of(like, {"values", "input", first});
    out_values.push_back(list_output(like.scalar_type(), item_bytes, size, like));
    out_weights.push_back(list_output<float>(weighted ? size : 0, first_input));
    out_offsets.push_back(list_output<int64_t>(num_rows + 1, first_input));
    concats[result] = {inputs.data() + first,
                       first_of[result + 1] - first,
                       item_bytes,
                       out_values.back().mutable_data_ptr(),
                       weighted ? static_cast<float*>(out_weights.back().mutable_data_ptr()) : nullptr,
                       static_cast<int64_t*>(out_offsets.back().mutable_data_ptr())};
    concats[result].offsets[0] = 0;
    add_result_rows(result, num_rows, pieces);
    num_copied += size;
  }
  const bool good = all_pieces<NoScratch>(pieces, num_copied, [&](NoScratch&, const ResultRows& piece) {
    const Concat& concat = concats[piece.result];
    for (int64_t i = 0; i < concat.num_inputs; ++i)
      if (!concat.inputs[i].lists.hold(piece.first, piece.last)) return false;
    concat_piece(concat, piece);
    return true;
  });
  for (int64_t i = 0; !good && i < num_inputs; ++i) check_no_fall(inputs[i].lists, {"offsets", "input", i});
  return {out_values, out_weights, out_offsets};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("concat_rows", SPARROW_BOX(&sparrow::concat_rows_cpu)); }
