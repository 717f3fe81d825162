#include "core/overlap_rows.h"

#include "ops/list_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

struct Pair {
  Overlap kind;
  const int64_t *a, *b;
  RowLists a_lists, b_lists;
  float* out;
};

}  // namespace

std::vector<Tensor> overlap_rows_cpu(std::vector<Tensor> a, std::vector<Tensor> a_offsets, std::vector<Tensor> b,
                                     std::vector<Tensor> b_offsets, Tensor columns) {
  const auto num_results = static_cast<int64_t>(a.size());
  STD_TORCH_CHECK(a_offsets.size() == a.size() && b.size() == a.size() && b_offsets.size() == a.size(),
                  "a, a_offsets, b and b_offsets must be of as many results, are ", a.size(), ", ", a_offsets.size(), ", ", b.size(),
                  " and ", b_offsets.size());
  const int64_t* kind = input<int64_t>(columns, "columns");
  STD_TORCH_CHECK(columns.numel() == num_results, "columns must be [", num_results, "], has ", columns.numel());
  std::vector<Pair> pairs(num_results);
  std::vector<Tensor> out;
  out.reserve(num_results);
  std::vector<ResultRows> pieces;
  int64_t num_read = 0;
  for (int64_t result = 0; result < num_results; ++result) {
    STD_TORCH_CHECK(kind[result] >= 0 && kind[result] < kNumOverlaps, "columns: result ", result, " has kind ", kind[result],
                    ", must be from 0 to ", kNumOverlaps - 1);
    Pair& pair = pairs[result];
    pair = {static_cast<Overlap>(kind[result]),
            input<int64_t>(a[result], {"a", "result", result}),
            input<int64_t>(b[result], {"b", "result", result}),
            lists_of(a_offsets[result], a[result].numel(), {"a_offsets", "result", result}),
            lists_of(b_offsets[result], b[result].numel(), {"b_offsets", "result", result}),
            nullptr};
    STD_TORCH_CHECK(pair.a_lists.num_rows == pair.b_lists.num_rows, "result ", result, ": a has ", pair.a_lists.num_rows, " rows, b ",
                    pair.b_lists.num_rows);
    out.push_back(list_output<float>(pair.a_lists.num_rows, columns));
    pair.out = static_cast<float*>(out.back().mutable_data_ptr());
    add_result_rows(result, pair.a_lists.num_rows, pieces);
    num_read += pair.a_lists.num_values + pair.b_lists.num_values;
  }
  const bool good = all_pieces<IdPlaces>(pieces, num_read, [&](IdPlaces& table, const ResultRows& piece) {
    const Pair& pair = pairs[piece.result];
    if (!pair.a_lists.hold(piece.first, piece.last) || !pair.b_lists.hold(piece.first, piece.last)) return false;
    overlap_rows(pair.kind, pair.a, pair.a_lists, pair.b, pair.b_lists, piece.first, piece.last, table, pair.out);
    return true;
  });
  for (int64_t result = 0; !good && result < num_results; ++result) {
    check_no_fall(pairs[result].a_lists, {"a_offsets", "result", result});
    check_no_fall(pairs[result].b_lists, {"b_offsets", "result", result});
  }
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("overlap_rows", SPARROW_BOX(&sparrow::overlap_rows_cpu)); }
