// Buckets of numbers: how many of some increasing boundaries a number reaches. A number equal to a boundary reaches it; NaN reaches all.
#pragma once

#include <bit>
#include <cstdint>

namespace sparrow {

// Integers in the order of numbers, -0.0 like 0.0 and NaN like the largest; integers are their own keys.
inline int64_t order_key(int64_t id) { return id; }
inline int64_t order_key(double number) {
  const int64_t bits = std::bit_cast<int64_t>(number + 0.0);
  const int64_t key = bits ^ static_cast<int64_t>(static_cast<uint64_t>(bits >> 63) >> 1);
  return number != number ? INT64_MAX : key;
}

// A table that `bucket_table` (ops/map_values/lookup_tables.py) packed. A monotone function gives every number one of some cells, before
// which starts[cell] boundaries lie, and in which at most `most`: a search of fixed length among those of the cell is exact, since a
// boundary in a cell before is below the number and one in a cell after above it.
class Buckets {
 public:
  static constexpr int64_t kHeader = 6;

  // Whether a table of `size` words is one; what lies in it is trusted.
  static bool fits(const int64_t* words, int64_t size) {
    if (size < kHeader) return false;
    const int64_t count = words[0], num_cells = words[1], most = words[2];
    return count >= 0 && count <= size && num_cells >= 1 && num_cells <= size && most >= 0 && most <= count &&
           (words[3] == 0 || (words[5] >= 0 && words[5] < 64)) && size == kHeader + num_cells + count + most;
  }

  explicit Buckets(const int64_t* words)
      : count_(words[0]),
        num_cells_(words[1]),
        most_(words[2]),
        is_linear_(words[3] == 0),
        first_key_(words[4]),
        shift_(words[5]),
        low_(std::bit_cast<double>(words[4])),
        scale_(std::bit_cast<double>(words[5])),
        starts_(words + kHeader),
        keys_(words + kHeader + num_cells_) {}

  // reached[i] = how many boundaries value[i] reaches; the two may be one array.
  template <typename Value>
  void count_reached(const Value* value, int64_t num_values, int64_t* reached) const {
    is_linear_ ? count_reached<true>(value, num_values, reached) : count_reached<false>(value, num_values, reached);
  }

 private:
  template <bool kLinear, typename Value>
  void count_reached(const Value* value, int64_t num_values, int64_t* reached) const {
    for (int64_t i = 0; i < num_values; ++i) {
      const int64_t key = order_key(value[i]);
      const int64_t* base = keys_ + starts_[cell<kLinear>(static_cast<double>(value[i]))];
      // Compilers turn a choice back into a branch, which would mispredict: the outcome is multiplied.
      for (int64_t left = most_; left > 0;) {
        const int64_t half = (left + 1) / 2;
        base += half * (base[half - 1] <= key);
        left -= half;
      }
      const int64_t count = base - keys_;
      reached[i] = count < count_ ? count : count_;
    }
  }

  template <bool kLinear>
  int64_t cell(double number) const {
    if constexpr (kLinear) {
      const double last = static_cast<double>(num_cells_ - 1), place = (number - low_) * scale_;
      const double below = place < last ? place : last;  // NaN lies in the last
      return static_cast<int64_t>(below > 0.0 ? below : 0.0);
    } else {
      const int64_t key = order_key(number);
      const uint64_t place = (static_cast<uint64_t>(key) - static_cast<uint64_t>(first_key_)) >> shift_;
      const uint64_t last = static_cast<uint64_t>(num_cells_ - 1);
      return key <= first_key_ ? 0 : static_cast<int64_t>(place < last ? place : last);
    }
  }

  int64_t count_, num_cells_, most_;
  bool is_linear_;
  int64_t first_key_, shift_;
  double low_, scale_;
  const int64_t* starts_;
  const int64_t* keys_;
};

}  // namespace sparrow
