// Columns of an Arrow record batch -> offsets of 64 bits that begin at 0, and dense values of one dtype. Arrow's memory may come from a
// damaged file: offsets may be anything, so nothing is read by one before all of them are checked. What is odd is left to the caller,
// column by column.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/arrow_array.h"

namespace sparrow {

// An imported array, released with the last of those that share its memory.
class SharedArray {
 public:
  // Takes over what `from` holds.
  explicit SharedArray(ArrowArray* from) : array_(*from) { from->release = nullptr; }

  const ArrowArray& operator*() const { return array_; }

  void share() { owners_.fetch_add(1, std::memory_order_relaxed); }

  void let_go() {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (array_.release != nullptr) array_.release(&array_);
    delete this;
  }

 private:
  ~SharedArray() = default;

  ArrowArray array_;
  std::atomic<int64_t> owners_{1};
};

// How a column lies in Arrow and what it becomes.
enum class ColumnKind : int64_t { kDense = 0, kDenseList = 1, kList = 2, kBytes = 3 };

// Whether row `row` of an array is null. `bits` may be absent: then none is.
inline bool is_null(const uint8_t* bits, int64_t row) { return bits != nullptr && !(bits[row >> 3] >> (row & 7) & 1); }

inline const uint8_t* validity(const ArrowArray& array) {
  return array.null_count == 0 || array.n_buffers == 0 ? nullptr : static_cast<const uint8_t*>(array.buffers[0]);
}

// Writes out[0, rows] = raw[0, rows] - raw[0]. Returns false, whatever was written, unless raw never decreases and lies in 0..num_values.
template <typename Offset>
bool widen_offsets(const Offset* __restrict raw, int64_t rows, int64_t num_values, int64_t* __restrict out) {
  const int64_t first = raw[0];
  if (first < 0 || raw[rows] > num_values) return false;
  // By unsigned arithmetic, since any two numbers may lie there.
  using Word = std::make_unsigned_t<Offset>;
  int64_t steps_down = 0;
  out[0] = 0;
  for (int64_t row = 1; row <= rows; ++row) {
    steps_down += raw[row] < raw[row - 1];
    out[row] = static_cast<int64_t>(static_cast<Word>(static_cast<Word>(raw[row]) - static_cast<Word>(first)));
  }
  return steps_down == 0;
}

// Whether every null row is empty: a list that is null may have elements nobody should see.
inline bool nulls_are_empty(const uint8_t* bits, int64_t bits_from, int64_t rows, const int64_t* offsets) {
  if (bits == nullptr) return true;
  bool empty = true;
  for (int64_t row = 0; row < rows; ++row) empty &= !is_null(bits, bits_from + row) || offsets[row] == offsets[row + 1];
  return empty;
}

// Integers up to this magnitude are all exact in the floating type.
template <typename Float>
constexpr int64_t kExactUpTo = int64_t{1} << std::numeric_limits<Float>::digits;

// out = value where nothing is lost but the last bits of a float; returns whether that is so. The rules are those of sparrow/io/cast.py.
template <typename To, typename From>
bool convert(From value, To* out) {
  if constexpr (std::is_same_v<From, To>) {
    *out = value;
    return true;
  } else if constexpr (std::is_floating_point_v<From> && std::is_floating_point_v<To>) {
    *out = static_cast<To>(value);
    return !std::isinf(*out) || std::isinf(value);
  } else if constexpr (std::is_floating_point_v<From>) {
    // The lower bound is a power of two and exact as a float, so the upper one is written by it. NaN fails every comparison.
    constexpr auto kLow = static_cast<From>(std::numeric_limits<To>::min());
    const bool fits = value >= kLow && value < -kLow && value == std::floor(value);
    *out = fits ? static_cast<To>(value) : To{0};
    return fits;
  } else if constexpr (std::is_floating_point_v<To>) {
    *out = static_cast<To>(value);
    return static_cast<int64_t>(value) >= -kExactUpTo<To> && static_cast<int64_t>(value) <= kExactUpTo<To>;
  } else {
    *out = static_cast<To>(value);
    return static_cast<int64_t>(value) >= std::numeric_limits<To>::min() && static_cast<int64_t>(value) <= std::numeric_limits<To>::max();
  }
}

// out[row] = value[row], the default where it is null. Returns false where a value does not fit, or is null without a default.
template <typename To, typename From>
bool fill_flat(const From* value, const uint8_t* bits, int64_t bits_from, int64_t rows, const To* fallback, To* out) {
  bool fits = true;
  if (bits == nullptr) {
    for (int64_t row = 0; row < rows; ++row) fits &= convert(value[row], out + row);
    return fits;
  }
  for (int64_t row = 0; row < rows; ++row) {
    if (!is_null(bits, bits_from + row)) {
      fits &= convert(value[row], out + row);
    } else if (fallback != nullptr) {
      out[row] = *fallback;
    } else {
      return false;
    }
  }
  return fits;
}

// The same of lists of one value, `offsets` from 0 to the number of values; an empty list reads the default. Returns false for longer
// lists, too. `scratch` has room for `rows` values. Without a branch a row, since which rows are empty is anybody's guess: values are
// converted as they lie, and an empty row reads one that it does not take.
template <typename To, typename From>
bool fill_lists(const From* __restrict value, const int64_t* __restrict offsets, int64_t rows, const To* fallback, To* __restrict scratch,
                To* __restrict out) {
  int64_t num_longer = 0, num_empty = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = offsets[row + 1] - offsets[row];
    num_longer += length > 1;
    num_empty += length == 0;
  }
  if (num_longer != 0 || (num_empty != 0 && fallback == nullptr)) return false;
  const int64_t num_values = offsets[rows];
  To* converted = num_empty == 0 ? out : scratch;
  int64_t num_wrong = 0;
  for (int64_t i = 0; i < num_values; ++i) num_wrong += !convert(value[i], converted + i);
  if (num_empty == 0 || num_wrong != 0) return num_wrong == 0;
  if (num_values == 0) scratch[0] = To{0};
  const int64_t last = num_values == 0 ? 0 : num_values - 1;
  const To given = *fallback;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = offsets[row];
    const To taken = scratch[begin < last ? begin : last];
    out[row] = offsets[row + 1] == begin ? given : taken;
  }
  return true;
}

}  // namespace sparrow
