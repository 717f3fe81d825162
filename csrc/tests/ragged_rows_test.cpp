// Lists cut, padded, chosen from and made unique against plain loops, on exact copies of the memory, under AddressSanitizer and UBSan.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "core/length_rows.h"
#include "core/pad_rows.h"
#include "core/top_rows.h"
#include "core/truncate_rows.h"
#include "core/unique_rows.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// A random column; every array is exactly as long as it says.
struct Column {
  int num_levels;
  std::unique_ptr<int64_t[]> offsets[kMostLevels];
  int64_t num_lists[kMostLevels];
  int64_t item_bytes, num_values;
  std::unique_ptr<char[]> values;
  std::unique_ptr<float[]> weights;
};

Column make_column(std::mt19937_64& random, int num_levels, int64_t longest, int64_t item_bytes) {
  Column column;
  column.num_levels = num_levels;
  int64_t lists = random() % 8;
  for (int level = 0; level < num_levels; ++level) {
    column.num_lists[level] = lists;
    column.offsets[level] = std::make_unique<int64_t[]>(lists + 1);
    for (int64_t i = 0; i < lists; ++i) column.offsets[level][i + 1] = column.offsets[level][i] + random() % (longest + 1);
    lists = column.offsets[level][lists];
  }
  column.num_values = lists;
  column.item_bytes = item_bytes;
  column.values = std::make_unique<char[]>(lists * item_bytes);
  for (int64_t i = 0; i < lists * item_bytes; ++i) column.values[i] = static_cast<char>(random());
  column.weights = std::make_unique<float[]>(lists);
  for (int64_t i = 0; i < lists; ++i) column.weights[i] = static_cast<float>(random() % 5);
  return column;
}

// Rows [0, n) in two pieces, so that the first is seen to leave the second's part of the outputs alone.
std::vector<RowPiece> two_pieces(int64_t n, std::mt19937_64& random) {
  const int64_t middle = random() % (n + 1);
  return {{0, middle, n}, {0, 0, middle}};
}

void lists_are_cut() {
  std::mt19937_64 random(1);
  for (int round = 0; round < 6000; ++round) {
    const Column from = make_column(random, 1 + random() % 3, round % 2 ? 3 : 40 >> (round % 5), int64_t{1} << random() % 4);
    const int level = static_cast<int>(random() % from.num_levels);
    CutColumn cut{};
    cut.num_levels = from.num_levels - level;
    cut.length = random() % 6;
    cut.keeps_tail = random() % 2;
    cut.added = cut.num_levels == 1 ? EmptyLists::kNone : static_cast<EmptyLists>(random() % 3);
    for (int i = 0; i < cut.num_levels; ++i) cut.offsets[i] = from.offsets[level + i].get();
    // Elements that stay, level by level; -1 is an empty list.
    std::vector<std::vector<int64_t>> lengths(cut.num_levels);
    std::vector<int64_t> elements;
    for (int64_t list = 0; list < from.num_lists[level]; ++list) {
      const int64_t first = cut.offsets[0][list], size = cut.offsets[0][list + 1] - first, count = std::min(size, cut.length);
      const int64_t missing = cut.added == EmptyLists::kNone ? 0 : cut.length - count;
      if (cut.added == EmptyLists::kAtBegin) elements.insert(elements.end(), missing, -1);
      for (int64_t i = 0; i < count; ++i) elements.push_back(first + (cut.keeps_tail ? size - count : 0) + i);
      if (cut.added == EmptyLists::kAtEnd) elements.insert(elements.end(), missing, -1);
      lengths[0].push_back(count + missing);
    }
    for (int below = 1; below < cut.num_levels; ++below) {
      std::vector<int64_t> next;
      for (const int64_t element : elements) {
        const int64_t begin = element < 0 ? 0 : cut.offsets[below][element], end = element < 0 ? 0 : cut.offsets[below][element + 1];
        for (int64_t i = begin; i < end; ++i) next.push_back(i);
        lengths[below].push_back(end - begin);
      }
      elements = next;
    }
    const auto pieces = two_pieces(from.num_lists[level], random);
    std::vector<LevelCounts> starts = {count_cut(cut, pieces[1].first, pieces[1].last), count_cut(cut, pieces[0].first, pieces[0].last)};
    const auto totals = starts_of({pieces[1], pieces[0]}, 1, starts);
    std::unique_ptr<int64_t[]> out_offsets[kMostLevels];
    for (int i = 0; i < cut.num_levels; ++i) {
      out_offsets[i] = std::make_unique<int64_t[]>(lengths[i].size() + 1);
      cut.out_offsets[i] = out_offsets[i].get();
      out_offsets[i][lengths[i].size()] = totals[0][i];
    }
    const auto num_items = static_cast<int64_t>(elements.size());
    expect(totals[0][cut.num_levels - 1] == num_items, "the number of items that stay");
    auto out = std::make_unique<char[]>(num_items * from.item_bytes);
    auto out_weights = std::make_unique<float[]>(num_items);
    const char* values = from.values.get();
    const auto* weights = reinterpret_cast<const char*>(from.weights.get());
    cut.values = {values, values + from.num_values * from.item_bytes, out.get(), from.item_bytes};
    cut.weights = {weights, weights + from.num_values * 4, reinterpret_cast<char*>(out_weights.get()), 4};
    write_cut(cut, pieces[0].first, pieces[0].last, starts[1], totals[0]);
    write_cut(cut, pieces[1].first, pieces[1].last, starts[0], starts[1]);
    for (int i = 0; i < cut.num_levels; ++i)
      for (size_t list = 0; list < lengths[i].size(); ++list)
        expect(out_offsets[i][list + 1] - out_offsets[i][list] == lengths[i][list] && out_offsets[i][0] == 0, "offsets after a cut");
    for (int64_t i = 0; i < num_items; ++i) {
      expect(std::memcmp(out.get() + i * from.item_bytes, values + elements[i] * from.item_bytes, from.item_bytes) == 0, "items that stay");
      expect(out_weights[i] == from.weights[elements[i]], "weights that stay");
    }
  }
}

