// Many ragged columns in one call: checked access that names the column, outputs of exact size, and threads over pieces of rows.
#pragma once

#include <atomic>
#include <cstring>
#include <vector>

#include "core/item_runs.h"
#include "core/row_pieces.h"
#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {

// f(piece number, piece) for all pieces. A piece or two take less than waking a thread.
template <typename F>
void for_pieces(const std::vector<RowPiece>& pieces, F f) {
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  parallel_for(0, num_pieces, 2, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) f(piece, pieces[piece]);
  });
}

// Read pointer of `columns` [C, width]: a row of parameters a column, on the CPU.
inline const int64_t* parameters_of(const Tensor& columns, int64_t num_columns, int64_t width) {
  const auto* parameters = input<int64_t>(columns, "columns");
  STD_TORCH_CHECK(columns.dim() == 2 && columns.size(0) == num_columns && columns.size(1) == width, "columns must be [", num_columns, ", ",
                  width, "], a row for each column");
  return parameters;
}

inline void check_count(const std::vector<Tensor>& tensors, int64_t num_columns, const char* name) {
  STD_TORCH_CHECK(static_cast<int64_t>(tensors.size()) == num_columns, name, ": ", tensors.size(), " tensors for ", num_columns,
                  " columns");
}

inline void check_on_cpu(const Tensor& tensor, const char* name, int64_t column) {
  STD_TORCH_CHECK(tensor.is_cpu() && tensor.is_contiguous() && tensor.dim() == 1, name, ": column ", column,
                  " must be a contiguous CPU tensor of one dimension");
}

// Bytes of an item of the values of a column: 1, 2, 4 or 8.
inline int64_t item_bytes_of(const Tensor& values, int64_t column) {
  check_on_cpu(values, "values", column);
  const auto type = torch::stable::detail::to<int32_t>(torch::stable::detail::from(values.scalar_type()));
  const auto item_bytes = static_cast<int64_t>(aoti_torch_dtype_element_size(type));
  STD_TORCH_CHECK(item_bytes == 1 || item_bytes == 2 || item_bytes == 4 || item_bytes == 8, "values: column ", column, " has items of ",
                  item_bytes, " bytes, but must have 1, 2, 4 or 8");
  return item_bytes;
}

// Returns an uninitialised CPU tensor [count]. Not by the dispatcher, which would cost more than a short column takes.
inline Tensor column_output(ScalarType type, int64_t item_bytes, int64_t count, const Tensor& like) {
  if (count * item_bytes >= kKeptOutputBytes) return empty_kept(type, item_bytes, {count}, like);
  const auto code = [](auto value) { return torch::stable::detail::to<int32_t>(torch::stable::detail::from(value)); };
  const int64_t stride = 1;
  AtenTensorHandle handle = nullptr;
  const AOTITorchError error =
      aoti_torch_empty_strided(1, &count, &stride, code(type), code(torch::headeronly::DeviceType::CPU), -1, &handle);
  STD_TORCH_CHECK(error == 0, "an output of ", count, " items could not be made");
  return Tensor(handle);
}

template <typename T>
Tensor column_output(int64_t count, const Tensor& like) {
  return column_output(scalar_type_of<T>(), sizeof(T), count, like);
}

// The weights of all columns: one tensor each, empty where a column has none; or no tensor at all where no column has.
inline std::vector<const float*> weights_of(const std::vector<Tensor>& weights, const std::vector<Tensor>& values) {
  std::vector<const float*> pointers(values.size(), nullptr);
  if (weights.empty()) return pointers;
  check_count(weights, static_cast<int64_t>(values.size()), "weights");
  for (size_t column = 0; column < values.size(); ++column) {
    const int64_t count = weights[column].numel();
    if (count == 0) continue;
    check_on_cpu(weights[column], "weights", static_cast<int64_t>(column));
    STD_TORCH_CHECK(weights[column].scalar_type() == ScalarType::Float, "weights: column ", column, " must be float32");
    STD_TORCH_CHECK(count == values[column].numel(), "weights: column ", column, " has ", count, " weights for ", values[column].numel(),
                    " values");
    pointers[column] = static_cast<const float*>(weights[column].const_data_ptr());
  }
  return pointers;
}

// One level of lists of a column.
struct ListLevel {
  int64_t column, level;
  const int64_t* offsets;
  int64_t num_lists;
};

