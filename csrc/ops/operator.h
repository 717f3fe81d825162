// What every operator does with the thread it runs in, and with those it shares its work with.
//
// Its results must not depend on them. A library that was built with fast arithmetic, or a compiled model, leaves some threads flushing
// subnormal numbers to zero, and others not.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <cstdint>
#include <utility>

#include "core/subnormals.h"

namespace sparrow {

// As torch's: f(begin, end) for runs that make up [begin, end), each of `grain` at least where there is more than one.
template <typename F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const F& f) {
  torch::stable::parallel_for(begin, end, grain, [&f](int64_t first, int64_t last) {
    const SubnormalsCount subnormals;
    f(first, last);
  });
}

template <auto function>
struct Operator;

template <typename Result, typename... Args, Result (*function)(Args...)>
struct Operator<function> {
  static Result call(Args... args) {
    const SubnormalsCount subnormals;
    return function(std::forward<Args>(args)...);
  }
};

}  // namespace sparrow

// The body of an operator, for STABLE_TORCH_LIBRARY_IMPL.
#define SPARROW_BOX(function) TORCH_BOX((&sparrow::Operator<function>::call))
