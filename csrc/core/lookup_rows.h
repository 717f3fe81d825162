// For each query of a row, what lies beside the first equal key of the same row of another column.
#pragma once

#include <cstdint>

#include "core/first_places.h"
#include "core/row_lists.h"

namespace sparrow {

// Calls take(query, key, place) for each query of rows [first, last): its number, that of its row's first key, and the place of the first
// equal one from there, -1 where there is none.
template <typename Take>
void for_first_keys(const int64_t* queries, const RowLists& query_lists, const int64_t* keys, const RowLists& key_lists, int64_t first,
                    int64_t last, IdPlaces& table, Take take) {
  for (int64_t row = first; row < last; ++row) {
    const int64_t query = query_lists[row], num_queries = query_lists[row + 1] - query;
    const int64_t key = key_lists[row], num_keys = key_lists[row + 1] - key;
    if (is_long(num_queries, num_keys)) {
      table.begin(num_keys);
      for (int64_t i = 0; i < num_keys; ++i) {
        IdPlaces::Slot& slot = table.add(keys[key + i]);
        if (slot.place == IdPlaces::kNone) slot.place = static_cast<uint32_t>(i);
      }
      for (int64_t i = 0; i < num_queries; ++i) take(query + i, key, table.find(queries[query + i]));
    } else {
      const IdList asked{queries + query, num_queries, query_lists.num_values - query};
      for_id_runs(asked, [&](int64_t at, int64_t lanes, const int64_t* ids, auto vectors) {
        int64_t place[decltype(vectors)::value * kIdLanes];
        first_places<decltype(vectors)::value>(ids, keys + key, num_keys, place);
        for (int64_t lane = 0; lane < lanes; ++lane) take(query + at + lane, key, place[lane]);
      });
    }
  }
}

}  // namespace sparrow
