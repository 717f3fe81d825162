// What Arrow arrays look like to those who share them.
#pragma once

#include <cstdint>

namespace sparrow {

// The Arrow C data interface, whose layout is fixed for good.
struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  ArrowArray** children;
  ArrowArray* dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};
static_assert(sizeof(ArrowArray) == 80);

}  // namespace sparrow
