// Distinct ids in order of first appearance, and where each occurrence points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/mix.h"

namespace sparrow {

// Scratch of one call: an open-addressing table of indices into the distinct ids, so that no id value is special.
class DedupScratch {
 public:
  // Prepares for up to `num_ids` ids; at most half of the slots are ever used.
  void reset(int64_t num_ids) {
    uint64_t size = 16;
    while (size < static_cast<uint64_t>(num_ids) * 2) size *= 2;
    slots_.assign(size, kFree);
    mask_ = size - 1;
  }

  // Returns the slot that holds the index of `id` among `unique_ids`, or the free slot where it goes.
  int32_t& slot_of(int64_t id, const int64_t* unique_ids) {
    // Multiplicative hashing is enough here: the scratch lives for one call and is half empty.
    uint64_t position = (static_cast<uint64_t>(id) * 0x9e3779b97f4a7c15ULL) >> 20 & mask_;
    while (slots_[position] != kFree && unique_ids[slots_[position]] != id) position = (position + 1) & mask_;
    return slots_[position];
  }

  static constexpr int32_t kFree = -1;

 private:
  std::vector<int32_t> slots_;
  uint64_t mask_ = 0;
};

// Appends the distinct ids of one table to unique_ids (whose first num_unique entries are taken) and counts their occurrences.
// inverse gets, per id, its index in unique_ids. Returns the new num_unique.
inline int64_t dedup_ids(const int64_t* ids, int64_t num_ids, DedupScratch& scratch, int64_t num_unique, int64_t* unique_ids,
                         int32_t* inverse, int32_t* counts) {
  scratch.reset(num_ids);
  for (int64_t i = 0; i < num_ids; ++i) {
    int32_t& slot = scratch.slot_of(ids[i], unique_ids);
    if (slot == DedupScratch::kFree) {
      slot = static_cast<int32_t>(num_unique);
      unique_ids[num_unique] = ids[i];
      counts[num_unique++] = 0;
    }
    inverse[i] = slot;
    ++counts[slot];
  }
  return num_unique;
}

}  // namespace sparrow
