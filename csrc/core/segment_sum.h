// The one order in which Sparrow adds rows: 256 at a time in position order, chunk sums combined in order. It is part of the
// contract (the same bits on every device and number of threads), so both directions of pooling use this one accumulator.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sparrow {

constexpr int64_t kChunkRows = 256;

// total[0, dim) = sum over i in [0, count) of scale(i) * row(i)[0, dim). chunk is scratch of dim values.
template <typename T, typename Row, typename Scale>
inline void chunked_sum(int64_t count, int64_t dim, Row row, Scale scale, T* __restrict__ total, T* __restrict__ chunk) {
  std::fill(total, total + dim, T(0));
  for (int64_t first = 0; first < count; first += kChunkRows) {
    const int64_t last = std::min(first + kChunkRows, count);
    // One chunk sums straight into the total: 0 + x is x, so the bits are those of adding a chunk sum.
    T* __restrict__ sum = count <= kChunkRows ? total : chunk;
    if (sum == chunk) std::fill(chunk, chunk + dim, T(0));
    for (int64_t i = first; i < last; ++i) {
      const T* __restrict__ value = row(i);
      const T factor = scale(i);
      for (int64_t column = 0; column < dim; ++column) sum[column] += factor * value[column];
    }
    if (sum == chunk)
      for (int64_t column = 0; column < dim; ++column) total[column] += chunk[column];
  }
}

}  // namespace sparrow
