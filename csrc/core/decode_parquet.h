// A Parquet column chunk of numbers, or of lists of numbers -> the buffers of an Arrow array. Chunks as most writers write them are
// decoded; everything else, and everything odd, is refused, for the caller to leave to a reader that knows it all and says what is wrong.
// Source: the Parquet format 2.10, "Nested Encoding", "Data Pages", "Encodings".
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/bit_runs.h"
#include "core/parquet_page.h"
#include "core/snappy.h"

namespace sparrow {

struct ParquetChunk {
  enum Codec : int64_t { kPlain = 0, kSnappy = 1 };

  ByteRange bytes;
  int64_t codec;
  int64_t item_bytes;  // 4 or 8
  int64_t num_values;  // entries, those of nulls and empty lists included
  bool is_list, is_nullable, has_nullable_items;
};

// Where a chunk of N rows goes: offsets [N + 1] of lists, validity [N bits, in whole bytes], values [num_values].
struct ParquetRoom {
  int32_t* offsets;
  uint8_t* validity;
  uint8_t* values;
};

// What a chunk holds: its values, and how many rows are null.
struct ParquetCount {
  int64_t num_values, num_nulls;
};

// Memory that chunks are decoded with, one after the other.
struct ParquetScratch {
  std::vector<uint8_t> page, dictionary, levels;
  std::vector<uint32_t> places;
};

template <typename Word>
class ParquetDecoder {
 public:
  ParquetDecoder(const ParquetChunk& chunk, int64_t num_rows, const ParquetRoom& room, ParquetScratch* scratch)
      : chunk_(chunk), num_rows_(num_rows), room_(room), scratch_(scratch) {
    present_ = chunk.is_nullable ? 1 : 0;
    entry_ = present_ + (chunk.is_list ? 1 : 0);
    most_ = entry_ + (chunk.is_list && chunk.has_nullable_items ? 1 : 0);
  }

  // Returns whether the chunk was decoded.
  bool decode(ParquetCount* count) {
    // A row has an entry, or more where it is a list.
    if (chunk_.is_list ? chunk_.num_values < num_rows_ : chunk_.num_values != num_rows_) return false;
    std::memset(room_.validity, 0, (num_rows_ + 7) / 8);
    if (chunk_.is_list) room_.offsets[0] = 0;
    ByteRange rest = chunk_.bytes;
    while (num_entries_ < chunk_.num_values) {
      PageHeader header;
      if (!read_page_header(&rest, &header) || header.has_crc) return false;
      const ByteRange stored{rest.at, rest.at + header.stored_bytes};
      rest.at = stored.end;
      if (!read_page(header, stored)) return false;
    }
    *count = {num_found_, num_nulls_};
    return num_seen_ == num_rows_ && rest.at == rest.end;
  }

 private:
  static constexpr int64_t kPlainEncoding = 0, kOldDictionary = 2, kRuns = 3, kDictionaryPlaces = 8;
  // A page is a megabyte as a rule. A length that is none must not take the memory there is.
  static constexpr int64_t kMostPageBytes = int64_t{1} << 28;

  bool read_page(const PageHeader& header, ByteRange stored) {
    if (header.raw_bytes > kMostPageBytes) return false;
    if (header.type == PageHeader::kDictionary) return read_dictionary(header, stored);
    if (header.num_values > chunk_.num_values - num_entries_) return false;
    if (header.type == PageHeader::kData) {
      ByteRange page{};
      if (!unpack(stored, header.raw_bytes, chunk_.codec, &scratch_->page, &page)) return false;
      ByteRange rep{}, def{};
      if (chunk_.is_list && !(header.rep_encoding == kRuns && take_sized(&page, &rep))) return false;
      if (most_ > 0 && !(header.def_encoding == kRuns && take_sized(&page, &def))) return false;
      return read_data(header, rep, def, page);
    }
    if (header.type == PageHeader::kDataV2) {
      if ((!chunk_.is_list && header.rep_bytes != 0) || (most_ == 0 && header.def_bytes != 0)) return false;
      if (header.rep_bytes < 0 || header.def_bytes < 0 || header.rep_bytes > stored.size() ||
          header.def_bytes > stored.size() - header.rep_bytes)
        return false;
      const int64_t level_bytes = header.rep_bytes + header.def_bytes;
      const ByteRange rep{stored.at, stored.at + header.rep_bytes}, def{rep.end, rep.end + header.def_bytes};
      ByteRange page{};
      if (level_bytes > header.raw_bytes || !unpack({def.end, stored.end}, header.raw_bytes - level_bytes,
                                                    header.is_compressed ? chunk_.codec : ParquetChunk::kPlain, &scratch_->page, &page))
        return false;
      return read_data(header, rep, def, page);
    }
    return false;
  }

