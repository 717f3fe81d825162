// Rows in blocks of equal, power-of-two size: row r is row r & mask of block r >> shift.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sparrow {

template <typename T>
struct Blocks {
  std::vector<T*> data;
  int64_t shift = 0;
  int64_t width = 0;  // values a row

  T* row(int64_t index) const { return data[index >> shift] + (index & ((int64_t{1} << shift) - 1)) * width; }
  // Ask for the lines of a row that will be written soon. Always inline: GCC drops calls of functions that only prefetch.
  [[gnu::always_inline]] void prefetch(int64_t index) const {
    constexpr int64_t kLine = 64, kMostBytes = 512;  // beyond, the hardware has seen the stream
    const char* first = reinterpret_cast<const char*>(row(index));
    const int64_t bytes = std::min<int64_t>(width * static_cast<int64_t>(sizeof(T)), kMostBytes);
    for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(first + byte, 1, 2);
  }
  int64_t num_rows() const { return static_cast<int64_t>(data.size()) << shift; }
};

}  // namespace sparrow
