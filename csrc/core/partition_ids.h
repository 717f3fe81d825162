// Ids grouped by the rank that owns their slice of mix(id), stably: a counting sort by owner over pieces of tables.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/id_columns.h"
#include "core/mix.h"

namespace sparrow {

// Who owns which slices: owner w those from first_slices[w] to first_slices[w + 1] - 1. Together they own all 65536.
struct Owners {
  const int64_t* first_slices;  // [count + 1]
  int64_t count;

  // Writes the owner of each id: the last whose slices begin at or before its own, so never one that owns nothing. Every id takes the
  // same steps of the search, so that they are taken for many ids at a time.
  void of(const int64_t* ids, int64_t num_ids, uint64_t salt, int32_t* owners) const {
    constexpr int64_t kBlock = 256;
    int64_t slices[kBlock];
    for (int64_t begin = 0; begin < num_ids; begin += kBlock) {
      const int64_t block = std::min(kBlock, num_ids - begin);
      for (int64_t i = 0; i < block; ++i) {
        slices[i] = static_cast<int64_t>(mix(static_cast<uint64_t>(ids[begin + i]), salt) >> 48);
        owners[begin + i] = 0;
      }
      for (int64_t left = count; left > 1; left -= left / 2) {
        const auto half = static_cast<int32_t>(left / 2);
        for (int64_t i = 0; i < block; ++i) {
          const int32_t owner = owners[begin + i];
          owners[begin + i] = first_slices[owner + half] <= slices[i] ? owner + half : owner;
        }
      }
    }
  }
};

// Phases: count(piece) of all pieces; sum(); write(piece) of all pieces. Pieces of one phase may run in any order and at once.
class Partition {
 public:
  // table_offsets: [T + 1]. salts: [T]. inverse: [N], holds owners between the phases.
  Partition(const IdColumns& columns, const int64_t* table_offsets, const int64_t* salts, int64_t num_tables, Owners owners,
            int32_t* inverse)
      : columns_(columns), salts_(salts), num_tables_(num_tables), owners_(owners), inverse_(inverse) {
    for (int64_t table = 0; table < num_tables; ++table)
      for (int64_t begin = table_offsets[table]; begin < table_offsets[table + 1]; begin += kPieceIds)
        pieces_.push_back({table, begin, std::min(begin + kPieceIds, table_offsets[table + 1])});
    places_.resize(pieces_.size() * owners.count);
  }

  int64_t num_pieces() const { return static_cast<int64_t>(pieces_.size()); }

  void count(int64_t piece) {
    const Piece& own = pieces_[piece];
    int64_t* counts = places_.data() + piece * owners_.count;
    IdCursor cursor(columns_, own.begin);
    for (int64_t done = own.begin, taken = 0; done < own.end; done += taken) {
      const int64_t* ids = cursor.take(own.end - done, taken);
      owners_.of(ids, taken, static_cast<uint64_t>(salts_[own.table]), inverse_ + done);
      for (int64_t i = done; i < done + taken; ++i) ++counts[inverse_[i]];
    }
  }

  // Writes counts [W, T], and turns the counts of pieces into where their ids go.
  void sum(int64_t* counts) {
    std::fill(counts, counts + owners_.count * num_tables_, 0);
    int64_t next = 0;
    for (int64_t owner = 0; owner < owners_.count; ++owner)
      for (int64_t piece = 0; piece < num_pieces(); ++piece) {
        int64_t& place = places_[piece * owners_.count + owner];
        const int64_t number = place;
        counts[owner * num_tables_ + pieces_[piece].table] += number;
        place = next;
        next += number;
      }
  }

  void write(int64_t piece, int64_t* owned_ids, int32_t* order) {
    const Piece& own = pieces_[piece];
    int64_t* next = places_.data() + piece * owners_.count;
    IdCursor cursor(columns_, own.begin);
    for (int64_t done = own.begin, taken = 0; done < own.end; done += taken) {
      const int64_t* ids = cursor.take(own.end - done, taken);
      for (int64_t i = 0; i < taken; ++i) {
        const int64_t place = next[inverse_[done + i]]++;
        owned_ids[place] = ids[i];
        order[place] = static_cast<int32_t>(done + i);
        inverse_[done + i] = static_cast<int32_t>(place);
      }
    }
  }

 private:
  struct Piece {
    int64_t table, begin, end;
  };

  static constexpr int64_t kPieceIds = int64_t{1} << 13;

  const IdColumns& columns_;
  const int64_t* salts_;
  const int64_t num_tables_;
  const Owners owners_;
  int32_t* inverse_;
  std::vector<Piece> pieces_;
  std::vector<int64_t> places_;  // [pieces, W]: counts until `sum`, then the place of the piece's next id of that owner
};

}  // namespace sparrow
