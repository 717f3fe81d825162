// Vocabularies: the place of a key in a list, exact. Tables are packed by ops/map_values/lookup_tables.py: open addressing, at least half
// of the slots empty, so that every probe ends.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/mix.h"

namespace sparrow {

constexpr int64_t kVocabularyHeader = 4;  // words: keys, slots (a power of two), the word at which bytes of keys begin

class IntVocabulary {
 public:
  // Whether a table of `size` words is one; what lies in its slots is trusted.
  static bool fits(const int64_t* words, int64_t size) {
    return size >= kVocabularyHeader && words[1] > words[0] && words[0] >= 0 && (words[1] & (words[1] - 1)) == 0 &&
           (size - kVocabularyHeader) % 2 == 0 && (size - kVocabularyHeader) / 2 == words[1];
  }

  explicit IntVocabulary(const int64_t* words) : num_keys_(words[0]), mask_(words[1] - 1), slots_(words + kVocabularyHeader) {}

  int64_t num_keys() const { return num_keys_; }

  // The place of `id`, or -1.
  int64_t find(int64_t id) const {
    for (uint64_t slot = mix(static_cast<uint64_t>(id), 0) & mask_;; slot = (slot + 1) & mask_) {
      const int64_t* at = slots_ + 2 * slot;
      if (at[1] < 0 || at[0] == id) return at[1];
    }
  }

 private:
  int64_t num_keys_;
  uint64_t mask_;
  const int64_t* slots_;
};

class BytesVocabulary {
 public:
  static bool fits(const int64_t* words, int64_t size) {
    return size >= kVocabularyHeader && words[1] > words[0] && words[0] >= 0 && (words[1] & (words[1] - 1)) == 0 &&
           words[1] <= (size - kVocabularyHeader) / 4 && words[2] == kVocabularyHeader + 4 * words[1];
  }

  explicit BytesVocabulary(const int64_t* words)
      : num_keys_(words[0]),
        mask_(words[1] - 1),
        slots_(words + kVocabularyHeader),
        bytes_(reinterpret_cast<const uint8_t*>(words + words[2])) {}

  int64_t num_keys() const { return num_keys_; }

  // The place of a string whose farm hash is `hash`, or -1.
  int64_t find(uint64_t hash, const uint8_t* bytes, int64_t num_bytes) const {
    for (uint64_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
      const int64_t* at = slots_ + 4 * slot;
      if (at[1] < 0) return -1;
      if (at[0] == static_cast<int64_t>(hash) && at[3] == num_bytes &&
          (num_bytes == 0 || std::memcmp(bytes_ + at[2], bytes, static_cast<size_t>(num_bytes)) == 0))
        return at[1];
    }
  }

 private:
  int64_t num_keys_;
  uint64_t mask_;
  const int64_t* slots_;
  const uint8_t* bytes_;
};

}  // namespace sparrow
