// Where ids lie first in a short list (every pair compared) or in a long one (an open-addressing table).
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/mix.h"

namespace sparrow {

// Ids a vector of the processor compares at once (wider ones would be taken apart id by id), and vectors that run through a list together.
#if defined(__AVX512F__)
constexpr int64_t kIdLanes = 8;
#elif defined(__AVX2__)
constexpr int64_t kIdLanes = 4;
#elif defined(__aarch64__)
constexpr int64_t kIdLanes = 2;
#else
constexpr int64_t kIdLanes = 1;
#endif
constexpr int64_t kMostVectors = 4;
constexpr int64_t kIdsAtOnce = kMostVectors * kIdLanes;

// place[lane] = the first i < count with list[i] == ids[lane], or -1, for kVectors * kIdLanes ids.
template <int64_t kVectors>
inline void first_places(const int64_t* ids, const int64_t* list, int64_t count, int64_t* place) {
  using Lanes [[gnu::vector_size(kIdLanes * sizeof(int64_t))]] = int64_t;
  Lanes id[kVectors], found[kVectors];
  __builtin_memcpy(id, ids, sizeof id);
  for (Lanes& of_vector : found) of_vector = Lanes{} - 1;
  for (int64_t i = count - 1; i >= 0; --i)
    for (int64_t vector = 0; vector < kVectors; ++vector) found[vector] = id[vector] == list[i] ? Lanes{} + i : found[vector];
  __builtin_memcpy(place, found, sizeof found);
}

// Calls run(kVectors) with how many vectors `num_ids` ids fill, as a constant.
template <typename Run>
inline void with_vectors(int64_t num_ids, Run run) {
  switch ((num_ids + kIdLanes - 1) / kIdLanes) {
    case 1: run(std::integral_constant<int64_t, 1>{}); break;
    case 2: run(std::integral_constant<int64_t, 2>{}); break;
    case 3: run(std::integral_constant<int64_t, 3>{}); break;
    default: run(std::integral_constant<int64_t, kMostVectors>{});
  }
}

// A list of ids of which as many as `readable` may be read: what lies behind it is looked for too, and not taken.
struct IdList {
  const int64_t* ids;
  int64_t count, readable;
};

// Calls take(first, lanes, ids, width) for runs of a list: lanes ids from `first` on, in an array of `width`, a constant of at least as
// many.
template <typename Take>
inline void for_id_runs(const IdList& list, Take take) {
  for (int64_t first = 0; first < list.count; first += kIdsAtOnce) {
    const int64_t lanes = std::min(list.count - first, kIdsAtOnce);
    with_vectors(lanes, [&](auto vectors) {
      constexpr int64_t kWidth = decltype(vectors)::value * kIdLanes;
      if (list.readable - first >= kWidth) {
        take(first, lanes, list.ids + first, vectors);
      } else {
        int64_t ids[kWidth] = {};
        std::copy_n(list.ids + first, lanes, ids);
        take(first, lanes, static_cast<const int64_t*>(ids), vectors);
      }
    });
  }
}

// Whether comparing every pair takes longer than filling a table. (Measured: a comparison of a vector with one id is 0.7 ns, an id to or
// from the table 10.)
inline bool is_long(int64_t num_ids, int64_t count) { return (num_ids + kIdLanes - 1) / kIdLanes * count > 12 * (num_ids + count); }

// Ids of one row and a number beside each. Emptied in no time: a slot counts only if it was filled for this row.
class IdPlaces {
 public:
  struct Slot {
    int64_t id;
    uint32_t row, place;
  };

  // Forgets all ids and makes room for `count`.
  void begin(int64_t count) {
    int bits = 4;
    while ((int64_t{1} << bits) < 2 * count) ++bits;
    shift_ = 64 - bits;
    mask_ = (uint64_t{1} << bits) - 1;
    if (slots_.size() <= mask_ || row_ == UINT32_MAX) {
      slots_.assign(std::max(slots_.size(), static_cast<size_t>(mask_) + 1), Slot{0, 0, 0});
      row_ = 0;
    }
    ++row_;
  }

  // Returns the slot of `id`; of a new id with place kNone.
  Slot& add(int64_t id) {
    Slot& slot = slots_[at(id)];
    if (slot.row != row_) slot = {id, row_, kNone};
    return slot;
  }

  // Returns the place of `id`, -1 where it was not added.
  int64_t find(int64_t id) const {
    const Slot& slot = slots_[at(id)];
    return slot.row == row_ ? int64_t{slot.place} : -1;
  }

  // Lists have fewer ids than this.
  static constexpr uint32_t kNone = UINT32_MAX;

 private:
  // Where `id` is, or would be.
  uint64_t at(int64_t id) const {
    uint64_t index = mix(static_cast<uint64_t>(id), 0) >> shift_;
    while (slots_[index].row == row_ && slots_[index].id != id) index = (index + 1) & mask_;
    return index;
  }

  std::vector<Slot> slots_;
  int shift_ = 0;
  uint64_t mask_ = 0;
  uint32_t row_ = 0;
};

}  // namespace sparrow
