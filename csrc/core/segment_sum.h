// The one order in which Sparrow adds rows: 256 at a time in position order, chunk sums combined in order. It is part of the
// contract (the same bits on every device and number of threads), so both directions of pooling use this one accumulator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/half.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sparrow {

constexpr int64_t kChunkRows = 256;
constexpr int64_t kRowPrefetchAhead = 64;
constexpr int64_t kCacheLineBytes = 64;

// Calls f with the width of a row as a constant where it is a common one, else with 0: loops of known length are a third faster.
template <typename F>
[[gnu::always_inline]] inline void with_width(int64_t dim, F f) {
  switch (dim) {
    case 8: return f(std::integral_constant<int64_t, 8>{});
    case 16: return f(std::integral_constant<int64_t, 16>{});
    case 32: return f(std::integral_constant<int64_t, 32>{});
    case 64: return f(std::integral_constant<int64_t, 64>{});
    default: return f(std::integral_constant<int64_t, 0>{});
  }
}

// total[0, dim) = the sum over i in [0, count) of scale(i) * row(i)[0, dim). chunk is scratch of dim values.
// `rows` has row(i), scale(i), and will_read(end), called before rows up to `end` are asked for, so that it can prefetch them.
template <typename T, typename Rows>
inline void chunked_sum(const Rows& rows, int64_t count, int64_t dim, T* __restrict__ total, T* __restrict__ chunk) {
  std::fill(total, total + dim, T(0));
  for (int64_t first = 0; first < count; first += kChunkRows) {
    const int64_t last = std::min(first + kChunkRows, count);
    // One chunk sums straight into the total: 0 + x is x, so the bits are those of adding a chunk sum.
    T* __restrict__ sum = count <= kChunkRows ? total : chunk;
    if (sum == chunk) std::fill(chunk, chunk + dim, T(0));
    rows.will_read(last);
    for (int64_t i = first; i < last; ++i) {
      const auto* __restrict__ value = rows.row(i);
      const T factor = rows.scale(i);
      for (int64_t column = 0; column < dim; ++column) sum[column] += factor * widen(value[column]);
    }
    if (sum == chunk)
      for (int64_t column = 0; column < dim; ++column) total[column] += chunk[column];
  }
}

// The same sums for rows of kDim values of T, whole cache lines of them: they stay in registers from the first row to the last.
template <int64_t kDim, typename T, typename Rows>
inline void chunked_sum_in_registers(const Rows& rows, int64_t count, T* __restrict__ total) {
  using Line [[gnu::vector_size(kCacheLineBytes)]] = T;
  constexpr int64_t kLines = kDim * static_cast<int64_t>(sizeof(T)) / kCacheLineBytes, kWidth = kDim / kLines;
  Line sum[kLines] = {};
  for (int64_t first = 0; first < count; first += kChunkRows) {
    const int64_t last = std::min(first + kChunkRows, count);
    Line chunk[kLines] = {};
    rows.will_read(last);
    for (int64_t i = first; i < last; ++i) {
      const T* row = rows.row(i);
      const T factor = rows.scale(i);
      for (int64_t line = 0; line < kLines; ++line) {
        Line value;
        std::memcpy(&value, row + line * kWidth, sizeof value);
        chunk[line] += factor * value;
      }
    }
    for (int64_t line = 0; line < kLines; ++line) sum[line] += chunk[line];
  }
  std::memcpy(total, sum, sizeof sum);
}

// Sums a segment by the better of the two ways; kDim is the width of a row, or 0 for any. `chunk` is scratch of dim values.
template <int64_t kDim, typename T, typename Rows>
inline void sum_segment(const Rows& rows, int64_t count, int64_t dim, T* __restrict__ total, T* __restrict__ chunk) {
  using W = std::remove_cvref_t<decltype(*rows.row(0))>;
  if constexpr (std::is_same_v<W, T> && kDim != 0 && kDim * sizeof(T) % kCacheLineBytes == 0) {
    chunked_sum_in_registers<kDim>(rows, count, total);
  } else {
    chunked_sum<T>(rows, count, dim, total, chunk);
  }
}

// out = the sum of one row. Adding it to zero is part of the contract: it makes -0 positive.
template <typename W, typename T>
inline void sum_one(const W* __restrict__ row, int64_t dim, T* __restrict__ out) {
  for (int64_t column = 0; column < dim; ++column) out[column] = T(0) + widen(row[column]);
}

// Functions that only prefetch must be inlined: GCC otherwise sees no effect in them and drops their calls.
#define SPARROW_PREFETCHES [[gnu::always_inline]] inline

// Brings num_bytes at `address` into L2: 48 rows in flight would evict each other from L1.
SPARROW_PREFETCHES void prefetch_bytes(const void* address, int64_t num_bytes) {
  for (int64_t offset = 0; offset < num_bytes; offset += kCacheLineBytes)
    __builtin_prefetch(static_cast<const char*>(address) + offset, 0, 2);
}

// Copies whole cache lines past the caches, without reading the lines they replace. Both addresses are multiples of 16 bytes and
// `to` one of kCacheLineBytes; other threads may read `to` only after end_streaming.
template <typename T>
inline void stream_row(const T* from, int64_t dim, T* to) {
  const int64_t num_bytes = dim * static_cast<int64_t>(sizeof(T));
  const char* source = reinterpret_cast<const char*>(from);
  char* target = reinterpret_cast<char*>(to);
#if defined(__AVX512F__)
  for (int64_t i = 0; i < num_bytes; i += 64) _mm512_stream_si512(reinterpret_cast<__m512i*>(target + i), _mm512_loadu_si512(source + i));
#elif defined(__SSE2__)
  for (int64_t i = 0; i < num_bytes; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(target + i), _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i)));
#else
  std::memcpy(target, source, num_bytes);
#endif
}

inline void end_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace sparrow
