// Arrow arrays that we make: a record batch whose columns lie in one block of memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "core/arrow_array.h"
#include "core/kept_memory.h"

namespace sparrow {

// Blocks of memory, and the arrays whose buffers lie in them. Whoever imports the record batch releases it.
class MadeBatch {
 public:
  MadeBatch() = default;
  ~MadeBatch() {
    for (KeptMemory::Buffer* block : large_) KeptMemory::instance().give_back(block);
  }
  MadeBatch(const MadeBatch&) = delete;
  MadeBatch& operator=(const MadeBatch&) = delete;

  // Adds a block, out of which `take` hands out what comes next.
  void reserve(int64_t num_bytes) {
    constexpr int64_t kLarge = int64_t{1} << 20;
    if (num_bytes >= kLarge) {
      large_.push_back(KeptMemory::instance().take(num_bytes));
      next_ = static_cast<uint8_t*>(large_.back()->data);
    } else {
      small_.push_back(std::make_unique_for_overwrite<uint64_t[]>(num_bytes / 8 + 1));
      next_ = reinterpret_cast<uint8_t*>(small_.back().get());
    }
  }

  // Hands out the next `num_bytes` of the block that was added last, which has room for all requests, each `rounded`.
  uint8_t* take(int64_t num_bytes) {
    uint8_t* const begin = next_;
    next_ += rounded(num_bytes);
    return begin;
  }

  static int64_t rounded(int64_t num_bytes) { return (num_bytes + 63) / 64 * 64; }

  // Adds a column of numbers. `validity` is null where no row is.
  void add(int64_t num_rows, int64_t num_nulls, const uint8_t* validity, const uint8_t* values) {
    columns_.push_back(made(num_rows, num_nulls, {num_nulls == 0 ? nullptr : validity, values}, nullptr));
  }

  // Adds a column of lists of numbers.
  void add_lists(int64_t num_rows, int64_t num_nulls, const uint8_t* validity, const int32_t* offsets, int64_t num_values,
                 const uint8_t* values) {
    ArrowArray* items = made(num_values, 0, {nullptr, values}, nullptr);
    columns_.push_back(made(num_rows, num_nulls, {num_nulls == 0 ? nullptr : validity, offsets}, items));
  }

  // Gives a record batch of the columns to whoever imports `out`, together with `batch`.
  static void hand_over(std::unique_ptr<MadeBatch> batch, int64_t num_rows, ArrowArray* out) {
    MadeBatch* const held = batch.release();
    *out = ArrowArray{num_rows,
                      0,
                      0,
                      1,
                      static_cast<int64_t>(held->columns_.size()),
                      &held->nothing_,
                      held->columns_.data(),
                      nullptr,
                      [](ArrowArray* array) {
                        for (int64_t i = 0; i < array->n_children; ++i) let_go(array->children[i]);
                        delete static_cast<MadeBatch*>(array->private_data);
                        array->release = nullptr;
                      },
                      held};
  }

 private:
  struct Node {
    ArrowArray array;
    const void* buffers[2];
    ArrowArray* child;
  };

  static void let_go(ArrowArray* array) {
    if (array->release != nullptr) array->release(array);
  }

  ArrowArray* made(int64_t length, int64_t num_nulls, std::initializer_list<const void*> buffers, ArrowArray* child) {
    nodes_.push_back(std::make_unique<Node>());
    Node& node = *nodes_.back();
    std::copy(buffers.begin(), buffers.end(), node.buffers);
    node.child = child;
    // The memory is the record batch's.
    const auto release = [](ArrowArray* array) {
      if (array->n_children != 0) let_go(array->children[0]);
      array->release = nullptr;
    };
    node.array = {length,  num_nulls, 0,      2, child == nullptr ? 0 : 1, node.buffers, child == nullptr ? nullptr : &node.child,
                  nullptr, release,   nullptr};
    return &node.array;
  }

  std::vector<KeptMemory::Buffer*> large_;
  std::vector<std::unique_ptr<uint64_t[]>> small_;
  uint8_t* next_ = nullptr;
  const void* nothing_ = nullptr;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<ArrowArray*> columns_;
};

}  // namespace sparrow
