// Runs of items of any size, copied one after another: most are a few dozen bytes, nobody knows how many.
#pragma once

#include <cstdint>
#include <cstring>

namespace sparrow {

// What runs are copied by at once: more than a call of memcpy costs is saved where a run takes a few of these.
constexpr int64_t kStepBytes = 32;

// Copies num_bytes. Where there is room it writes, and reads, up to a step too many: what follows in `out` must be written afterwards.
// Nothing is written from out_end on, nor read from from_end on.
inline void copy_run(char* out, const char* out_end, const char* from, const char* from_end, int64_t num_bytes) {
  constexpr int64_t kMostSteps = 16;
  const int64_t whole = (num_bytes + kStepBytes - 1) / kStepBytes * kStepBytes;
  if (whole <= kMostSteps * kStepBytes && out_end - out >= whole && from_end - from >= whole) {
    for (int64_t done = 0; done < whole; done += kStepBytes) std::memcpy(out + done, from + done, kStepBytes);
  } else if (num_bytes != 0) {
    std::memcpy(out, from, num_bytes);
  }
}

// The items of one column, and where those kept go.
struct ItemRuns {
  const char* from = nullptr;  // null: there are none
  const char* from_end = nullptr;
  char* out = nullptr;
  int64_t item_bytes = 0;

  // Copies items [first, first + count) to `to`; the caller's part of the output ends at `end`.
  void copy(int64_t first, int64_t count, int64_t to, int64_t end) const {
    copy_run(out + to * item_bytes, out + end * item_bytes, from + first * item_bytes, from_end, count * item_bytes);
  }
};

}  // namespace sparrow
