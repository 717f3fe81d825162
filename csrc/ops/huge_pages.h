// Large fresh outputs in huge pages: a thousand page faults cost more than the bytes written into them.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparrow {

constexpr uintptr_t kHugePageBytes = uintptr_t{1} << 21;

// Asks for huge pages where whole ones fit. A hint: failure is of no consequence, and other systems ignore it.
inline void advise_huge_pages(void* address, int64_t num_bytes) {
#if defined(__linux__)
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(address) + kHugePageBytes - 1) & ~(kHugePageBytes - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(address) + static_cast<uintptr_t>(num_bytes)) & ~(kHugePageBytes - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)address, (void)num_bytes;
#endif
}

}  // namespace sparrow
