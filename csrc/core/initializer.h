// First values of a row: pure functions of (table seed, id, column), the same bits everywhere.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/half.h"
#include "core/normal_table.h"
#include "core/philox.h"

namespace sparrow {

enum Initializer : int64_t { kConstant = 0, kUniform = 1, kNormal = 2, kTruncatedNormal = 3 };

// Standard normal value of a random word: the top bit is the sign, the rest, m, the tail probability (m + 0.5) / 2^32.
// An octave of m is an exponent of the double m, a piece its first three mantissa bits, the place inside the piece the rest: exact,
// and without a branch on the random sign.
inline double normal_value(uint32_t word) {
  static_assert(kNormalPieces == 8);
  constexpr int kPlaceBits = 52 - 3;
  constexpr uint64_t kOne = std::bit_cast<uint64_t>(1.0);
  const uint32_t m = word & 0x7fffffff;
  const uint64_t bits = std::bit_cast<uint64_t>(static_cast<double>(m));
  // 0 and 1, the ends of octave 0, start its pieces 0 and 4.
  const uint64_t piece = m < 2 ? 4 * m : (bits - kOne) >> kPlaceBits;
  const double t = std::bit_cast<double>(kOne | ((bits << 3) & ((uint64_t{1} << 52) - 1))) - 1.0;
  const double* c = kNormalTable[piece];
  const double z = ((c[3] * t + c[2]) * t + c[1]) * t + c[0];
  return std::bit_cast<double>(std::bit_cast<uint64_t>(z) ^ (static_cast<uint64_t>(word >> 31) << 63));
}

// The same word without the tails beyond two standard deviations: its magnitude squeezed into those that remain.
inline uint32_t without_tails(uint32_t word) {
  constexpr uint64_t kTail = 97711072;  // floor(2^32 * P(z < -2))
  const uint64_t m = word & 0x7fffffff;
  return (word & 0x80000000) | static_cast<uint32_t>(kTail + ((m * ((uint64_t{1} << 31) - kTail)) >> 31));
}

// `initializer` is not kConstant.
inline double initial_value(uint32_t word, int64_t initializer, double a, double b) {
  if (initializer == kTruncatedNormal) word = without_tails(word);
  if (initializer == kUniform) return a + (b - a) * ((static_cast<double>(word) + 0.5) * 0x1p-32);
  return a + b * normal_value(word);
}

// row[0, dim) <- first values of `id` in the table of `seed`.
template <typename W>
inline void init_row(W* row, int64_t dim, int64_t id, int64_t seed, int64_t initializer, double a, double b) {
  if (initializer == kConstant) {
    std::fill_n(row, dim, narrow<W>(static_cast<Compute<W>>(a)));
    return;
  }
  const auto low = [](int64_t word) { return static_cast<uint32_t>(word); };
  const auto high = [](int64_t word) { return static_cast<uint32_t>(static_cast<uint64_t>(word) >> 32); };
  for (int64_t first = 0; first < dim; first += 4) {
    const auto words = philox({low(id), high(id), static_cast<uint32_t>(first / 4), 0}, {low(seed), high(seed)});
    for (int64_t column = first; column < dim && column < first + 4; ++column) {
      row[column] = narrow<W>(static_cast<Compute<W>>(initial_value(words[column - first], initializer, a, b)));
    }
  }
}

}  // namespace sparrow
