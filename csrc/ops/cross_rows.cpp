#include "core/cross_rows.h"

#include <tuple>

#include "ops/list_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

struct Cross {
  const CrossInput* inputs;
  int64_t num_inputs, num_rows;
  bool weighted;
  int64_t* offsets;
  uint64_t* ids;
  float* weights;
};

std::vector<CrossInput> inputs_of(const std::vector<Tensor>& values, const std::vector<Tensor>& weights,
                                  const std::vector<Tensor>& offsets) {
  const auto num_inputs = static_cast<int64_t>(values.size());
  STD_TORCH_CHECK(weights.size() == values.size() && offsets.size() == values.size(),
                  "values, weights and offsets must be of as many inputs, are ", values.size(), ", ", weights.size(), " and ",
                  offsets.size());
  std::vector<CrossInput> inputs(num_inputs);
  for (int64_t i = 0; i < num_inputs; ++i) {
    const int64_t num_values = values[i].numel();
    inputs[i] = {input<int64_t>(values[i], {"values", "input", i}), weights_of(weights[i], num_values, {"weights", "input", i}),
                 lists_of(offsets[i], num_values, {"offsets", "input", i})};
  }
  return inputs;
}

// Adds up what the pieces make; the row at which a call makes too many is named.
void set_begins(const std::vector<ResultRows>& pieces, const std::vector<Cross>& crosses, std::vector<int64_t>& counts) {
  int64_t total = 0, begin = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const ResultRows& piece = pieces[i];
    const Cross& cross = crosses[piece.result];
    if (piece.first == 0) begin = 0;
    const int64_t count = counts[i];
    if (total + count > kMostCrossed) {
      std::vector<int64_t> begins(kResultRows + 1);
      cross_offsets(cross.inputs, cross.num_inputs, piece.first, piece.last, begins.data());
      int64_t row = 0;
      while (total + begins[row + 1] <= kMostCrossed) ++row;
      STD_TORCH_CHECK(false, "result ", piece.result, " makes too many ids: with row ", piece.first + row, " this call makes more than ",
                      kMostCrossed, "; shorten the lists before they are crossed");
    }
    counts[i] = begin;
    begin += count;
    total += count;
  }
}

}  // namespace

std::tuple<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>> cross_rows_cpu(std::vector<Tensor> values,
                                                                                         std::vector<Tensor> weights,
                                                                                         std::vector<Tensor> offsets, Tensor first_input) {
  const std::vector<CrossInput> inputs = inputs_of(values, weights, offsets);
  const int64_t* first_of = first_inputs_of(first_input, static_cast<int64_t>(inputs.size()), 2);
  const int64_t num_results = first_input.numel() - 1;
  std::vector<Cross> crosses(num_results);
  std::vector<Tensor> out_values, out_weights, out_offsets;
  out_values.reserve(num_results);
  out_weights.reserve(num_results);
  out_offsets.reserve(num_results);
  std::vector<ResultRows> pieces;
  int64_t num_read = 0;
  for (int64_t result = 0; result < num_results; ++result) {
    const CrossInput* of_result = inputs.data() + first_of[result];
    Cross& cross = crosses[result];
    cross = {of_result, first_of[result + 1] - first_of[result], of_result->lists.num_rows, false, nullptr, nullptr, nullptr};
    for (int64_t i = 0; i < cross.num_inputs; ++i) {
      STD_TORCH_CHECK(of_result[i].lists.num_rows == cross.num_rows, "result ", result, ": input ", first_of[result] + i, " has ",
                      of_result[i].lists.num_rows, " rows, its first input has ", cross.num_rows);
      cross.weighted |= of_result[i].weights != nullptr;
      num_read += of_result[i].lists.num_values;
    }
    out_offsets.push_back(list_output<int64_t>(cross.num_rows + 1, first_input));
    cross.offsets = static_cast<int64_t*>(out_offsets.back().mutable_data_ptr());
    cross.offsets[0] = 0;
    add_result_rows(result, cross.num_rows, pieces);
  }
  // A piece's offsets count from its own first row until all pieces are known.
  std::vector<int64_t> counts(pieces.size());
  const bool good = all_pieces<NoScratch>(pieces, num_read, [&](NoScratch&, const ResultRows& piece) {
    const Cross& cross = crosses[piece.result];
    for (int64_t i = 0; i < cross.num_inputs; ++i)
      if (!cross.inputs[i].lists.hold(piece.first, piece.last)) return false;
    int64_t begins[kResultRows + 1];
    counts[&piece - pieces.data()] = cross_offsets(cross.inputs, cross.num_inputs, piece.first, piece.last, begins);
    std::copy(begins + 1, begins + 1 + piece.last - piece.first, cross.offsets + piece.first + 1);
    return true;
  });
  for (size_t i = 0; !good && i < inputs.size(); ++i) check_no_fall(inputs[i].lists, {"offsets", "input", static_cast<int64_t>(i)});
  std::vector<int64_t> sizes(num_results);
  for (size_t i = 0; i < pieces.size(); ++i) sizes[pieces[i].result] += counts[i];
  set_begins(pieces, crosses, counts);
  int64_t num_made = 0;
  for (int64_t result = 0; result < num_results; ++result) {
    Cross& cross = crosses[result];
    out_values.push_back(list_output<int64_t>(sizes[result], first_input));
    out_weights.push_back(list_output<float>(cross.weighted ? sizes[result] : 0, first_input));
    cross.ids = static_cast<uint64_t*>(out_values.back().mutable_data_ptr());
    if (cross.weighted) cross.weights = static_cast<float*>(out_weights.back().mutable_data_ptr());
    num_made += sizes[result];
  }
  all_pieces<RowCrosser>(pieces, num_made, [&](RowCrosser& crosser, const ResultRows& piece) {
    const Cross& cross = crosses[piece.result];
    const int64_t begin = counts[&piece - pieces.data()], rows = piece.last - piece.first;
    int64_t begins[kResultRows + 1];
    begins[0] = 0;
    int64_t* ends = cross.offsets + piece.first + 1;
    for (int64_t row = 0; row < rows; ++row) {
      begins[row + 1] = ends[row];
      ends[row] += begin;
    }
    crosser.cross(cross.inputs, cross.num_inputs, piece.first, piece.last, begins, cross.ids + begin,
                  cross.weights == nullptr ? nullptr : cross.weights + begin);
    return true;
  });
  return {out_values, out_weights, out_offsets};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("cross_rows", SPARROW_BOX(&sparrow::cross_rows_cpu)); }
