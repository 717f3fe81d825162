// Chains of element-wise steps over a column, a block at a time: the block stays in L1, and a step is one tight loop over it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/bucketize.h"
#include "core/chain.h"
#include "core/farm_hash.h"
#include "core/half.h"
#include "core/log.h"
#include "core/murmur_hash.h"
#include "core/short_strings.h"
#include "core/stream_out.h"
#include "core/unsigned_mod.h"
#include "core/vocabulary.h"
#include "core/xx_hash.h"

namespace sparrow {

// What values of a type are on their way: integers ids, halves float32.
template <typename Value>
constexpr ColumnType entered_as() {
  if constexpr (std::is_integral_v<Value>) return ColumnType::kInt64;
  return std::is_same_v<Value, double> ? ColumnType::kFloat64 : ColumnType::kFloat32;
}

constexpr int64_t kMapBlock = 1024;

// One block of a column on its way through a chain, as numbers of the column's dtype held as float64, or as ids.
class Block {
 public:
  // Runs outputs [first, first + size) of a chain and returns what it counted. `Value` is the type of the chain's values.
  template <typename Value>
  Counts run(const ChainOf& chain, int64_t first, int64_t size) {
    size_ = size;
    step_ = 0;
    counts_ = {};
    any_refused_ = false;
    type_ = entered_as<Value>();
    // Where a block can be worked on in the output itself, it is not copied there.
    ids_ = chain.output_type == ColumnType::kInt64 && !chain.streams ? static_cast<int64_t*>(chain.output) + first : id_room_;
    given_ = ids_;
    numbers_ = chain.output_type == ColumnType::kFloat64 ? static_cast<double*>(chain.output) + first : number_room_;
    const auto* value = static_cast<const Value*>(chain.values);
    switch (chain.source) {
      case Source::kValues: load(value + first, chain); break;
      case Source::kRows: load_rows(value, chain.offsets + first, chain.steps[0]); break;
      case Source::kBytes: bytes_ = {static_cast<const uint8_t*>(chain.values), chain.num_values, chain.offsets + first}; break;
    }
    for (step_ = 0; step_ < static_cast<int64_t>(chain.steps.size()); ++step_) apply(chain.steps[step_]);
    store(chain, first);
    for (int64_t i = 0; any_refused_ && counts_.first_refused < 0; ++i)
      if (refused_by_[i] >= 0) counts_.first_refused = first + i, counts_.refused_by = refused_by_[i];
    return counts_;
  }

 private:
  struct Strings {
    const uint8_t* bytes;
    int64_t num_bytes;
    const int64_t* offsets;
  };

  template <typename Value>
  void load(const Value* value, const ChainOf& chain) {
    // Pointers and sizes are taken out of the object: for all the compiler knows, what is stored might be one of them.
    const int64_t size = size_;
    if constexpr (std::is_integral_v<Value>) {
      int64_t* const ids = ids_;
      if constexpr (std::is_same_v<Value, int64_t>) {
        // A step that goes over ids one by one reads them where they are.
        if (!chain.steps.empty() && goes_over_ids(chain.steps[0].code)) {
          given_ = value;
          return;
        }
      }
      for (int64_t i = 0; i < size; ++i) ids[i] = value[i];
      given_ = ids;
    } else {
      double* const numbers = numbers_;
      for (int64_t i = 0; i < size; ++i) numbers[i] = widen(value[i]);
    }
  }

  static bool goes_over_ids(StepCode code) {
    return code == StepCode::kMod || code == StepCode::kQuotient || code == StepCode::kNonNegative || code == StepCode::kHashInts ||
           code == StepCode::kMultiHash || code == StepCode::kClip;
  }

  template <typename Value>
  void put(int64_t i, Value value) {
    if constexpr (std::is_integral_v<Value>)
      ids_[i] = value;
    else
      numbers_[i] = widen(value);
  }