  static bool unpack(ByteRange stored, int64_t raw_bytes, int64_t codec, std::vector<uint8_t>* room, ByteRange* out) {
    if (codec == ParquetChunk::kPlain) {
      *out = stored;
      return stored.size() == raw_bytes;
    }
    uint64_t announced = 0;
    if (stored.size() > 0 && (!unsnappy_bytes(stored, &announced) || announced != static_cast<uint64_t>(raw_bytes))) return false;
    if (stored.size() == 0 && raw_bytes != 0) return false;
    // Room that may be read beyond the end, by whole words.
    constexpr int64_t kWord = 8;
    if (static_cast<int64_t>(room->size()) < raw_bytes + kWord) room->resize(raw_bytes + kWord);
    *out = {room->data(), room->data() + raw_bytes};
    return stored.size() == 0 || unsnappy(stored, room->data(), raw_bytes);
  }

  // Levels of a page of the first version stand behind the number of their bytes.
  static bool take_sized(ByteRange* from, ByteRange* out) {
    uint32_t num_bytes = 0;
    if (from->size() < 4) return false;
    std::memcpy(&num_bytes, from->at, 4);
    from->at += 4;
    if (num_bytes > from->size()) return false;
    *out = {from->at, from->at + num_bytes};
    from->at = out->end;
    return true;
  }

  bool read_dictionary(const PageHeader& header, ByteRange stored) {
    if (num_words_ >= 0 || num_entries_ != 0 || (header.encoding != kPlainEncoding && header.encoding != kOldDictionary)) return false;
    ByteRange words{};
    if (!unpack(stored, header.raw_bytes, chunk_.codec, &scratch_->dictionary, &words)) return false;
    if (words.size() != header.num_values * static_cast<int64_t>(sizeof(Word))) return false;
    words_ = words.at;
    num_words_ = header.num_values;
    return true;
  }

  bool read_data(const PageHeader& header, ByteRange rep, ByteRange def, ByteRange values) {
    const int64_t count = header.num_values;
    if (static_cast<int64_t>(scratch_->levels.size()) < 2 * count) scratch_->levels.resize(2 * count);
    uint8_t* const reps = scratch_->levels.data();
    uint8_t* const defs = reps + count;
    if (chunk_.is_list && !read_bit_runs(rep, 1, count, reps)) return false;
    if (most_ > 0 && !read_bit_runs(def, most_ == 1 ? 1 : 2, count, defs)) return false;
    const int64_t before = num_found_, before_seen = num_seen_;
    if (!(chunk_.is_list ? place_lists(reps, defs, count) : place_numbers(defs, count))) return false;
    num_entries_ += count;
    const int64_t num_present = num_found_ - before;
    // Pages of the second version tell these, and begin with a row.
    if (header.type == PageHeader::kDataV2 && (header.num_rows != num_seen_ - before_seen || header.num_nulls != count - num_present ||
                                               (chunk_.is_list && count > 0 && reps[0] != 0)))
      return false;
    if (!chunk_.is_list) {
      if (!read_values(header.encoding, values, num_present, before_rows_)) return false;
      return num_present == count || spread(defs, count);
    }
    return read_values(header.encoding, values, num_present, before);
  }

  // Offsets and validity of the rows of a page.
  bool place_lists(const uint8_t* __restrict reps, const uint8_t* __restrict defs, int64_t count) {
    if (num_entries_ == 0 && count > 0 && reps[0] != 0) return false;
    int32_t* __restrict const ends = room_.offsets;
    int64_t row = num_seen_;
    const auto most = static_cast<uint8_t>(most_), entry = static_cast<uint8_t>(entry_);
    // Of 32 bits, so that many are counted at once.
    uint32_t num_starts = 0, num_full = 0, num_odd = 0;
    for (int64_t i = 0; i < count; ++i) {
      num_starts += reps[i] == 0;
      num_full += defs[i] == most;
      num_odd += (defs[i] > most) | ((defs[i] >= entry) & (defs[i] != most));
    }
    if (num_starts > num_rows_ - row || num_found_ + count > INT32_MAX) return false;
    auto found = static_cast<int32_t>(num_found_);
    if (num_starts == count && num_full == count) {
      for (int64_t i = 0; i < count; ++i) ends[row + 1 + i] = found + static_cast<int32_t>(i + 1);
      found += static_cast<int32_t>(count);
    } else if (num_starts == count) {
      for (int64_t i = 0; i < count; ++i) {
        found += defs[i] == most;
        ends[row + 1 + i] = found;
      }
    } else {
      // An entry that goes on with a list goes on with one that had entries.
      bool had_entry = has_entry_;
      int64_t at = row;
      for (int64_t i = 0; i < count; ++i) {
        at += reps[i] == 0;
        found += defs[i] == most;
        ends[at] = found;
        const bool is_entry = defs[i] == most;
        num_odd += reps[i] != 0 && !(is_entry && had_entry);
        had_entry = is_entry;
      }
    }
    if (count > 0) has_entry_ = defs[count - 1] == most;
    mark(reps, defs, count, num_starts);
    num_seen_ = row + num_starts;
    num_found_ = found;
    return num_odd == 0;
  }

