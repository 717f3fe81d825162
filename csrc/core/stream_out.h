// Writes past the caches, for outputs larger than the caches hold: nothing is read of memory that is about to be overwritten.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sparrow {

// Copies `num_bytes` to `target`. Whoever reads it in another thread does so after `end_of_stream` in this one.
inline void stream_out(void* target, const void* source, int64_t num_bytes) {
  auto* to = static_cast<char*>(target);
  const auto* from = static_cast<const char*>(source);
#if defined(__x86_64__)
#if defined(__AVX512F__)
  using Vector = __m512i;
#elif defined(__AVX2__)
  using Vector = __m256i;
#else
  using Vector = __m128i;
#endif
  // A line is written whole, in any instruction set, or its other half is read after all.
  constexpr int64_t kLine = 64;
  const int64_t head = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(to) % kLine);
  if (num_bytes >= head + kLine) {
    std::memcpy(to, from, static_cast<size_t>(head));
    to += head, from += head, num_bytes -= head;
    for (; num_bytes >= kLine; to += kLine, from += kLine, num_bytes -= kLine) {
      for (int64_t at = 0; at < kLine; at += sizeof(Vector)) {
        Vector vector;
        std::memcpy(&vector, from + at, sizeof(Vector));
#if defined(__AVX512F__)
        _mm512_stream_si512(reinterpret_cast<Vector*>(to + at), vector);
#elif defined(__AVX2__)
        _mm256_stream_si256(reinterpret_cast<Vector*>(to + at), vector);
#else
        _mm_stream_si128(reinterpret_cast<Vector*>(to + at), vector);
#endif
      }
    }
  }
#endif
  if (num_bytes > 0) std::memcpy(to, from, static_cast<size_t>(num_bytes));
}

// What this thread streamed is seen by others before what it writes from here on.
inline void end_of_stream() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace sparrow
