#include "core/lookup_rows.h"

#include "ops/list_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

// What a result is; written in answers.py, too.
enum Answer : int64_t { kItem, kPlace, kMatch, kNumAnswers };
constexpr int64_t kColumnWidth = 2;  // answer, bits of the default

struct Lookup {
  const int64_t *queries, *keys;
  RowLists query_lists, key_lists;
  int64_t answer, item_bytes;
  uint64_t fallback;
  const void* items;
  void* out;
};

template <typename Take>
void for_queries(const Lookup& lookup, const ResultRows& piece, IdPlaces& table, Take take) {
  for_first_keys(lookup.queries, lookup.query_lists, lookup.keys, lookup.key_lists, piece.first, piece.last, table, take);
}

template <typename Word>
void look_up_items(const Lookup& lookup, const ResultRows& piece, IdPlaces& table) {
  const auto* item = static_cast<const Word*>(lookup.items);
  auto* out = static_cast<Word*>(lookup.out);
  const auto fallback = static_cast<Word>(lookup.fallback);
  for_queries(lookup, piece, table, [=, &fallback](int64_t query, int64_t key, int64_t place) {
    // Chosen by address: nobody can tell which queries have a key, so a branch would mispredict.
    const Word* const from[] = {item + key, &fallback};
    out[query] = from[place < 0][place < 0 ? 0 : place];
  });
}

void look_up(const Lookup& lookup, const ResultRows& piece, IdPlaces& table) {
  auto* number = static_cast<int64_t*>(lookup.out);
  if (lookup.answer == kPlace)
    return for_queries(lookup, piece, table, [=](int64_t query, int64_t, int64_t place) { number[query] = place + 1; });
  if (lookup.answer == kMatch)
    return for_queries(lookup, piece, table, [=](int64_t query, int64_t, int64_t place) { number[query] = place >= 0; });
  switch (lookup.item_bytes) {
    case 1: look_up_items<uint8_t>(lookup, piece, table); break;
    case 2: look_up_items<uint16_t>(lookup, piece, table); break;
    case 4: look_up_items<uint32_t>(lookup, piece, table); break;
    default: look_up_items<uint64_t>(lookup, piece, table);
  }
}

}  // namespace

std::vector<Tensor> lookup_rows_cpu(std::vector<Tensor> queries, std::vector<Tensor> query_offsets, std::vector<Tensor> keys,
                                    std::vector<Tensor> key_offsets, std::vector<Tensor> items, Tensor columns) {
  const auto num_results = static_cast<int64_t>(queries.size());
  STD_TORCH_CHECK(query_offsets.size() == queries.size() && keys.size() == queries.size() && key_offsets.size() == queries.size() &&
                      items.size() == queries.size(),
                  "queries, query_offsets, keys, key_offsets and items must be of as many results, are ", queries.size(), ", ",
                  query_offsets.size(), ", ", keys.size(), ", ", key_offsets.size(), " and ", items.size());
  const int64_t* column = input<int64_t>(columns, "columns");
  STD_TORCH_CHECK(columns.numel() == kColumnWidth * num_results, "columns must be [", num_results, ", ", kColumnWidth, "]");
  std::vector<Lookup> lookups(num_results);
  std::vector<Tensor> out;
  out.reserve(num_results);
  std::vector<ResultRows> pieces;
  int64_t num_read = 0;
  for (int64_t result = 0; result < num_results; ++result, column += kColumnWidth) {
    Lookup& lookup = lookups[result];
    const int64_t num_queries = queries[result].numel(), num_keys = keys[result].numel();
    lookup.queries = input<int64_t>(queries[result], {"queries", "result", result});
    lookup.keys = input<int64_t>(keys[result], {"keys", "result", result});
    lookup.query_lists = lists_of(query_offsets[result], num_queries, {"query_offsets", "result", result});
    lookup.key_lists = lists_of(key_offsets[result], num_keys, {"key_offsets", "result", result});
    lookup.answer = column[0];
    lookup.fallback = static_cast<uint64_t>(column[1]);
    STD_TORCH_CHECK(lookup.query_lists.num_rows == lookup.key_lists.num_rows, "result ", result, ": queries have ",
                    lookup.query_lists.num_rows, " rows, keys ", lookup.key_lists.num_rows);
    STD_TORCH_CHECK(num_keys < IdPlaces::kNone, "keys of result ", result, " are ", num_keys, ", must be fewer than 2^32 - 1");
    STD_TORCH_CHECK(lookup.answer >= 0 && lookup.answer < kNumAnswers, "columns: result ", result, " asks for answer ", lookup.answer,
                    ", must be from 0 to 2");
    if (lookup.answer == kItem) {
      const Tensor& item = items[result];
      STD_TORCH_CHECK(item.is_cpu() && item.is_contiguous(), "items of result ", result, " must be a contiguous CPU tensor");
      STD_TORCH_CHECK(item.numel() == num_keys, "items of result ", result, " are ", item.numel(), ", its keys ", num_keys);
      lookup.item_bytes = item_bytes_of(item, {"items", "result", result});
      lookup.items = item.const_data_ptr();
      out.push_back(list_output(item.scalar_type(), lookup.item_bytes, num_queries, item));
    } else {
      input<int64_t>(items[result], {"items", "result", result});
      STD_TORCH_CHECK(items[result].numel() == 0, "items of result ", result, " are ", items[result].numel(),
                      ", must be none where its answer is a place or a match");
      out.push_back(list_output<int64_t>(num_queries, columns));
    }
    lookup.out = out.back().mutable_data_ptr();
    add_result_rows(result, lookup.query_lists.num_rows, pieces);
    num_read += num_queries + num_keys;
  }
  const bool good = all_pieces<IdPlaces>(pieces, num_read, [&](IdPlaces& table, const ResultRows& piece) {
    const Lookup& lookup = lookups[piece.result];
    if (!lookup.query_lists.hold(piece.first, piece.last) || !lookup.key_lists.hold(piece.first, piece.last)) return false;
    look_up(lookup, piece, table);
    return true;
  });
  for (int64_t result = 0; !good && result < num_results; ++result) {
    check_no_fall(lookups[result].query_lists, {"query_offsets", "result", result});
    check_no_fall(lookups[result].key_lists, {"key_offsets", "result", result});
  }
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("lookup_rows", SPARROW_BOX(&sparrow::lookup_rows_cpu)); }
