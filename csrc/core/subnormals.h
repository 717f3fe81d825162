// Subnormal numbers count, whatever the thread was told before. On x86: elsewhere nobody was seen to leave threads otherwise.
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace sparrow {

// As long as it lives, the thread computes with subnormal numbers as IEEE says; then as before.
class SubnormalsCount {
 public:
  SubnormalsCount(const SubnormalsCount&) = delete;
  SubnormalsCount& operator=(const SubnormalsCount&) = delete;

#if defined(__SSE__)
  SubnormalsCount() : before_(_mm_getcsr()) {
    if (before_ & kFlushes) _mm_setcsr(before_ & ~kFlushes);
  }
  ~SubnormalsCount() {
    if (before_ & kFlushes) _mm_setcsr(before_);
  }

 private:
  static constexpr unsigned kFlushes = 0x8040;  // results to zero, operands as zero
  unsigned before_;
#else
  SubnormalsCount() = default;
#endif
};

}  // namespace sparrow