  // An empty row becomes the first step's value; a row of several is refused, and becomes that as well.
  template <typename Value>
  void load_rows(const Value* value, const int64_t* offsets, const Step& fill) {
    for (int64_t i = 0; i < size_; ++i) {
      const int64_t length = offsets[i + 1] - offsets[i];
      if (length == 1) {
        put(i, value[offsets[i]]);
      } else {
        ids_[i] = fill.parameter[1];
        numbers_[i] = fill.number(0);
      }
      if (length > 1) refuse(i);
    }
  }

  // The first step that refuses a value is the one that counts.
  void refuse(int64_t i) {
    if (!any_refused_) std::fill(refused_by_, refused_by_ + size_, -1);
    any_refused_ = true;
    if (refused_by_[i] >= 0) return;
    refused_by_[i] = step_;
    ++counts_.refused;
  }

  // Refuses where `is_wrong(i)`; nearly always there is none, which a loop without a branch tells.
  template <typename F>
  int64_t count(F is_wrong) const {
    int64_t found = 0;
    for (int64_t i = 0; i < size_; ++i) found += is_wrong(i);
    return found;
  }
  template <typename F>
  void refuse_where(F is_wrong) {
    if (count(is_wrong) == 0) return;
    for (int64_t i = 0; i < size_; ++i)
      if (is_wrong(i)) refuse(i);
  }

  template <typename F>
  void each_id(F f) {
    const int64_t* const given = given_;
    int64_t* const ids = ids_;
    const int64_t size = size_;
    for (int64_t i = 0; i < size; ++i) ids[i] = f(given[i]);
    given_ = ids;
  }

  template <typename F>
  void each_unsigned(F f) {
    each_id([f](int64_t id) { return static_cast<int64_t>(f(static_cast<uint64_t>(id))); });
  }

  // Whether all ids of the block are small, as those are that nobody hashed, and it helps to know.
  bool all_small() const {
    if (!UnsignedMod::kSmallIsFaster) return false;
    const int64_t* const given = given_;
    const int64_t size = size_;
    uint64_t any = 0;
    for (int64_t i = 0; i < size; ++i) any |= static_cast<uint64_t>(given[i]);
    return any < UnsignedMod::kSmall;
  }

  // Numbers of a float32 column are rounded to float32 after every step.
  template <typename F>
  void each_number(F f) {
    double* const numbers = numbers_;
    const int64_t size = size_;
    if (type_ == ColumnType::kFloat32)
      for (int64_t i = 0; i < size; ++i) numbers[i] = static_cast<double>(static_cast<float>(f(numbers[i])));
    else
      for (int64_t i = 0; i < size; ++i) numbers[i] = f(numbers[i]);
  }

  // Ids that meet a step of numbers become float64.
  void to_numbers() {
    if (type_ != ColumnType::kInt64) return;
    for (int64_t i = 0; i < size_; ++i) numbers_[i] = static_cast<double>(ids_[i]);
    type_ = ColumnType::kFloat64;
  }

  void apply(const Step& step) {
    switch (step.code) {
      case StepCode::kFill: return fill(step.number(0));
      case StepCode::kCast: return cast(static_cast<ColumnType>(step.parameter[0]));
      case StepCode::kLog1p: to_numbers(); return each_number([](double x) { return log1p_number(x); });
      case StepCode::kLog: to_numbers(); return each_number([](double x) { return log_number(x); });
      case StepCode::kZScore: return scale(step.number(0), step.number(1));
      case StepCode::kMinMax: return scale(step.number(0), step.number(1) - step.number(0));
      case StepCode::kClip: return clip(step);
      case StepCode::kFinite: return finite(static_cast<FinitePolicy>(step.parameter[0]), step.number(1));
      case StepCode::kBucketize: return bucketize(Buckets(step.table));
      case StepCode::kHashBytes: return hash_strings(static_cast<HashCode>(step.parameter[0]));
      case StepCode::kVocabularyOfBytes: return find_strings(step);
      case StepCode::kHashInts: return hash_ints(static_cast<HashCode>(step.parameter[0]));
      case StepCode::kNonNegative: return each_id([](int64_t id) { return id & INT64_MAX; });
      case StepCode::kMod:
        if (all_small()) return each_unsigned([mod = step.mod](uint64_t id) { return mod.small_remainder(id); });
        return each_unsigned([mod = step.mod](uint64_t id) { return mod.vector_remainder(id); });
      case StepCode::kQuotient:
        if (all_small()) return each_unsigned([mod = step.mod](uint64_t id) { return mod.small_quotient(id); });
        return each_unsigned([mod = step.mod](uint64_t id) { return mod.vector_quotient(id); });
      case StepCode::kMultiHash: return multi_hash(step);
      case StepCode::kVocabularyOfInts: return find_ints(step);
      case StepCode::kNumSteps: break;
    }
  }

