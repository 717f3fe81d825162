// The id map as its operators receive it: tensors `lines` int64 [L, 8], `headers` int64 [T, 8] and `ranges` int64 [R, 4], checked.
#pragma once

#include <utility>

#include "core/probe_block.h"
#include "ops/tensor_access.h"

namespace sparrow {

constexpr int64_t kMaxRangeBits = 16;

inline void check_headers(const Tensor& headers, const Tensor& ranges) {
  STD_TORCH_CHECK(headers.dim() == 2 && headers.size(1) == 8, "headers must be int64 [num_tables, 8]");
  STD_TORCH_CHECK(ranges.dim() == 2 && ranges.size(1) == 4, "ranges must be int64 [num_ranges, 4]");
  const auto* header = reinterpret_cast<const TableHeader*>(input<int64_t>(headers, "headers"));
  for (int64_t table = 0; table < headers.size(0); ++table) {
    const auto [first, bits] = std::pair(header[table].first_range, header[table].range_bits);
    STD_TORCH_CHECK(bits >= 0 && bits <= kMaxRangeBits && first >= 0 && first + (int64_t{1} << bits) <= ranges.size(0),
                    "headers: the ranges of table ", table, " lie outside ranges [", ranges.size(0), ", 4]");
  }
}

inline void check_layout(const Tensor& lines, const Tensor& headers, const Tensor& ranges) {
  check_headers(headers, ranges);
  STD_TORCH_CHECK(lines.dim() == 2 && lines.size(1) == kWordsPerLine, "lines must be int64 [num_lines, 8]");
  const auto* range = reinterpret_cast<const Range*>(input<int64_t>(ranges, "ranges"));
  for (int64_t i = 0; i < ranges.size(0); ++i)
    STD_TORCH_CHECK(range[i].first_line >= 0 && range[i].num_lines > 0 && range[i].num_lines <= UINT32_MAX &&
                        range[i].first_line + range[i].num_lines <= lines.size(0),
                    "ranges: range ", i, " lies outside lines [", lines.size(0), ", 8]");
}

// The map, for reading; operators that write declare their tensors mutated and take output pointers through this too.
inline IdMap id_map_of(const Tensor& lines, const Tensor& headers, const Tensor& ranges) {
  check_layout(lines, headers, ranges);
  return {reinterpret_cast<Line*>(const_cast<int64_t*>(input<int64_t>(lines, "lines"))),
          reinterpret_cast<TableHeader*>(const_cast<int64_t*>(input<int64_t>(headers, "headers"))),
          reinterpret_cast<Range*>(const_cast<int64_t*>(input<int64_t>(ranges, "ranges")))};
}

inline Ids ids_of(const Tensor& ids, const Tensor& table_offsets, const Tensor& headers) {
  STD_TORCH_CHECK(table_offsets.numel() == headers.size(0) + 1, "table_offsets must have one more entry than there are tables");
  STD_TORCH_CHECK(ids.numel() < INT32_MAX, "ids: one call takes fewer than 2^31, got ", ids.numel());
  return {input<int64_t>(ids, "ids"), offsets_of(table_offsets, ids.numel(), "table_offsets")};
}

}  // namespace sparrow
