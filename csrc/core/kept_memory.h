// Memory of large arrays, kept when they are freed and handed out again: a fresh page costs more than the bytes written into it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparrow {

constexpr int64_t kHugePageBytes = int64_t{1} << 21;

// Hands out buffers aligned to huge pages, and in them. What comes back waits for the next request of about its size; what has waited for
// kMostWaits requests goes back to the system, so that no more is kept than a step has in use.
class KeptMemory {
 public:
  struct Buffer {
    void* data;
    int64_t num_bytes;
    int64_t kept_at;  // the number of requests when it came back
  };

  // Never destroyed: tensors may outlive everything else.
  static KeptMemory& instance() {
    static auto* kept = new KeptMemory;
    return *kept;
  }

  // Returns a buffer of at least num_bytes, of any content.
  Buffer* take(int64_t num_bytes) {
    Buffer* taken = nullptr;
    std::vector<Buffer*> stale;
    {
      const std::lock_guard lock(mutex_);
      ++num_requests_;
      // The smallest that fits, and wastes less than half.
      auto best = waiting_.end();
      for (auto buffer = waiting_.begin(); buffer != waiting_.end(); ++buffer)
        if ((*buffer)->num_bytes >= num_bytes && (*buffer)->num_bytes <= 2 * rounded(num_bytes) &&
            (best == waiting_.end() || (*buffer)->num_bytes < (*best)->num_bytes))
          best = buffer;
      if (best != waiting_.end()) {
        taken = *best;
        waiting_.erase(best);
      }
      const auto is_fresh = [&](const Buffer* buffer) { return num_requests_ - buffer->kept_at <= kMostWaits; };
      const auto first_stale = std::stable_partition(waiting_.begin(), waiting_.end(), is_fresh);
      stale.assign(first_stale, waiting_.end());
      waiting_.erase(first_stale, waiting_.end());
    }
    for (Buffer* buffer : stale) destroy(buffer);
    return taken != nullptr ? taken : create(rounded(num_bytes));
  }

  void give_back(Buffer* buffer) {
    const std::lock_guard lock(mutex_);
    buffer->kept_at = num_requests_;
    waiting_.push_back(buffer);
  }

 private:
  static constexpr int64_t kMostWaits = 256;

  // An eighth more, untouched and so without pages, lets sizes vary from step to step.
  static int64_t rounded(int64_t num_bytes) { return (num_bytes + num_bytes / 8 + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes; }

  static Buffer* create(int64_t num_bytes) {
    void* data = std::aligned_alloc(kHugePageBytes, num_bytes);
    if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    madvise(data, num_bytes, MADV_HUGEPAGE);  // a hint: failure is of no consequence
#endif
    return new Buffer{data, num_bytes, 0};
  }

  static void destroy(Buffer* buffer) {
    std::free(buffer->data);
    delete buffer;
  }

  std::mutex mutex_;
  std::vector<Buffer*> waiting_;
  int64_t num_requests_ = 0;
};

// Scratch of `size` values of a trivial type, of any content; kept memory where it is large.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t size) {
    const int64_t num_bytes = size * static_cast<int64_t>(sizeof(T));
    if (num_bytes >= kKeptBytes) {
      buffer_ = KeptMemory::instance().take(num_bytes);
      data_ = static_cast<T*>(buffer_->data);
    } else {
      data_ = static_cast<T*>(::operator new(num_bytes, std::align_val_t{64}));
    }
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { buffer_ != nullptr ? KeptMemory::instance().give_back(buffer_) : ::operator delete(data_, std::align_val_t{64}); }

  T* get() const { return data_; }
  T& operator[](int64_t index) const { return data_[index]; }

  // Below, the allocator of the process keeps memory itself.
  static constexpr int64_t kKeptBytes = int64_t{1} << 18;

 private:
  KeptMemory::Buffer* buffer_ = nullptr;
  T* data_;
};

}  // namespace sparrow