  void fill(double value) {
    if (type_ != ColumnType::kInt64) each_number([value](double x) { return x != x ? value : x; });
  }

  void scale(double low, double width) {
    to_numbers();
    each_number([=](double x) { return (x - low) / width; });
  }

  void clip(const Step& step) {
    if (type_ == ColumnType::kInt64) {
      const int64_t low = step.parameter[0], high = step.parameter[1];
      return each_id([=](int64_t id) { return id < low ? low : id > high ? high : id; });
    }
    const double low = step.number(0), high = step.number(1);
    each_number([=](double x) {
      const double above = x < low ? low : x;
      return above > high ? high : above;
    });
  }

  void cast(ColumnType to) {
    if (to == ColumnType::kInt64) return cast_to_ids();
    if (type_ == ColumnType::kInt64) {
      // One rounding, not that to float64 and then another.
      for (int64_t i = 0; i < size_; ++i)
        numbers_[i] = to == ColumnType::kFloat32 ? static_cast<double>(static_cast<float>(ids_[i])) : static_cast<double>(ids_[i]);
    } else if (to == ColumnType::kFloat32) {
      refuse_where(
          [this](int64_t i) { return (std::abs(numbers_[i]) < kInfinity) & (std::abs(static_cast<float>(numbers_[i])) >= kInfinity); });
      for (int64_t i = 0; i < size_; ++i) numbers_[i] = static_cast<double>(static_cast<float>(numbers_[i]));
    }
    type_ = to;
  }

  void cast_to_ids() {
    if (type_ == ColumnType::kInt64) return;
    const auto fits = [](double x) { return (x >= -0x1p63) & (x < 0x1p63) & (x == std::trunc(x)); };
    refuse_where([&](int64_t i) { return !fits(numbers_[i]); });
    for (int64_t i = 0; i < size_; ++i) ids_[i] = fits(numbers_[i]) ? static_cast<int64_t>(numbers_[i]) : 0;
    type_ = ColumnType::kInt64;
  }

  void finite(FinitePolicy policy, double value) {
    to_numbers();
    const auto is_wrong = [this](int64_t i) { return !(std::abs(numbers_[i]) < kInfinity); };
    counts_.not_finite += count(is_wrong);
    if (policy == FinitePolicy::kError) refuse_where(is_wrong);
    if (policy == FinitePolicy::kReplace) each_number([value](double x) { return std::abs(x) < kInfinity ? x : value; });
  }

  void bucketize(const Buckets& buckets) {
    type_ == ColumnType::kInt64 ? buckets.count_reached(ids_, size_, ids_) : buckets.count_reached(numbers_, size_, ids_);
    type_ = ColumnType::kInt64;
  }

  template <typename Hash>
  void hash_strings() {
    sparrow::hash_strings<Hash>(bytes_.bytes, bytes_.num_bytes, bytes_.offsets, size_, ids_);
    type_ = ColumnType::kInt64;
  }
  void hash_strings(HashCode code) {
    switch (code) {
      case HashCode::kFarm: return hash_strings<FarmHash>();
      case HashCode::kMurmur: return hash_strings<MurmurHash>();
      case HashCode::kXx: return hash_strings<XxHash>();
    }
  }