  bool place_numbers(const uint8_t* defs, int64_t count) {
    if (count > num_rows_ - num_seen_) return false;
    int64_t num_present = count, num_odd = 0;
    if (most_ > 0) {
      num_present = 0;
      for (int64_t i = 0; i < count; ++i) num_present += defs[i] == 1, num_odd += defs[i] > 1;
    }
    before_rows_ = num_seen_;
    mark(nullptr, defs, count, count);
    num_seen_ += count;
    num_found_ += num_present;
    return num_odd == 0;
  }

  // Sets the bits of rows that begin here and are not null.
  void mark(const uint8_t* reps, const uint8_t* defs, int64_t count, int64_t num_starts) {
    int64_t row = num_seen_, num_nulls = 0;
    if (present_ != 0 && num_starts == count) {
      for (int64_t i = 0; i < count; ++i) num_nulls += defs[i] == 0;
    } else if (present_ != 0) {
      for (int64_t i = 0; i < count; ++i) num_nulls += reps[i] == 0 && defs[i] == 0;
    }
    num_nulls_ += num_nulls;
    if (num_nulls == 0) {
      for (int64_t i = 0; i < num_starts;) {
        if ((row & 7) == 0 && num_starts - i >= 8) {
          room_.validity[row >> 3] = 0xff;
          i += 8, row += 8;
        } else {
          room_.validity[row >> 3] |= static_cast<uint8_t>(1 << (row & 7));
          ++i, ++row;
        }
      }
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      if (reps != nullptr && reps[i] != 0) continue;
      room_.validity[row >> 3] |= static_cast<uint8_t>((defs[i] != 0) << (row & 7));
      ++row;
    }
  }

  // Reads `count` values to where value `first` goes.
  bool read_values(int64_t encoding, ByteRange from, int64_t count, int64_t first) {
    uint8_t* const out = room_.values + first * sizeof(Word);
    if (encoding == kPlainEncoding) {
      if (from.size() != count * static_cast<int64_t>(sizeof(Word))) return false;
      if (count > 0) std::memcpy(out, from.at, count * sizeof(Word));
      return true;
    }
    if ((encoding != kDictionaryPlaces && encoding != kOldDictionary) || num_words_ < 0) return false;
    if (from.size() < 1) return count == 0;
    const int width = *from.at++;
    if (static_cast<int64_t>(scratch_->places.size()) < count) scratch_->places.resize(count);
    uint32_t* const places = scratch_->places.data();
    if (!read_bit_runs(from, width, count, places)) return false;
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; ++i) largest = places[i] > largest ? places[i] : largest;
    if (count > 0 && largest >= num_words_) return false;
    // The dictionary may lie anywhere, the values are aligned.
    auto* __restrict const to = reinterpret_cast<Word*>(out);
    const uint8_t* const words = words_;
    for (int64_t i = 0; i < count; ++i) {
      Word word;
      std::memcpy(&word, words + places[i] * sizeof(Word), sizeof(Word));
      to[i] = word;
    }
    return true;
  }

  // Moves the values of a page of numbers to their rows, from the last on; a null reads 0.
  bool spread(const uint8_t* defs, int64_t count) {
    uint8_t* const out = room_.values + before_rows_ * sizeof(Word);
    int64_t from = 0;
    for (int64_t i = 0; i < count; ++i) from += defs[i] == 1;
    for (int64_t i = count - 1; i >= 0; --i) {
      Word word{0};
      if (defs[i] == 1) std::memcpy(&word, out + --from * sizeof(Word), sizeof(Word));
      std::memcpy(out + i * sizeof(Word), &word, sizeof(Word));
    }
    return true;
  }

  const ParquetChunk& chunk_;
  int64_t num_rows_;
  ParquetRoom room_;
  ParquetScratch* scratch_;
  // Levels: from which on a row is not null, has an entry, and the entry a value.
  int64_t present_, entry_, most_;
  const uint8_t* words_ = nullptr;  // of the dictionary, -1 where there is none
  int64_t num_words_ = -1;
  int64_t num_entries_ = 0, num_seen_ = 0, num_found_ = 0, num_nulls_ = 0, before_rows_ = 0;
  bool has_entry_ = false;
};

inline bool decode_parquet_chunk(const ParquetChunk& chunk, int64_t num_rows, const ParquetRoom& room, ParquetScratch* scratch,
                                 ParquetCount* count) {
  return chunk.item_bytes == 4 ? ParquetDecoder<uint32_t>(chunk, num_rows, room, scratch).decode(count)
                               : ParquetDecoder<uint64_t>(chunk, num_rows, room, scratch).decode(count);
}

}  // namespace sparrow
