#include "core/find_or_insert.h"

#include <algorithm>
#include <memory>
#include <tuple>

#include "core/insert_owners.h"
#include "ops/id_map_access.h"
#include "ops/kept_output.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

// Fewer ids than this are not worth dividing among threads.
constexpr int64_t kWorthDividing = 16384;

// Returns how many rows are new.
int64_t insert_by_owners(const IdMap& map, const Ids& in, int64_t num_tables, int64_t num_ids, RowCounters& counters,
                         const int32_t* free_rows, int32_t* rows, int32_t* new_positions, int64_t num_owners) {
  const auto work = std::make_unique<OwnedInsert>(map, in, num_tables, counters, free_rows, rows, new_positions, num_owners);
  const auto each = [num_owners](auto phase) {
    parallel_for(0, num_owners, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) phase(part);
    });
  };
  for (int64_t first = 0; first < num_ids; first += kOwnedBatch) {
    work->start(first, std::min(first + kOwnedBatch, num_ids));
    each([&](int64_t chunk) { work->sort(chunk); });
    each([&](int64_t owner) { work->insert(owner); });
    counters.num_failed += work->num_failed();
    work->count();
    each([&](int64_t chunk) { work->number(chunk); });
    each([&](int64_t owner) { work->publish(owner); });
  }
  take_rows(counters, work->num_new());
  return work->num_new();
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor> find_or_insert_cpu(Tensor lines, Tensor headers, Tensor ranges, Tensor counters, Tensor free_rows,
                                                      Tensor ids, Tensor table_offsets) {
  const IdMap map = id_map_of(lines, headers, ranges);
  const Ids in = ids_of(ids, table_offsets, headers);
  STD_TORCH_CHECK(counters.numel() == 4, "counters must be int64 [4]: rows handed out, ids that failed, free rows, 0");
  auto& counter = *reinterpret_cast<RowCounters*>(output<int64_t>(counters, "counters"));
  const int32_t* free_row = input<int32_t>(free_rows, "free_rows");
  STD_TORCH_CHECK(counter.num_free >= 0 && counter.num_free <= free_rows.numel(), "free_rows holds ", free_rows.numel(),
                  " rows, counters say ", counter.num_free);
  const int64_t num_ids = ids.numel(), num_tables = headers.size(0);
  Tensor rows = empty_kept<int32_t>({num_ids}, ids);
  Tensor new_positions = empty_kept<int32_t>({num_ids}, ids);
  Tensor num_new = empty<int64_t>({1}, ids);
  auto* row = output<int32_t>(rows, "rows");
  auto* new_position = output<int32_t>(new_positions, "new_positions");
  const int64_t num_owners = std::min<int64_t>(kMostOwners, torch::stable::get_num_threads());
  const int64_t count = num_owners > 1 && num_ids >= kWorthDividing
                            ? insert_by_owners(map, in, num_tables, num_ids, counter, free_row, row, new_position, num_owners)
                            : find_or_insert(map, in, num_tables, 0, num_ids, counter, free_row, row, new_position);
  std::fill(new_position + count, new_position + num_ids, -1);
  *output<int64_t>(num_new, "num_new") = count;
  return {rows, new_positions, num_new};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("find_or_insert_", SPARROW_BOX(&sparrow::find_or_insert_cpu)); }
