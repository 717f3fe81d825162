// What tests of decoders share: memory whose ends the sanitizer watches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/byte_range.h"

namespace sparrow {

using Bytes = std::vector<uint8_t>;

inline void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// A copy that ends where its memory ends.
class Exact {
 public:
  explicit Exact(const Bytes& bytes) : size_(bytes.size()), held_(std::make_unique<uint8_t[]>(bytes.size())) {
    std::copy(bytes.begin(), bytes.end(), held_.get());
  }
  ByteRange range() const { return {held_.get(), held_.get() + size_}; }

 private:
  size_t size_;
  std::unique_ptr<uint8_t[]> held_;
};

}  // namespace sparrow
