// Every combination of one id of each list of a row -> one id: the MurmurHash64A of their bytes, and the product of their weights.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/murmur_hash.h"
#include "core/row_lists.h"

namespace sparrow {

// One column to cross; weights are null where all are 1.
struct CrossInput {
  const int64_t* ids;
  const float* weights;
  RowLists lists;
};

// A call makes at most so many ids: two long histories in one row would otherwise fill the memory of the machine.
constexpr int64_t kMostCrossed = int64_t{1} << 31;

// begins[r - first] = how many ids the rows from `first` to r - 1 make, for r in [first, last]. A row's count stops at kMostCrossed + 1, so
// that nothing overflows.
inline int64_t cross_offsets(const CrossInput* inputs, int64_t num_inputs, int64_t first, int64_t last, int64_t* begins) {
  constexpr int64_t kStop = kMostCrossed + 1;
  const int64_t rows = last - first;
  int64_t counts[kResultRows];
  std::fill_n(counts, rows, 1);
  for (int64_t i = 0; i < num_inputs; ++i) {
    const int64_t* offsets = inputs[i].lists.offsets;
    if (offsets == nullptr) continue;
    offsets += first;
    for (int64_t row = 0; row < rows; ++row) counts[row] = std::min(counts[row] * std::min(offsets[row + 1] - offsets[row], kStop), kStop);
  }
  int64_t total = 0;
  for (int64_t row = 0; row < rows; ++row) {
    begins[row] = total;
    total += counts[row];
  }
  begins[rows] = total;
  return total;
}

// to[i] = join(from[i], with) for i < count, eight at a time while there is room before `end`; `from` may be read seven beyond.
template <typename Value, typename Join>
inline void join_all(const Value* from, int64_t count, Value with, Value* to, const Value* end, Join join) {
  constexpr int64_t kAtOnce = 8;
  int64_t i = 0;
  for (; i < count && end - to >= i + kAtOnce; i += kAtOnce) {
    Value joined[kAtOnce];
    for (int64_t lane = 0; lane < kAtOnce; ++lane) joined[lane] = join(from[i + lane], with);
    __builtin_memcpy(to + i, joined, sizeof joined);
  }
  for (; i < count; ++i) to[i] = join(from[i], with);
}

// Crosses rows. The hashing is done over whole blocks of rows, as long arrays, whatever the lengths of their lists: a word's share of the
// hash is computed once a value, and once a combination only what depends on both.
class RowCrosser {
 public:
  // Writes the ids of rows [first, last), and their weights unless `weights` is null, at begins[r - first] and on.
  void cross(const CrossInput* inputs, int64_t num_inputs, int64_t first, int64_t last, const int64_t* begins, uint64_t* ids,
             float* weights) {
    for (int64_t row = first; row < last;) {
      const int64_t begin = begins[row - first];
      int64_t stop = row + 1;
      if (is_in_vain(inputs, num_inputs, row, begins + row - first)) {
        row = stop;
        continue;
      }
      while (stop < last && begins[stop + 1 - first] - begin <= kIdsAtOnce && !is_in_vain(inputs, num_inputs, stop, begins + stop - first))
        ++stop;
      const int64_t count = begins[stop - first] - begin;
      if (count != 0) cross_block(inputs, num_inputs, row, stop, count, ids + begin, weights == nullptr ? nullptr : weights + begin);
      row = stop;
    }
  }

 private:
  // In the first-level cache, with what they are made of.
  static constexpr int64_t kIdsAtOnce = 1024;
  // What a join reads and writes too much.
  static constexpr int64_t kPadding = 8;

  // Whether a row makes no ids, but has many combinations of the lists before its first empty one: nothing must be made of these.
  static bool is_in_vain(const CrossInput* inputs, int64_t num_inputs, int64_t row, const int64_t* begin) {
    if (num_inputs == 2 || begin[0] != begin[1]) return false;
    int64_t count = 1;
    for (int64_t i = 0; count != 0; ++i) {
      count *= inputs[i].lists[row + 1] - inputs[i].lists[row];
      if (i > 0 && count > kIdsAtOnce) return true;
    }
    return false;
  }

