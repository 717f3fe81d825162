// What `map_values` is told: chains of steps over columns, and what it counts of them.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "core/unsigned_mod.h"

namespace sparrow {

// Codes that ops/map_values/steps.py gives.
enum class StepCode : int64_t {
  kFill,
  kCast,
  kLog1p,
  kLog,
  kZScore,
  kMinMax,
  kClip,
  kFinite,
  kBucketize,
  kHashBytes,
  kVocabularyOfBytes,
  kHashInts,
  kNonNegative,
  kMod,
  kQuotient,
  kMultiHash,
  kVocabularyOfInts,
  kNumSteps,
};
enum class Source : int64_t { kValues, kBytes, kRows };
enum class ColumnType : int64_t { kInt64, kFloat32, kFloat64 };
enum class HashCode : int64_t { kFarm, kMurmur, kXx };
enum class FinitePolicy : int64_t { kCount, kError, kReplace };
enum class OutOfVocabulary : int64_t { kIndex, kBuckets, kError };

struct Step {
  StepCode code;
  int64_t parameter[3];
  const int64_t* table;  // of steps that look up
  UnsignedMod mod;       // by the parameter that is a divisor
  UnsignedMod prime;     // of a multi-hash
  double number(int i) const { return std::bit_cast<double>(parameter[i]); }
};

// What one chain counts: `counts` of the operator.
struct Counts {
  int64_t not_finite = 0, refused = 0, first_refused = -1, refused_by = -1;

  void add(const Counts& later) {
    not_finite += later.not_finite;
    refused += later.refused;
    if (first_refused < 0) {
      first_refused = later.first_refused;
      refused_by = later.refused_by;
    }
  }
};

struct ChainOf {
  Source source;
  const void* values;
  const int64_t* offsets;
  int64_t num_values;
  std::vector<Step> steps;
  ColumnType output_type;
  void* output;
  int64_t num_outputs;
  // Whether ids are written past the caches; `end_of_stream` then follows the last block of a thread.
  bool streams = false;
};

}  // namespace sparrow