template <typename Word>
void lists_are_padded() {
  std::mt19937_64 random(2);
  for (int round = 0; round < 2000; ++round) {
    const Column from = make_column(random, 1 + random() % 3, round % 2 ? 3 : 30 >> (round % 4), sizeof(Word));
    const bool is_mask = sizeof(Word) == 4 && random() % 2;
    PaddedColumn<Word> column{};
    column.num_levels = from.num_levels;
    column.keeps_tail = random() % 2;
    column.fills_begin = random() % 2;
    int64_t words = 1;
    for (int level = from.num_levels - 1; level >= 0; --level) {
      column.lengths[level] = random() % (round % 3 ? 5 : 20);
      column.list_words[level] = words *= column.lengths[level];
      column.offsets[level] = from.offsets[level].get();
    }
    column.values = is_mask ? nullptr : reinterpret_cast<const Word*>(from.values.get());
    column.values_end = column.values + (is_mask ? 0 : from.num_values);
    column.present = 1;
    column.padding = 77;
    const int64_t num_words = words * from.num_lists[0];
    auto out = std::make_unique<Word[]>(num_words);
    column.out = out.get();
    for (const RowPiece& piece : two_pieces(from.num_lists[0], random)) pad_piece(column, piece.first, piece.last);
    for (int64_t at = 0; at < num_words; ++at) {
      // From the place of a word to the list it lies in, level by level.
      int64_t element = at / words, rest = at % words;
      bool is_there = true;
      for (int level = 0; level < from.num_levels && is_there; ++level) {
        const int64_t below = column.list_words[level] / column.lengths[level], place = rest / below;
        rest %= below;
        const int64_t first = column.offsets[level][element], size = column.offsets[level][element + 1] - first;
        const int64_t count = std::min(size, column.lengths[level]), begin = column.fills_begin ? column.lengths[level] - count : 0;
        is_there = place >= begin && place < begin + count;
        element = first + (column.keeps_tail ? size - count : 0) + place - begin;
      }
      const Word expected = !is_there ? 77 : is_mask ? 1 : reinterpret_cast<const Word*>(from.values.get())[element];
      expect(out[at] == expected, "a padded word");
    }
  }
}