  void cross_block(const CrossInput* inputs, int64_t num_inputs, int64_t first, int64_t last, int64_t count, uint64_t* ids,
                   float* weights) {
    const uint64_t begin = murmur::begin(8 * static_cast<uint64_t>(num_inputs));
    num_made_.assign(last - first, 1);
    take(inputs[0], first, last, weights != nullptr, made_, made_weights_, [=](uint64_t id) { return murmur::absorb(begin, id); });
    for (int64_t row = first; row < last; ++row) num_made_[row - first] = inputs[0].lists[row + 1] - inputs[0].lists[row];
    for (int64_t i = 1; i < num_inputs; ++i) {
      take(inputs[i], first, last, weights != nullptr, words_, word_weights_, [](uint64_t id) { return murmur::scramble(id); });
      if (i + 1 < num_inputs) {
        const int64_t num_next = num_combined(inputs[i].lists, first, last);
        resize(next_, num_next);
        const auto mix = [](uint64_t state, uint64_t word) { return state ^ word; };
        combine(inputs[i].lists, first, last, made_.data(), words_.data(), next_.data(), next_.data() + num_next + kPadding, mix);
        for (int64_t at = 0; at < num_next; ++at) next_[at] *= murmur::kMultiplier;
        made_.swap(next_);
        if (weights != nullptr) {
          resize(next_weights_, num_next);
          const auto times = [](float made, float one) { return made * one; };
          combine(inputs[i].lists, first, last, made_weights_.data(), word_weights_.data(), next_weights_.data(),
                  next_weights_.data() + num_next + kPadding, times);
          made_weights_.swap(next_weights_);
        }
        for (int64_t row = first; row < last; ++row) num_made_[row - first] *= inputs[i].lists[row + 1] - inputs[i].lists[row];
      } else {
        combine(inputs[i].lists, first, last, made_.data(), words_.data(), ids, ids + count,
                [](uint64_t state, uint64_t word) { return state ^ word; });
        for (int64_t at = 0; at < count; ++at) ids[at] = murmur::finish(ids[at] * murmur::kMultiplier);
        if (weights != nullptr)
          combine(inputs[i].lists, first, last, made_weights_.data(), word_weights_.data(), weights, weights + count,
                  [](float made, float one) { return made * one; });
      }
    }
  }

  template <typename Value>
  static void resize(std::vector<Value>& values, int64_t count) {
    if (static_cast<int64_t>(values.size()) < count + kPadding) values.resize(count + kPadding);
  }

  // The words of one input's ids, and its weights.
  template <typename Word>
  static void take(const CrossInput& input, int64_t first, int64_t last, bool weighted, std::vector<uint64_t>& words,
                   std::vector<float>& weights, Word word) {
    const int64_t begin = input.lists[first], count = input.lists[last] - begin;
    resize(words, count);
    for (int64_t at = 0; at < count; ++at) words[at] = word(static_cast<uint64_t>(input.ids[begin + at]));
    if (!weighted) return;
    resize(weights, count);
    if (input.weights == nullptr)
      std::fill_n(weights.data(), count, 1.0f);
    else
      std::copy_n(input.weights + begin, count, weights.data());
  }

  int64_t num_combined(const RowLists& lists, int64_t first, int64_t last) const {
    int64_t total = 0;
    for (int64_t row = first; row < last; ++row) total += num_made_[row - first] * (lists[row + 1] - lists[row]);
    return total;
  }

  // Row by row, every pair of what was made so far and one of the next list, the latter varying fastest.
  template <typename Value, typename Join>
  void combine(const RowLists& lists, int64_t first, int64_t last, const Value* made, const Value* next, Value* to, const Value* end,
               Join join) const {
    for (int64_t row = first; row < last; ++row) {
      const int64_t num_made = num_made_[row - first], num_next = lists[row + 1] - lists[row];
      if (num_next == 1) {
        join_all(made, num_made, *next, to, end, join);
      } else {
        for (int64_t i = 0; i < num_made; ++i) join_all(next, num_next, made[i], to + i * num_next, end, join);
      }
      made += num_made;
      next += num_next;
      to += num_made * num_next;
    }
  }

  std::vector<int64_t> num_made_;
  std::vector<uint64_t> made_, words_, next_;
  std::vector<float> made_weights_, word_weights_, next_weights_;
};

}  // namespace sparrow
