// Columns of numbers, and of lists of numbers, of an ORC stripe -> the buffers of Arrow arrays. What most writers write is decoded;
// everything else, and everything odd, is refused, for the caller to leave to a reader that knows it all and says what is wrong. Source:
// the ORC specification (version 1), "Column Encodings".
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/orc_runs.h"
#include "core/orc_stripe.h"

namespace sparrow {

enum class OrcNumber : int64_t { kInt32 = 0, kInt64 = 1, kFloat32 = 2, kFloat64 = 3 };

struct OrcColumn {
  int64_t id;  // of its type; that of the numbers in its lists is one more
  OrcNumber number;
  bool is_list;

  int64_t item_bytes() const { return number == OrcNumber::kInt32 || number == OrcNumber::kFloat32 ? 4 : 8; }
};

// Memory that columns are decoded with, one after the other.
struct OrcScratch {
  std::vector<uint8_t> plain, present;
  std::vector<uint64_t> numbers;
};

class OrcDecoder {
 public:
  OrcDecoder(const OrcBytes& how, const OrcFooter& footer, int64_t num_rows, OrcScratch* scratch)
      : how_(how), footer_(footer), num_rows_(num_rows), scratch_(scratch) {}

  // Whether the rows of the stripe are a plain struct, all there: a row may be null with its whole struct, which no table has.
  bool has_whole_rows() const {
    return !footer_.encodings.empty() && footer_.encodings[0] == kDirect && find(0, OrcStream::kPresent) == nullptr;
  }

  // Writes the validity of a column's rows [N bits, in whole bytes] and the offsets of its lists [N + 1]. Returns whether it could.
  // num_values: how many numbers follow, those of null rows not among them.
  bool place(const OrcColumn& column, uint8_t* validity, int32_t* offsets, int64_t* num_nulls, int64_t* num_values) {
    const uint8_t* present = nullptr;
    int64_t num_present = 0;
    if (!read_rows_present(column, &present, &num_present)) return false;
    *num_nulls = num_rows_ - num_present;
    *num_values = num_present;
    set_bits(present, validity);
    if (!column.is_list) return true;
    const OrcStream* lengths = find(column.id, OrcStream::kLength);
    if (static_cast<size_t>(column.id) >= footer_.encodings.size() || footer_.encodings[column.id] != kDirect2) return false;
    ByteRange bytes{};
    if (lengths == nullptr || !orc_plain(how_, lengths->bytes, &scratch_->plain, &bytes)) return false;
    if (num_present / OrcRuns::kMostOfByte > bytes.size()) return false;
    uint64_t* const length = numbers(num_present);
    if (!OrcRuns(bytes, false).read(num_present, length)) return false;
    uint64_t total = 0, any = 0;
    offsets[0] = 0;
    for (int64_t row = 0, i = 0; row < num_rows_; ++row) {
      if (present == nullptr || present[row] != 0) {
        any |= length[i];
        total += length[i++];
      }
      offsets[row + 1] = static_cast<int32_t>(total);
    }
    *num_values = static_cast<int64_t>(total);
    // No length has more than 31 bits, so that they add up to no more than 2^63.
    return any <= INT32_MAX && total <= INT32_MAX;
  }

  // Writes the numbers of a column: those of lists, [num_values]; else one a row, [N], 0 where it is null. Returns whether it could.
  bool fill(const OrcColumn& column, int64_t num_values, uint8_t* out) {
    const int64_t id = column.id + (column.is_list ? 1 : 0);
    if (column.is_list && find(id, OrcStream::kPresent) != nullptr) return false;
    const uint8_t* present = nullptr;
    int64_t num_present = num_values;
    if (!column.is_list && !read_rows_present(column, &present, &num_present)) return false;
    if (num_present != num_values || static_cast<size_t>(id) >= footer_.encodings.size()) return false;
    const OrcStream* data = find(id, OrcStream::kData);
    ByteRange bytes{};
    if (data == nullptr || !orc_plain(how_, data->bytes, &scratch_->plain, &bytes)) return false;
    const bool is_float = column.number == OrcNumber::kFloat32 || column.number == OrcNumber::kFloat64;
    if (footer_.encodings[id] != (is_float ? kDirect : kDirect2)) return false;
    const int64_t item_bytes = column.item_bytes();
    if (!is_float && num_values / OrcRuns::kMostOfByte > bytes.size()) return false;
    if (is_float) {
      if (bytes.size() != num_values * item_bytes) return false;
      if (num_values != 0) std::memcpy(out, bytes.at, num_values * item_bytes);
    } else if (column.number == OrcNumber::kInt64) {
      if (!OrcRuns(bytes, true).read(num_values, reinterpret_cast<uint64_t*>(out))) return false;
    } else {
      uint64_t* const wide = numbers(num_values);
      if (!OrcRuns(bytes, true).read(num_values, wide)) return false;
      auto* narrow = reinterpret_cast<int32_t*>(out);
      int64_t num_wrong = 0;
      for (int64_t i = 0; i < num_values; ++i) {
        narrow[i] = static_cast<int32_t>(wide[i]);
        num_wrong += narrow[i] != static_cast<int64_t>(wide[i]);
      }
      if (num_wrong != 0) return false;
    }
    if (present != nullptr) item_bytes == 4 ? spread<uint32_t>(present, num_values, out) : spread<uint64_t>(present, num_values, out);
    return true;
  }

 private:
  // Of the encodings of the specification: the second uses "Integer Run Length Encoding, version 2".
  static constexpr uint64_t kDirect = 0, kDirect2 = 2;

  const OrcStream* find(int64_t column, OrcStream::Kind kind) const {
    for (const OrcStream& stream : footer_.streams)
      if (stream.column == static_cast<uint64_t>(column) && stream.kind == kind) return &stream;
    return nullptr;
  }

  uint64_t* numbers(int64_t count) {
    if (static_cast<int64_t>(scratch_->numbers.size()) < count) scratch_->numbers.resize(count);
    return scratch_->numbers.data();
  }

  // Gives a byte a row, null where all are there.
  bool read_rows_present(const OrcColumn& column, const uint8_t** present, int64_t* num_present) {
    *present = nullptr;
    *num_present = num_rows_;
    const OrcStream* stream = find(column.id, OrcStream::kPresent);
    if (stream == nullptr) return true;
    ByteRange bytes{};
    if (static_cast<int64_t>(scratch_->present.size()) < num_rows_) scratch_->present.resize(num_rows_);
    uint8_t* const out = scratch_->present.data();
    if (!orc_plain(how_, stream->bytes, &scratch_->plain, &bytes) || !read_present(bytes, num_rows_, out)) return false;
    *num_present = 0;
    for (int64_t row = 0; row < num_rows_; ++row) *num_present += out[row];
    *present = out;
    return true;
  }

  void set_bits(const uint8_t* present, uint8_t* validity) const {
    std::memset(validity, present == nullptr ? 0xff : 0, (num_rows_ + 7) / 8);
    if (present == nullptr) return;
    for (int64_t row = 0; row < num_rows_; ++row) validity[row >> 3] |= static_cast<uint8_t>(present[row] << (row & 7));
  }

  // Moves numbers to their rows, from the last on.
  template <typename Word>
  void spread(const uint8_t* present, int64_t num_values, uint8_t* out) const {
    auto* word = reinterpret_cast<Word*>(out);
    for (int64_t row = num_rows_ - 1; row >= 0; --row) word[row] = present[row] != 0 ? word[--num_values] : Word{0};
  }

  const OrcBytes& how_;
  const OrcFooter& footer_;
  int64_t num_rows_;
  OrcScratch* scratch_;
};

}  // namespace sparrow
