// Runs of numbers as ORC stores them. Memory may come from a damaged file: nothing is read beyond its end, and what makes no sense is
// refused. Source: the ORC specification (version 1), "Run Length Encoding".
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/byte_range.h"

namespace sparrow {

// Whether bits are there, a bit a row, the high one of a byte first: bytes by "Byte Run Length Encoding". out[row] is 0 or 1.
inline bool read_present(ByteRange from, int64_t count, uint8_t* out) {
  int64_t done = 0;
  const auto put = [&](uint8_t bits) {
    for (int bit = 7; bit >= 0 && done < count; --bit) out[done++] = bits >> bit & 1;
  };
  while (done < count) {
    if (from.at == from.end) return false;
    const uint8_t head = *from.at++;
    const int64_t length = head < 128 ? head + 3 : 256 - head;
    if (from.size() < (head < 128 ? 1 : length)) return false;
    // Bits beyond the last row fill its byte, and no more.
    if (length > (count - done + 7) / 8) return false;
    for (int64_t i = 0; i < length; ++i) put(head < 128 ? *from.at : from.at[i]);
    from.at += head < 128 ? 1 : length;
  }
  return from.at == from.end;
}

// Numbers by "Integer Run Length Encoding, version 2".
class OrcRuns {
 public:
  // A run of two bytes or more has up to 512 numbers.
  static constexpr int64_t kMostOfByte = 256;

  OrcRuns(ByteRange from, bool is_signed) : from_(from), is_signed_(is_signed) {}

  // Reads exactly `count` numbers. Returns false where the bytes hold more, or fewer.
  bool read(int64_t count, uint64_t* out) {
    while (count > 0) {
      if (from_.at == from_.end) return false;
      const uint8_t head = *from_.at++;
      int64_t length = 0;
      switch (head >> 6) {
        case 0: length = read_repeat(head, count, out); break;
        case 1: length = read_direct(head, count, out); break;
        case 2: length = read_patched(head, count, out); break;
        default: length = read_delta(head, count, out);
      }
      if (length <= 0) return false;
      out += length, count -= length;
    }
    return from_.at == from_.end;
  }

 private:
  static constexpr int kWidths[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
                                    17, 18, 19, 20, 21, 22, 23, 24, 26, 28, 30, 32, 40, 48, 56, 64};

  static uint64_t unfolded(uint64_t folded) { return (folded >> 1) ^ (~(folded & 1) + 1); }

  // Each reads a run, behind its first byte, of at most `count` numbers, and returns how many, 0 where it is damaged.

  int64_t read_repeat(uint8_t head, int64_t count, uint64_t* out) {
    const int64_t length = (head & 7) + 3, num_bytes = (head >> 3 & 7) + 1;
    uint64_t value = 0;
    if (length > count || !read_big(num_bytes, &value)) return 0;
    std::fill_n(out, length, is_signed_ ? unfolded(value) : value);
    return length;
  }

  int64_t read_direct(uint8_t head, int64_t count, uint64_t* out) {
    const int width = kWidths[head >> 1 & 31];
    const int64_t length = read_length(head);
    if (length > count || !unpack(width, length, out)) return 0;
    if (is_signed_)
      for (int64_t i = 0; i < length; ++i) out[i] = unfolded(out[i]);
    return length;
  }

  // Small numbers over a base, and high bits of the few that are large.
  int64_t read_patched(uint8_t head, int64_t count, uint64_t* out) {
    const int width = kWidths[head >> 1 & 31];
    const int64_t length = read_length(head);
    if (length > count || from_.size() < 2) return 0;
    const uint8_t third = *from_.at++, fourth = *from_.at++;
    const int64_t base_bytes = (third >> 5) + 1, num_patches = fourth & 31;
    const int patch_width = kWidths[third & 31], gap_width = (fourth >> 5) + 1;
    uint64_t base = 0;
    if (!read_big(base_bytes, &base) || !unpack(width, length, out)) return 0;
    const uint64_t sign = uint64_t{1} << (8 * base_bytes - 1);
    if ((base & sign) != 0) base = ~(base & ~sign) + 1;
    const int entry_width = patch_width + gap_width;
    if (entry_width > 64 || width == 64 || num_patches == 0) return 0;
    uint64_t patches[31];
    if (!unpack(*std::lower_bound(std::begin(kWidths), std::end(kWidths), entry_width), num_patches, patches)) return 0;
    int64_t at = 0;
    const uint64_t mask = patch_width == 64 ? ~uint64_t{0} : (uint64_t{1} << patch_width) - 1;
    for (int64_t i = 0; i < num_patches; ++i) {
      at += static_cast<int64_t>(patches[i] >> patch_width);
      if (at >= length) return 0;
      out[at] |= (patches[i] & mask) << width;
    }
    for (int64_t i = 0; i < length; ++i) out[i] += base;
    return length;
  }

  // A first number and what is added from one to the next.
  int64_t read_delta(uint8_t head, int64_t count, uint64_t* out) {
    const int code = head >> 1 & 31;
    const int64_t length = read_length(head);
    uint64_t first = 0, step = 0;
    // A run of one number has no step: it is odd.
    if (length < 2 || length > count || !read_varint(&from_, &first) || !read_varint(&from_, &step)) return 0;
    out[0] = is_signed_ ? unfolded(first) : first;
    step = unfolded(step);
    out[1] = out[0] + step;
    if (code == 0) {
      for (int64_t i = 2; i < length; ++i) out[i] = out[i - 1] + step;
      return length;
    }
    if (!unpack(kWidths[code], length - 2, out + 2)) return 0;
    const bool falls = static_cast<int64_t>(step) < 0;
    for (int64_t i = 2; i < length; ++i) out[i] = falls ? out[i - 1] - out[i] : out[i - 1] + out[i];
    return length;
  }

  int64_t read_length(uint8_t head) { return from_.at == from_.end ? INT64_MAX : ((head & 1) << 8 | *from_.at++) + 1; }

  bool read_big(int64_t num_bytes, uint64_t* out) {
    if (from_.size() < num_bytes) return false;
    uint64_t value = 0;
    for (int64_t i = 0; i < num_bytes; ++i) value = value << 8 | *from_.at++;
    *out = value;
    return true;
  }

  // Reads `count` numbers of `width` bits, the high bit first, up to the end of a byte.
  bool unpack(int width, int64_t count, uint64_t* __restrict out) {
    const int64_t num_bytes = (count * width + 7) / 8;
    if (from_.size() < num_bytes) return false;
    const uint8_t* const packed = from_.at;
    // As many as can be read by whole words; the bits of one lie in 8 bytes but for widths that are whole bytes themselves.
    const int64_t fast = std::clamp<int64_t>((from_.size() - 8) * 8 / width, 0, count);
    for (int64_t i = 0; i < fast; ++i) {
      uint64_t word;
      std::memcpy(&word, packed + (i * width >> 3), sizeof word);
      out[i] = __builtin_bswap64(word) << (i * width & 7) >> (64 - width);
    }
    for (int64_t i = fast; i < count; ++i) {
      uint64_t word = 0;
      const int64_t first = i * width >> 3, last = (i * width + width - 1) >> 3;
      for (int64_t byte = 0; byte < 8; ++byte) word = word << 8 | (first + byte <= last ? packed[first + byte] : 0);
      out[i] = word << (i * width & 7) >> (64 - width);
    }
    from_.at += num_bytes;
    return true;
  }

  ByteRange from_;
  bool is_signed_;
};

}  // namespace sparrow
