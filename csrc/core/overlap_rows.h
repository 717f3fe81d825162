// What two lists of ids of a row have in common, as one number.
#pragma once

#include <cstdint>

#include "core/first_places.h"
#include "core/row_lists.h"

namespace sparrow {

enum class Overlap : int64_t { kCount, kRatio, kJaccard, kContains, kEqual, kAny };
constexpr int64_t kNumOverlaps = 6;

// How many distinct ids two lists have, and how many of these are in both.
struct OverlapCounts {
  int64_t in_a, in_b, in_both;
};

inline float overlap_of(Overlap kind, const OverlapCounts& counts) {
  const auto ratio = [&](int64_t of) { return of == 0 ? 0.0f : static_cast<float>(counts.in_both) / static_cast<float>(of); };
  switch (kind) {
    case Overlap::kCount: return static_cast<float>(counts.in_both);
    case Overlap::kRatio: return ratio(counts.in_a);
    case Overlap::kJaccard: return ratio(counts.in_a + counts.in_b - counts.in_both);
    case Overlap::kContains: return counts.in_both == counts.in_b;
    case Overlap::kEqual: return counts.in_both == counts.in_b && counts.in_both == counts.in_a;
    default: return counts.in_both != 0;
  }
}

inline OverlapCounts overlap_by_table(const int64_t* a, int64_t num_a, const int64_t* b, int64_t num_b, IdPlaces& table) {
  enum : uint32_t { kInA, kInB, kInBoth };
  OverlapCounts counts{};
  table.begin(num_a + num_b);
  for (int64_t i = 0; i < num_a; ++i) {
    IdPlaces::Slot& slot = table.add(a[i]);
    counts.in_a += slot.place == IdPlaces::kNone;
    slot.place = kInA;
  }
  for (int64_t i = 0; i < num_b; ++i) {
    IdPlaces::Slot& slot = table.add(b[i]);
    counts.in_b += slot.place == IdPlaces::kNone || slot.place == kInA;
    counts.in_both += slot.place == kInA;
    slot.place = slot.place == IdPlaces::kNone ? kInB : slot.place == kInA ? kInBoth : slot.place;
  }
  return counts;
}

// The distinct ids of a list, and those of them in another.
struct DistinctCounts {
  int64_t distinct, in_other;
};

inline DistinctCounts count_distinct(const IdList& list, const IdList& other) {
  DistinctCounts counts{};
  for_id_runs(list, [&](int64_t first, int64_t lanes, const int64_t* ids, auto vectors) {
    constexpr int64_t kVectors = decltype(vectors)::value;
    int64_t in_other[kVectors * kIdLanes], in_list[kVectors * kIdLanes];
    first_places<kVectors>(ids, other.ids, other.count, in_other);
    // An id is counted where it lies first; what lies behind this run cannot come before it.
    first_places<kVectors>(ids, list.ids, first + lanes, in_list);
    for (int64_t lane = 0; lane < kVectors * kIdLanes; ++lane) {
      const bool is_first = (lane < lanes) & (in_list[lane] == first + lane);
      counts.distinct += is_first;
      counts.in_other += is_first & (in_other[lane] >= 0);
    }
  });
  return counts;
}

// How many of a list's ids, repeats counted, are in another.
inline int64_t count_in_other(const IdList& list, const IdList& other) {
  int64_t count = 0;
  for_id_runs(list, [&](int64_t, int64_t lanes, const int64_t* ids, auto vectors) {
    constexpr int64_t kVectors = decltype(vectors)::value;
    int64_t in_other[kVectors * kIdLanes];
    first_places<kVectors>(ids, other.ids, other.count, in_other);
    for (int64_t lane = 0; lane < kVectors * kIdLanes; ++lane) count += (lane < lanes) & (in_other[lane] >= 0);
  });
  return count;
}

// Every pair compared, and of one list with itself only where the answer depends on repeats.
inline float overlap_by_pairs(Overlap kind, const IdList& a, const IdList& b) {
  switch (kind) {
    case Overlap::kAny: return count_in_other(a, b) != 0;
    case Overlap::kContains: return count_in_other(b, a) == b.count;
    case Overlap::kEqual: return count_in_other(a, b) == a.count && count_in_other(b, a) == b.count;
    default: break;
  }
  const DistinctCounts of_a = count_distinct(a, b);
  const int64_t in_b = kind == Overlap::kJaccard ? count_distinct(b, {nullptr, 0, 0}).distinct : 0;
  return overlap_of(kind, {of_a.distinct, in_b, of_a.in_other});
}

// out[r] for rows r in [first, last).
inline void overlap_rows(Overlap kind, const int64_t* a, const RowLists& a_lists, const int64_t* b, const RowLists& b_lists, int64_t first,
                         int64_t last, IdPlaces& table, float* out) {
  for (int64_t row = first; row < last; ++row) {
    const int64_t begin_a = a_lists[row], num_a = a_lists[row + 1] - begin_a, begin_b = b_lists[row], num_b = b_lists[row + 1] - begin_b;
    if (is_long(num_a + num_b, num_a + num_b)) {
      out[row] = overlap_of(kind, overlap_by_table(a + begin_a, num_a, b + begin_b, num_b, table));
    } else {
      const IdList of_a{a + begin_a, num_a, a_lists.num_values - begin_a}, of_b{b + begin_b, num_b, b_lists.num_values - begin_b};
      out[row] = overlap_by_pairs(kind, of_a, of_b);
    }
  }
}

}  // namespace sparrow