template <typename Word>
void the_greatest_are_kept() {
  std::mt19937_64 random(3);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  const float special[] = {kNan, -kNan, kInfinity, -kInfinity, 0.0f, -0.0f, 1e-45f, -1e-45f};
  for (int round = 0; round < 2000; ++round) {
    Column from = make_column(random, 1, round % 2 ? 6 : 90, sizeof(Word));
    for (int64_t i = 0; i < from.num_values; ++i)
      if (random() % 2) from.weights[i] = special[random() % 8];
    const auto k = static_cast<int64_t>(random() % 20);
    const int64_t* offsets = from.offsets[0].get();
    std::vector<int64_t> kept, bounds = {0};
    for (int64_t row = 0; row < from.num_lists[0]; ++row) {
      for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
        int64_t before = 0;
        for (int64_t j = offsets[row]; j < offsets[row + 1]; ++j) {
          const float one = from.weights[i], other = from.weights[j];
          const bool is_equal = one == other || (std::isnan(one) && std::isnan(other));
          before += is_equal ? j < i : std::isnan(one) || other > one;
        }
        if (before < k) kept.push_back(i);
      }
      bounds.push_back(static_cast<int64_t>(kept.size()));
    }
    const auto pieces = two_pieces(from.num_lists[0], random);
    const int64_t first_count = count_kept(offsets, 0, pieces[1].last, k);
    const auto num_kept = static_cast<int64_t>(kept.size());
    expect(first_count + count_kept(offsets, pieces[0].first, pieces[0].last, k) == num_kept, "the number of items kept");
    auto out = std::make_unique<Word[]>(num_kept);
    auto out_weights = std::make_unique<float[]>(num_kept);
    auto out_offsets = std::make_unique<int64_t[]>(from.num_lists[0]);
    const char *values = from.values.get(), *weights = reinterpret_cast<const char*>(from.weights.get());
    const TopColumn column{k,
                           offsets,
                           out_offsets.get(),
                           {values, values + from.num_values * from.item_bytes, reinterpret_cast<char*>(out.get()), from.item_bytes},
                           {weights, weights + from.num_values * 4, reinterpret_cast<char*>(out_weights.get()), 4}};
    write_top<Word>(column, pieces[0].first, pieces[0].last, first_count, num_kept);
    write_top<Word>(column, pieces[1].first, pieces[1].last, 0, first_count);
    for (int64_t row = 0; row < from.num_lists[0]; ++row) expect(out_offsets[row] == bounds[row], "offsets of the greatest");
    for (int64_t i = 0; i < num_kept; ++i) {
      expect(std::memcmp(&out[i], values + kept[i] * from.item_bytes, from.item_bytes) == 0, "the greatest");
      expect(std::memcmp(&out_weights[i], &from.weights[kept[i]], 4) == 0, "weights of the greatest");
    }
  }
}

