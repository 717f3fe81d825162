// The id map as its operators receive it: tensors `lines` int64 [L, 8] and `headers` int64 [T, 8].
#pragma once

#include "core/id_map.h"
#include "ops/tensor_access.h"

namespace sparrow {

inline void check_id_map(const Tensor& lines, const Tensor& headers) {
  STD_TORCH_CHECK(lines.dim() == 2 && lines.size(1) == kWordsPerLine, "lines must be int64 [num_lines, 8]");
  STD_TORCH_CHECK(headers.dim() == 2 && headers.size(1) == kWordsPerLine, "headers must be int64 [num_tables, 8]");
  const auto* header = reinterpret_cast<const SegmentHeader*>(input<int64_t>(headers, "headers"));
  for (int64_t table = 0; table < headers.size(0); ++table) {
    const bool inside =
        header[table].first_line >= 0 && header[table].num_lines > 0 && header[table].first_line + header[table].num_lines <= lines.size(0);
    STD_TORCH_CHECK(inside, "the segment of table ", table, " lies outside lines [", lines.size(0), ", 8]");
  }
}

inline const int64_t* table_offsets_of(const Tensor& table_offsets, const Tensor& headers, int64_t num_ids) {
  STD_TORCH_CHECK(table_offsets.numel() == headers.size(0) + 1, "table_offsets must have one more entry than there are tables");
  return offsets_of(table_offsets, num_ids, "table_offsets");
}

}  // namespace sparrow
