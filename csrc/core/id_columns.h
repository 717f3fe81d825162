// The ids of a batch as they come: columns, read as one list.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparrow {

// Ids in columns, one after the other.
struct IdColumns {
  std::vector<const int64_t*> data;
  std::vector<int64_t> begins{0};  // [columns + 1]

  void add(const int64_t* ids, int64_t num_ids) {
    data.push_back(ids);
    begins.push_back(begins.back() + num_ids);
  }
  int64_t num_ids() const { return begins.back(); }
  // The column of a position that is not the end.
  size_t column_of(int64_t position) const { return std::upper_bound(begins.begin(), begins.end(), position) - begins.begin() - 1; }
};

// Reads ids in order, from `begin` on.
class IdCursor {
 public:
  IdCursor(const IdColumns& columns, int64_t begin) : columns_(columns), next_(begin), column_(columns.column_of(begin)) {}

  // Returns the next ids, at most `most` of them and at least one, which must be left; writes how many.
  const int64_t* take(int64_t most, int64_t& count) {
    while (columns_.begins[column_ + 1] <= next_) ++column_;
    const int64_t* ids = columns_.data[column_] + (next_ - columns_.begins[column_]);
    count = std::min(most, columns_.begins[column_ + 1] - next_);
    next_ += count;
    return ids;
  }

 private:
  const IdColumns& columns_;
  int64_t next_;
  size_t column_;
};

}  // namespace sparrow
