// The distinct items of every list, in order of first occurrence.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/mix.h"

namespace sparrow {

// Finds the items of one list among those kept: places in a table that is emptied by counting lists, not by writing.
class FirstPlaces {
 public:
  // Begins a list of `count` items.
  void begin(int64_t count) {
    // Nearly empty while it fits a cache: a slot that another item took is a branch mispredicted.
    constexpr int64_t kMostInCache = 4096;
    const uint64_t size = std::bit_ceil(static_cast<uint64_t>(count <= kMostInCache ? 8 * count : 2 * count));
    if (slots_.size() < size || list_ == UINT32_MAX) {
      slots_.assign(std::max<size_t>(size, slots_.size()), 0);
      list_ = 0;
    }
    ++list_;
    mask_ = size - 1;
  }

  // Returns the place of `item` in kept[0, num_kept), or num_kept, which from now on is its place.
  template <typename Word>
  int64_t place_of(Word item, const Word* kept, int64_t num_kept) {
    for (uint64_t slot = mix(item, 0) & mask_;; slot = (slot + 1) & mask_) {
      if (slots_[slot] >> 32 != list_) {
        slots_[slot] = uint64_t{list_} << 32 | static_cast<uint64_t>(num_kept);
        return num_kept;
      }
      const auto place = static_cast<int64_t>(slots_[slot] & UINT32_MAX);
      if (kept[place] == item) return place;
    }
  }

 private:
  std::vector<uint64_t> slots_;  // list and place
  uint32_t list_ = 0;
  uint64_t mask_ = 0;
};

// Writes the distinct of values[0, count), and for each the weight of its first occurrence, or the sum in order of position.
// weights may be null. Returns how many there are.
template <typename Word>
inline int64_t unique_items(const Word* values, const float* weights, int64_t count, bool sums, FirstPlaces& places, Word* out,
                            float* out_weights) {
  places.begin(count);
  int64_t num_kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Word item = values[i];
    const int64_t place = places.place_of(item, out, num_kept);
    if (place == num_kept) {
      out[num_kept++] = item;
      if (weights != nullptr) out_weights[place] = weights[i];
    } else if (sums && weights != nullptr) {
      out_weights[place] = out_weights[place] + weights[i];
    }
  }
  return num_kept;
}

struct UniqueColumn {
  bool sums;
  const int64_t* offsets;
  const char* values;
  const float* weights;  // null: none
  char* kept_values;     // as many as values; the kept ones of a piece lie from the place of its first item on
  float* kept_weights;
  int64_t* out_offsets;
};

// Writes what lists [first, last) keep, end to end, and where in that each list starts. Returns how many items that are.
template <typename Word>
inline int64_t keep_first(const UniqueColumn& column, int64_t first, int64_t last) {
  const int64_t begin = column.offsets[first];
  const auto* values = reinterpret_cast<const Word*>(column.values);
  Word* out = reinterpret_cast<Word*>(column.kept_values) + begin;
  FirstPlaces places;
  int64_t num_kept = 0;
  for (int64_t row = first; row < last; ++row) {
    const int64_t from = column.offsets[row], count = column.offsets[row + 1] - from;
    const bool has_weights = column.weights != nullptr;
    column.out_offsets[row] = num_kept;
    num_kept += unique_items(values + from, has_weights ? column.weights + from : nullptr, count, column.sums, places, out + num_kept,
                             has_weights ? column.kept_weights + begin + num_kept : nullptr);
  }
  return num_kept;
}

// Moves what lists [first, last) keep to its place [start, stop) in the outputs.
inline void place_kept(const UniqueColumn& column, int64_t first, int64_t last, int64_t item_bytes, int64_t start, int64_t stop,
                       char* out_values, char* out_weights) {
  for (int64_t row = first; row < last; ++row) column.out_offsets[row] += start;
  if (start == stop) return;
  const int64_t begin = column.offsets[first];
  std::memcpy(out_values + start * item_bytes, column.kept_values + begin * item_bytes, (stop - start) * item_bytes);
  if (column.weights == nullptr) return;
  std::memcpy(out_weights + start * sizeof(float), column.kept_weights + begin, (stop - start) * sizeof(float));
}

}  // namespace sparrow