  void hash_ints(HashCode code) {
    switch (code) {
      case HashCode::kFarm: return each_id([](int64_t id) { return static_cast<int64_t>(farm::fingerprint_of_word(id)); });
      case HashCode::kMurmur: return each_id([](int64_t id) { return static_cast<int64_t>(murmur::hash_word(id)); });
      case HashCode::kXx: return each_id([](int64_t id) { return static_cast<int64_t>(xx::hash_word(id)); });
    }
  }

  // The product wraps. (x % prime + prime) % prime is the remainder of the division that rounds down, also of numbers below 0.
  void multi_hash(const Step& step) {
    const auto multiplier = static_cast<uint64_t>(step.parameter[0]), prime = static_cast<uint64_t>(step.parameter[1]);
    each_unsigned([=, by_prime = step.prime, by_buckets = step.mod](uint64_t id) {
      const uint64_t product = id * multiplier;
      const uint64_t sign = 0 - (product >> 63);  // all bits of a number below 0: choices made of bits, which stay choices
      const uint64_t rest = by_prime.vector_remainder((product ^ sign) - sign);
      const uint64_t up = (rest ^ sign) - sign + (prime & sign);  // prime - rest below 0; the prime itself is 0
      return by_buckets.vector_remainder(up < up - prime ? up : up - prime);
    });
  }

  void find_strings(const Step& step) {
    const BytesVocabulary vocabulary(step.table);
    hash_strings<FarmHash>();
    for (int64_t i = 0; i < size_; ++i) {
      const auto hash = static_cast<uint64_t>(ids_[i]);
      ids_[i] = known_or_not(step, vocabulary.find(hash, string(i), static_cast<int64_t>(string_size(i))), hash, vocabulary.num_keys(), i);
    }
    type_ = ColumnType::kInt64;
  }

  void find_ints(const Step& step) {
    const IntVocabulary vocabulary(step.table);
    for (int64_t i = 0; i < size_; ++i) {
      const int64_t place = vocabulary.find(ids_[i]);
      const uint64_t hash = place < 0 ? farm::fingerprint_of_word(static_cast<uint64_t>(ids_[i])) : 0;
      ids_[i] = known_or_not(step, place, hash, vocabulary.num_keys(), i);
    }
  }

  int64_t known_or_not(const Step& step, int64_t place, uint64_t hash, int64_t num_keys, int64_t i) {
    if (place >= 0) return place;
    switch (static_cast<OutOfVocabulary>(step.parameter[1])) {
      case OutOfVocabulary::kIndex: return step.parameter[2];
      case OutOfVocabulary::kBuckets: return num_keys + static_cast<int64_t>(step.mod(hash));
      default: refuse(i); return -1;
    }
  }

  void store(const ChainOf& chain, int64_t first) const {
    if (chain.output_type == ColumnType::kInt64 && chain.streams)
      return stream_out(static_cast<int64_t*>(chain.output) + first, ids_, size_ * static_cast<int64_t>(sizeof(int64_t)));
    if (chain.output_type != ColumnType::kFloat32) return;  // the block is the output
    auto* out = static_cast<float*>(chain.output) + first;
    const double* const numbers = numbers_;
    const int64_t size = size_;
    for (int64_t i = 0; i < size; ++i) out[i] = static_cast<float>(numbers[i]);
  }

  const uint8_t* string(int64_t i) const { return bytes_.bytes + bytes_.offsets[i]; }
  uint64_t string_size(int64_t i) const { return static_cast<uint64_t>(bytes_.offsets[i + 1] - bytes_.offsets[i]); }

  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  int64_t size_ = 0, step_ = 0;
  ColumnType type_ = ColumnType::kInt64;
  Strings bytes_{};
  Counts counts_;
  bool any_refused_ = false;
  double* numbers_ = nullptr;
  int64_t* ids_ = nullptr;
  const int64_t* given_ = nullptr;  // where `each_id` reads: `ids_`, or the column itself
  alignas(64) double number_room_[kMapBlock];
  alignas(64) int64_t id_room_[kMapBlock];
  int64_t refused_by_[kMapBlock];
};

}  // namespace sparrow