template <typename Word>
void the_first_are_kept() {
  std::mt19937_64 random(4);
  for (int round = 0; round < 2000; ++round) {
    Column from = make_column(random, 1, round % 2 ? 6 : 60, sizeof(Word));
    auto* values = reinterpret_cast<Word*>(from.values.get());
    for (int64_t i = 0; i < from.num_values; ++i) values[i] = static_cast<Word>(random() % (round % 3 ? 9 : 250)) << (8 * sizeof(Word) - 8);
    for (int64_t i = 0; i < from.num_values; ++i) from.weights[i] = static_cast<float>(random()) * 1e-3f;
    const bool sums = random() % 2, has_weights = random() % 4 != 0;
    const int64_t* offsets = from.offsets[0].get();
    std::vector<Word> kept;
    std::vector<float> kept_weights;
    std::vector<int64_t> bounds = {0};
    for (int64_t row = 0; row < from.num_lists[0]; ++row) {
      std::map<Word, size_t> places;
      for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
        const auto [place, is_new] = places.emplace(values[i], kept.size());
        if (is_new) {
          kept.push_back(values[i]);
          kept_weights.push_back(from.weights[i]);
        } else if (sums) {
          kept_weights[place->second] += from.weights[i];
        }
      }
      bounds.push_back(static_cast<int64_t>(kept.size()));
    }
    auto scratch = std::make_unique<Word[]>(from.num_values);
    auto scratch_weights = std::make_unique<float[]>(from.num_values);
    auto out_offsets = std::make_unique<int64_t[]>(from.num_lists[0]);
    const UniqueColumn column{sums,
                              offsets,
                              from.values.get(),
                              has_weights ? from.weights.get() : nullptr,
                              reinterpret_cast<char*>(scratch.get()),
                              scratch_weights.get(),
                              out_offsets.get()};
    const auto pieces = two_pieces(from.num_lists[0], random);
    const int64_t second = pieces[0].first == pieces[0].last ? 0 : keep_first<Word>(column, pieces[0].first, pieces[0].last);
    const int64_t first = pieces[1].first == pieces[1].last ? 0 : keep_first<Word>(column, pieces[1].first, pieces[1].last);
    expect(first + second == static_cast<int64_t>(kept.size()), "the number of distinct items");
    auto out = std::make_unique<Word[]>(kept.size());
    auto out_weights = std::make_unique<float[]>(kept.size());
    auto *bytes = reinterpret_cast<char*>(out.get()), *weight_bytes = reinterpret_cast<char*>(out_weights.get());
    place_kept(column, pieces[1].first, pieces[1].last, sizeof(Word), 0, first, bytes, weight_bytes);
    place_kept(column, pieces[0].first, pieces[0].last, sizeof(Word), first, first + second, bytes, weight_bytes);
    for (int64_t row = 0; row < from.num_lists[0]; ++row) expect(out_offsets[row] == bounds[row], "offsets of distinct items");
    for (size_t i = 0; i < kept.size(); ++i) {
      expect(out[i] == kept[i], "distinct items");
      if (has_weights) expect(out_weights[i] == kept_weights[i], "weights of distinct items");
    }
  }
}

void lengths_are_measured() {
  const int64_t good[] = {0, 2, 2, 7}, wild[] = {0, INT64_MIN, INT64_MAX, 3};
  int64_t out[3];
  expect(lengths_of(good, 0, 3, out) && out[0] == 2 && out[1] == 0 && out[2] == 5, "lengths");
  expect(!lengths_of(wild, 0, 3, out), "offsets that decrease are refused");
  expect(never_decrease(good, 0, 3) && !never_decrease(wild, 0, 3) && !never_decrease(wild, 1, 2), "offsets are judged right");
}

void rows_are_cut_into_pieces() {
  const auto pieces = row_pieces({0, 1, kRowsPerPiece, 0, 2 * kRowsPerPiece + 1});
  std::vector<Counts<1>> counts;
  int64_t rows = 0;
  for (const RowPiece& piece : pieces) {
    counts.push_back({piece.last - piece.first});
    rows += counts.back()[0];
    expect(piece.last - piece.first >= 1 && piece.last - piece.first <= kRowsPerPiece, "no piece is too long");
  }
  expect(pieces.size() == 5 && rows == 3 * kRowsPerPiece + 2, "every row lies in a piece");
  const auto totals = starts_of(pieces, 5, counts);
  for (size_t i = 0; i < pieces.size(); ++i) expect(counts[i][0] == pieces[i].first, "pieces start where those before end");
  expect(totals[0][0] == 0 && totals[4][0] == 2 * kRowsPerPiece + 1, "totals of columns");
}

}  // namespace

int main() {
  lists_are_cut();
  lists_are_padded<uint8_t>();
  lists_are_padded<uint16_t>();
  lists_are_padded<uint32_t>();
  lists_are_padded<uint64_t>();
  the_greatest_are_kept<uint8_t>();
  the_greatest_are_kept<uint64_t>();
  the_first_are_kept<uint8_t>();
  the_first_are_kept<uint16_t>();
  the_first_are_kept<uint32_t>();
  the_first_are_kept<uint64_t>();
  lengths_are_measured();
  rows_are_cut_into_pieces();
  std::puts("ragged rows: ok");
}
