// First values of a row: pure functions of (table seed, id, column), the same bits everywhere.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/normal_table.h"
#include "core/philox.h"

namespace sparrow {

enum Initializer : int64_t { kConstant = 0, kUniform = 1, kNormal = 2 };

// Standard normal value of a random word: the top bit is the sign, the rest the tail probability (m + 0.5) / 2^32.
inline double normal_value(uint32_t word) {
  const uint32_t m = word & 0x7fffffff;
  const int octave = m == 0 ? 0 : 31 - std::countl_zero(m);
  const double low = octave == 0 ? 0.0 : static_cast<double>(uint32_t{1} << octave);
  const double width = (octave == 0 ? 2.0 : low) / kNormalPieces;
  const double position = (static_cast<double>(m) - low) / width;  // exact: width is a power of two
  const int piece = static_cast<int>(position);
  const double t = position - static_cast<double>(piece);
  const double* c = kNormalTable[octave * kNormalPieces + piece];
  const double z = ((c[3] * t + c[2]) * t + c[1]) * t + c[0];
  return word >> 31 ? -z : z;
}

// `initializer` is kUniform or kNormal.
inline double initial_value(uint32_t word, int64_t initializer, double a, double b) {
  if (initializer == kUniform) return a + (b - a) * ((static_cast<double>(word) + 0.5) * 0x1p-32);
  return a + b * normal_value(word);
}

// row[0, dim) <- first values of `id` in the table of `seed`.
template <typename T>
inline void init_row(T* row, int64_t dim, int64_t id, int64_t seed, int64_t initializer, double a, double b) {
  if (initializer == kConstant) {
    std::fill_n(row, dim, static_cast<T>(a));
    return;
  }
  const auto low = [](int64_t word) { return static_cast<uint32_t>(word); };
  const auto high = [](int64_t word) { return static_cast<uint32_t>(static_cast<uint64_t>(word) >> 32); };
  for (int64_t first = 0; first < dim; first += 4) {
    const auto words = philox({low(id), high(id), static_cast<uint32_t>(first / 4), 0}, {low(seed), high(seed)});
    for (int64_t column = first; column < dim && column < first + 4; ++column) {
      row[column] = static_cast<T>(initial_value(words[column - first], initializer, a, b));
    }
  }
}

}  // namespace sparrow
