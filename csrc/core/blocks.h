// Rows in blocks of equal, power-of-two size: row r is row r & mask of block r >> shift.
#pragma once

#include <cstdint>
#include <vector>

namespace sparrow {

template <typename T>
struct Blocks {
  std::vector<T*> data;
  int64_t shift = 0;
  int64_t width = 0;  // values a row

  T* row(int64_t index) const { return data[index >> shift] + (index & ((int64_t{1} << shift) - 1)) * width; }
  int64_t num_rows() const { return static_cast<int64_t>(data.size()) << shift; }
};

}  // namespace sparrow
