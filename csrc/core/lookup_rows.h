// For each query of a row, what lies beside the first equal key of the same row of another column.
#pragma once

#include <cstdint>

#include "core/first_places.h"
#include "core/row_lists.h"

namespace sparrow {

// Calls take(query, key) for each query of rows [first, last) with its number and that of its row's first equal key, or -1.
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
      for (int64_t i = 0; i < num_queries; ++i) {
        const int64_t place = table.find(queries[query + i]);
        take(query + i, place < 0 ? -1 : key + place);
      }
    } else {
      for_first_places(queries + query, num_queries, keys + key, num_keys, [&](int64_t at, int64_t lanes, const int64_t* place) {
        for (int64_t lane = 0; lane < lanes; ++lane) take(query + at + lane, place[lane] < 0 ? -1 : key + place[lane]);
      });
    }
  }
}

}  // namespace sparrow
