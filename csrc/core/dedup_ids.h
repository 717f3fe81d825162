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
    uint64_t position = home(id);
    while (slots_[position] != kFree && unique_ids[slots_[position]] != id) position = (position + 1) & mask_;
    return slots_[position];
  }

  static constexpr int32_t kFree = -1;

 private:
  // A full mix: ids that differ in their high bits only (feature << 32, multiples of 2^k) must not meet in one slot.
  uint64_t home(int64_t id) const { return mix(static_cast<uint64_t>(id), 0) & mask_; }

  std::vector<int32_t> slots_;
  uint64_t mask_ = 0;
};

// Writes the distinct ids of ids[0, num_ids) to unique_ids, their numbers of occurrences to counts, and to inverse, per id, its index
// in unique_ids. Returns how many are distinct.
inline int64_t dedup_ids(const int64_t* ids, int64_t num_ids, DedupScratch& scratch, int64_t* unique_ids, int32_t* inverse,
                         int32_t* counts) {
  scratch.reset(num_ids);
  int64_t num_unique = 0;
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

// Divides tables, of table_offsets[t] to table_offsets[t + 1] ids each, into num_parts lists of about equal work: the largest first, each
// to the part that has least.
inline std::vector<std::vector<int32_t>> balanced_parts(const int64_t* table_offsets, int64_t num_tables, int64_t num_parts) {
  std::vector<int32_t> order(num_tables);
  for (int64_t table = 0; table < num_tables; ++table) order[table] = static_cast<int32_t>(table);
  const auto size = [&](int32_t table) { return table_offsets[table + 1] - table_offsets[table]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return size(a) > size(b); });
  std::vector<std::vector<int32_t>> parts(num_parts);
  std::vector<int64_t> work(num_parts, 0);
  for (const int32_t table : order) {
    const auto least = std::min_element(work.begin(), work.end()) - work.begin();
    parts[least].push_back(table);
    work[least] += size(table);
  }
  return parts;
}

}  // namespace sparrow