// The levels of all columns, column by column, outermost first. num_levels: of each column.
inline std::vector<ListLevel> levels_of(const std::vector<Tensor>& offsets, const std::vector<int64_t>& num_levels) {
  std::vector<ListLevel> levels;
  levels.reserve(offsets.size());
  for (size_t column = 0; column < num_levels.size(); ++column) {
    STD_TORCH_CHECK(num_levels[column] >= 1 && num_levels[column] <= kMostLevels, "columns: column ", column, " has ", num_levels[column],
                    " levels, but must have 1 to ", kMostLevels);
    for (int64_t level = 0; level < num_levels[column]; ++level) {
      STD_TORCH_CHECK(levels.size() < offsets.size(), "offsets: ", offsets.size(), " tensors, too few for the levels of column ", column);
      const Tensor& of_level = offsets[levels.size()];
      const auto where = static_cast<int64_t>(column);
      check_on_cpu(of_level, "offsets", where);
      STD_TORCH_CHECK(of_level.scalar_type() == ScalarType::Long && of_level.numel() > 0, "offsets: column ", column, ", level ", level,
                      " must be int64 [lists + 1]");
      levels.push_back({where, level, static_cast<const int64_t*>(of_level.const_data_ptr()), of_level.numel() - 1});
    }
  }
  STD_TORCH_CHECK(levels.size() == offsets.size(), "offsets: ", offsets.size(), " tensors for ", levels.size(), " levels of ",
                  num_levels.size(), " columns");
  return levels;
}

// Checks that each level starts at 0, never decreases, and has as many elements as the next has lists, the innermost as many as there are
// values: what is read by them then lies inside. Where `values` is empty, nobody reads values.
inline void check_levels(const std::vector<ListLevel>& levels, const std::vector<Tensor>& values) {
  std::vector<int64_t> num_lists(levels.size());
  for (size_t i = 0; i < levels.size(); ++i) {
    const ListLevel& level = levels[i];
    const bool is_innermost = i + 1 == levels.size() || levels[i + 1].column != level.column;
    const int64_t found = level.offsets[level.num_lists];
    const int64_t expected = !is_innermost ? levels[i + 1].num_lists : values.empty() ? found : values[level.column].numel();
    STD_TORCH_CHECK(level.offsets[0] == 0 && found == expected, "offsets: column ", level.column, ", level ", level.level, " goes from ",
                    level.offsets[0], " to ", found, ", but must from 0 to ", expected, ", the number of ",
                    is_innermost ? "its values" : "lists of the level below");
    num_lists[i] = level.num_lists;
  }
  std::atomic<int64_t> wrong = -1;
  for_pieces(row_pieces(num_lists), [&](int64_t, const RowPiece& piece) {
    if (!never_decrease(levels[piece.column].offsets, piece.first, piece.last)) wrong = piece.column;
  });
  const int64_t at = wrong;
  STD_TORCH_CHECK(at < 0, "offsets: column ", levels[at < 0 ? 0 : at].column, ", level ", levels[at < 0 ? 0 : at].level,
                  " decreases somewhere, but must not");
}

// Positions within a list are kept in 32 bits by those that choose among its items.
inline void check_list_sizes(const std::vector<Tensor>& values) {
  for (size_t column = 0; column < values.size(); ++column)
    STD_TORCH_CHECK(values[column].numel() < UINT32_MAX, "values: column ", column, " has ", values[column].numel(),
                    " values, but must have fewer than 2^32 - 1");
}

// Calls f with a zero of the unsigned type of `item_bytes`.
template <typename F>
void with_word(int64_t item_bytes, F f) {
  switch (item_bytes) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    default: return f(uint64_t{});
  }
}

// Values, weights and offsets of columns that were cut, sized by `num_items` of each; weights where there were some.
struct CutOutputs {
  std::vector<Tensor> values, weights;
};

inline CutOutputs cut_outputs(const std::vector<Tensor>& values, const std::vector<Tensor>& weights,
                              const std::vector<int64_t>& num_items) {
  CutOutputs outputs;
  outputs.values.reserve(values.size());
  outputs.weights.reserve(weights.size());
  for (size_t column = 0; column < values.size(); ++column)
    outputs.values.push_back(column_output(values[column].scalar_type(), item_bytes_of(values[column], static_cast<int64_t>(column)),
                                           num_items[column], values[column]));
  for (size_t column = 0; column < weights.size(); ++column)
    outputs.weights.push_back(column_output<float>(weights[column].numel() == 0 ? 0 : num_items[column], values[column]));
  return outputs;
}

// How the items of one column move.
inline ItemRuns runs_of(const Tensor& from, const Tensor& out, int64_t item_bytes) {
  const auto* data = static_cast<const char*>(from.const_data_ptr());
  return {data, data + from.numel() * item_bytes, static_cast<char*>(out.mutable_data_ptr()), item_bytes};
}

}  // namespace sparrow
