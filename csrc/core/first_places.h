// Where ids lie first in a short list (every pair compared) or in a long one (an open-addressing table).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/mix.h"

namespace sparrow {

// Ids looked for at a time, one a lane.
constexpr int64_t kIdLanes = 8;

// place[lane] = the first i < count with list[i] == ids[lane], or -1.
inline void first_places(const int64_t* ids, const int64_t* list, int64_t count, int64_t* place) {
  using Lanes [[gnu::vector_size(kIdLanes * sizeof(int64_t))]] = int64_t;
  Lanes id, found = Lanes{} - 1;
  __builtin_memcpy(&id, ids, sizeof id);
  for (int64_t i = count - 1; i >= 0; --i) found = id == list[i] ? Lanes{} + i : found;
  __builtin_memcpy(place, &found, sizeof found);
}

// Calls take(first, lanes, place) for every kIdLanes of `ids`, the last maybe fewer: place[lane] is where ids[first + lane] lies in the
// list.
template <typename Take>
inline void for_first_places(const int64_t* ids, int64_t num_ids, const int64_t* list, int64_t count, Take take) {
  int64_t place[kIdLanes];
  int64_t first = 0;
  for (; first + kIdLanes <= num_ids; first += kIdLanes) {
    first_places(ids + first, list, count, place);
    take(first, kIdLanes, place);
  }
  if (first == num_ids) return;
  int64_t rest[kIdLanes] = {};
  for (int64_t lane = 0; first + lane < num_ids; ++lane) rest[lane] = ids[first + lane];
  first_places(rest, list, count, place);
  take(first, num_ids - first, place);
}

// Whether comparing every pair takes longer than filling a table. (Measured: a comparison of 8 ids with one is 0.4 ns, an id to or from the
// table 3 to 4.)
inline bool is_long(int64_t num_ids, int64_t count) { return (num_ids + kIdLanes - 1) / kIdLanes * count > 8 * (num_ids + count); }

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
