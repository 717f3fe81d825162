// Random 64-byte lines a second: random_lines THREADS BYTES. The rate at which the rows of an embedding step can be reached at best.
#include <immintrin.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr size_t kLineWords = 8, kAhead = 64, kLines = 1 << 25;

// Which line the i-th read takes: a full-period walk would be prefetched by no hardware, and neither is this.
uint64_t line_of(uint64_t i, uint64_t num_lines) { return ((i * 0x9E3779B97F4A7C15ull >> 32) * num_lines) >> 32; }

uint64_t read_lines(const uint64_t* words, uint64_t num_lines, uint64_t first, uint64_t count) {
  uint64_t sum = 0;
  for (uint64_t i = first; i < first + count; ++i) {
    _mm_prefetch(reinterpret_cast<const char*>(words + line_of(i + kAhead, num_lines) * kLineWords), _MM_HINT_T1);
    sum += words[line_of(i, num_lines) * kLineWords];
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const size_t threads = std::strtoull(argv[1], nullptr, 10), bytes = std::strtoull(argv[2], nullptr, 10);
  auto* words = static_cast<uint64_t*>(std::aligned_alloc(2 << 20, bytes));
  if (words == nullptr) return 1;
  madvise(words, bytes, MADV_HUGEPAGE);
  for (size_t i = 0; i < bytes / 8; ++i) words[i] = i;
  double best = 0;
  uint64_t sum = 0;
  for (int run = 0; run < 7; ++run) {
    std::vector<uint64_t> sums(threads * kLineWords);
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::thread> pool;
    for (size_t t = 0; t < threads; ++t)
      pool.emplace_back([&, t] { sums[t * kLineWords] = read_lines(words, bytes / 64, t * kLines, kLines); });
    for (std::thread& worker : pool) worker.join();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    if (threads * kLines / seconds > best) best = threads * kLines / seconds;
    for (uint64_t one : sums) sum += one;
  }
  std::printf("%.0f %llu\n", best, static_cast<unsigned long long>(sum));
}
