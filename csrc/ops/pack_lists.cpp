#include "core/pack_lists.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {
namespace {

int64_t item_bytes_of(const Tensor& tensor) {
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
    default: STD_TORCH_CHECK(false, "values have a dtype that columns do not have"); return 0;
  }
}

// Rows of the concatenated parts -> runs that each lie in one.
std::vector<RowRun> runs_of(const Tensor& rows, const std::vector<int64_t>& ends) {
  // Rows one by one are runs of one.
  const bool are_single = rows.dim() == 1;
  STD_TORCH_CHECK(are_single || (rows.dim() == 2 && rows.size(1) == 2), "rows must be [R, 2], or [R]");
  const int64_t num_runs = rows.size(0);
  const auto* bound = input<int64_t>(rows, "rows");
  std::vector<RowRun> runs;
  runs.reserve(num_runs);
  for (int64_t i = 0; i < num_runs; ++i) {
    int64_t begin = are_single ? bound[i] : bound[2 * i];
    // Unsigned, since any number may stand there.
    const int64_t end = are_single ? static_cast<int64_t>(static_cast<uint64_t>(begin) + 1) : bound[2 * i + 1];
    STD_TORCH_CHECK(begin >= 0 && begin <= end && (begin == end || end <= ends.back()), "rows: run ", i, " from ", begin, " to ", end,
                    " is not among ", ends.empty() ? 0 : ends.back(), " rows");
    while (begin < end) {
      const auto part = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin();
      const int64_t first = part == 0 ? 0 : ends[part - 1], stop = std::min(end, ends[part]);
      runs.push_back({part, begin - first, stop - first});
      begin = stop;
    }
  }
  return runs;
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> pack_lists_cpu(std::vector<Tensor> offsets, std::vector<Tensor> values, Tensor rows,
                                                  std::optional<Tensor> sizes) {
  const auto num_parts = static_cast<int64_t>(offsets.size());
  STD_TORCH_CHECK(num_parts > 0, "offsets must have a part");
  const int64_t num_columns = offsets[0].size(0);
  STD_TORCH_CHECK(static_cast<int64_t>(values.size()) == num_parts * num_columns && num_columns > 0,
                  "values must be parts x columns tensors");
  std::vector<int64_t> ends;
  std::vector<ListPart> lists(num_parts * num_columns);  // column by column
  for (int64_t part = 0; part < num_parts; ++part) {
    const int64_t width = offsets[part].size(1);
    STD_TORCH_CHECK(width > 0 && offsets[part].size(0) == num_columns, "offsets: part ", part, " must be [columns, rows + 1]");
    ends.push_back(width - 1 + (part == 0 ? 0 : ends.back()));
    const auto* offset = input<int64_t>(offsets[part], "offsets");
    for (int64_t column = 0; column < num_columns; ++column, offset += width) {
      const Tensor& held = values[part * num_columns + column];
      STD_TORCH_CHECK(held.is_cpu() && held.is_contiguous() && held.scalar_type() == values[0].scalar_type(),
                      "values must be contiguous CPU tensors of one dtype");
      STD_TORCH_CHECK(offset[0] == 0 && offset[width - 1] == held.numel(), "offsets: column ", column, " of part ", part, " ends at ",
                      offset[width - 1], ", but has ", held.numel(), " values");
      lists[column * num_parts + part] = {offset, static_cast<const char*>(held.const_data_ptr()), held.numel()};
    }
  }
  const std::vector<RowRun> runs = runs_of(rows, ends);
  int64_t num_rows = 0;
  for (const RowRun& run : runs) num_rows += run.end - run.begin;
  Tensor out_offsets = empty_kept<int64_t>({num_columns, num_rows + 1}, rows);
  Tensor found = empty<int64_t>({num_columns}, rows);
  auto* out_offset = output<int64_t>(out_offsets, "out_offsets");
  auto* size = output<int64_t>(found, "found");
  // A batch takes a fraction of a millisecond, in which threads that decode the next one would only be in the way of further ones.
  constexpr int64_t kRowsPerThread = int64_t{1} << 20;
  const int64_t grain = std::max<int64_t>(1, kRowsPerThread / (num_rows + 1));
  parallel_for(0, num_columns, grain, [&](int64_t first, int64_t last) {
    for (int64_t column = first; column < last; ++column)
      size[column] = pack_offsets(lists.data() + column * num_parts, runs, out_offset + column * (num_rows + 1));
  });
  for (int64_t column = 0; column < num_columns; ++column)
    STD_TORCH_CHECK(size[column] >= 0, "offsets: those of column ", column, " decrease");
  if (sizes.has_value()) {
    STD_TORCH_CHECK(sizes->numel() == num_columns, "sizes must be a number a column");
    const auto* expected = input<int64_t>(*sizes, "sizes");
    for (int64_t column = 0; column < num_columns; ++column)
      STD_TORCH_CHECK(size[column] == expected[column], "sizes: column ", column, " gets ", size[column], " values, not ",
                      expected[column]);
  }
  const int64_t item_bytes = item_bytes_of(values[0]);
  std::vector<int64_t> starts(num_columns + 1);
  for (int64_t column = 0; column < num_columns; ++column) starts[column + 1] = starts[column] + size[column];
  const int64_t total = starts.back();
  Tensor packed = empty_kept(values[0].scalar_type(), item_bytes, {total}, values[0]);
  const auto copy = [&](auto word) {
    using Word = decltype(word);
    auto* out = static_cast<Word*>(packed.mutable_data_ptr());
    parallel_for(0, num_columns, grain, [&](int64_t first, int64_t last) {
      for (int64_t column = first; column < last; ++column)
        pack_values(lists.data() + column * num_parts, runs, size[column], out + starts[column]);
    });
  };
  switch (item_bytes) {
    case 1: copy(uint8_t{}); break;
    case 2: copy(uint16_t{}); break;
    case 4: copy(uint32_t{}); break;
    default: copy(uint64_t{});
  }
  return {out_offsets, packed, found};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("pack_lists", SPARROW_BOX(&sparrow::pack_lists_cpu)); }
