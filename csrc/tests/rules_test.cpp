// The arithmetic of every update rule against its published formula, in double and one element at a time, under AddressSanitizer and UBSan.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "core/rules/all.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// A row as the published formula sees it: `w`, `first` and `second` are of one weight, `row` is shared by all of them.
struct Row {
  std::vector<double> w, first, second;
  double row = 0;
};

// One published step of a row; t is the step from 1.
using Formula = void (*)(Row&, const std::vector<double>& grad, const double* h, int t);

template <typename F>
void each(Row& r, const std::vector<double>& grad, F f) {
  for (size_t k = 0; k < grad.size(); ++k) f(r.w[k], r.first[k], r.second[k], grad[k]);
}

void sgd(Row& r, const std::vector<double>& grad, const double* h, int) {
  each(r, grad, [=](double& w, double&, double&, double g) { w -= h[0] * (g + h[1] * w); });
}

void adagrad(Row& r, const std::vector<double>& grad, const double* h, int t) {
  each(r, grad, [=](double& w, double& sum, double&, double g) {
    g += h[1] * w;
    sum += g * g;
    w -= h[0] / (1 + (t - 1) * h[3]) * g / (std::sqrt(sum) + h[2]);
  });
}

void adam(Row& r, const std::vector<double>& grad, const double* h, int t) {
  each(r, grad, [=](double& w, double& m, double& v, double g) {
    g += h[1] * w;
    m = h[2] * m + (1 - h[2]) * g;
    v = h[3] * v + (1 - h[3]) * g * g;
    w -= h[0] * (m / (1 - std::pow(h[2], t))) / (std::sqrt(v / (1 - std::pow(h[3], t))) + h[4]);
  });
}

void adamw(Row& r, const std::vector<double>& grad, const double* h, int t) {
  for (double& w : r.w) w *= 1 - h[0] * h[1];
  const double plain[] = {h[0], 0, h[2], h[3], h[4]};
  adam(r, grad, plain, t);
}

void rowwise_adagrad(Row& r, const std::vector<double>& grad, const double* h, int) {
  double squares = 0;
  each(r, grad, [&](double& w, double&, double&, double g) { squares += std::pow(g + h[1] * w, 2); });
  r.row += squares / static_cast<double>(grad.size());
  each(r, grad, [&](double& w, double&, double&, double g) { w -= h[0] * (g + h[1] * w) / (std::sqrt(r.row) + h[2]); });
}

void momentum(Row& r, const std::vector<double>& grad, const double* h, int) {
  each(r, grad, [=](double& w, double& buffer, double&, double g) {
    g += h[1] * w;
    buffer = h[2] * buffer + g;
    w -= h[0] * (h[3] != 0 ? g + h[2] * buffer : buffer);
  });
}

void rmsprop(Row& r, const std::vector<double>& grad, const double* h, int) {
  each(r, grad, [=](double& w, double& average, double&, double g) {
    g += h[1] * w;
    average = h[2] * average + (1 - h[2]) * g * g;
    w -= h[0] * g / (std::sqrt(average) + h[3]);
  });
}

void ftrl(Row& r, const std::vector<double>& grad, const double* h, int) {
  each(r, grad, [=](double& w, double& n, double& z, double g) {
    z += g - (std::sqrt(n + g * g) - std::sqrt(n)) / h[0] * w;
    n += g * g;
    w = std::abs(z) <= h[1] ? 0 : (std::copysign(h[1], z) - z) / (std::sqrt(n) / h[0] + 2 * h[2]);
  });
}

// One period after another, where the kernel takes a power.
void adagrad_decay(Row& r, const std::vector<double>& grad, const double* h, int) {
  const double period = std::floor(h[kGlobalStep] / h[2]);
  const int due = static_cast<int>(h[4] != 0 ? period - r.row : std::min(1.0, period - r.row));
  for (int i = 0; i < due; ++i)
    for (double& sum : r.first) sum = std::max(sum * h[3], h[1]);
  r.row += due;
  each(r, grad, [=](double& w, double& sum, double&, double g) {
    sum += g * g;
    w -= h[0] * g / std::sqrt(sum);
  });
}

void tf_adam(Row& r, const std::vector<double>& grad, const double* h, int t) {
  each(r, grad, [=](double& w, double& m, double& v, double g) {
    m = h[2] * m + (1 - h[2]) * g;
    v = h[3] * v + (1 - h[3]) * g * g;
    w -= (h[5] != 0 ? h[0] : 1) * h[1] * w;
    w -= h[0] * std::sqrt(1 - std::pow(h[3], t)) / (1 - std::pow(h[2], t)) * m / (std::sqrt(v) + h[4]);
  });
}

void async_rmsprop(Row& r, const std::vector<double>& grad, const double* h, int) {
  each(r, grad, [=](double& w, double& m, double& v, double g) {
    v = h[2] * v + (1 - h[2]) * g * g;
    m = h[1] * m + h[0] * g / std::sqrt(v + h[3]);
    w -= m;
  });
}

struct Case {
  Formula formula;
  int beta1;                  // which of the hyper-parameters it is, beta2 being the next; 0: the rule has none
  double first_slot;          // what element-wise slot 0 starts with
  std::vector<double> hyper;  // the rule's own, in the order of rules.py
};

template <template <typename> class Rule>
std::vector<Case> cases();
// clang-format off
template <> std::vector<Case> cases<Sgd>() { return {{sgd, 0, 0, {0.1, 0.0}}, {sgd, 0, 0, {0.1, 0.5}}}; }
template <> std::vector<Case> cases<Adagrad>() { return {{adagrad, 0, 0, {0.1, 0.5, 1e-3, 0.25}}}; }
template <> std::vector<Case> cases<RowwiseAdagrad>() { return {{rowwise_adagrad, 0, 0, {0.1, 0.5, 1e-3}}}; }
template <> std::vector<Case> cases<Momentum>() {
  return {{momentum, 0, 0, {0.1, 0.5, 0.75, 0}}, {momentum, 0, 0, {0.1, 0.5, 0.75, 1}}};
}
template <> std::vector<Case> cases<Rmsprop>() { return {{rmsprop, 0, 0, {0.1, 0.5, 0.75, 1e-3}}}; }
template <> std::vector<Case> cases<Ftrl>() { return {{ftrl, 0, 0.1, {0.1, 0, 0}}, {ftrl, 0, 0.1, {0.1, 1.5, 0.5}}}; }
template <> std::vector<Case> cases<AdagradDecay>() {
  return {{adagrad_decay, 0, 0.1, {0.1, 0.1, 2, 0.9, 1}}, {adagrad_decay, 0, 0.1, {0.1, 0.1, 2, 0.9, 0}}};
}
template <> std::vector<Case> cases<TfAdam>() {
  return {{tf_adam, 2, 0, {0.1, 0.5, 0.9, 0.99, 1e-3, 1}}, {tf_adam, 2, 0, {0.1, 0.5, 0.9, 0.99, 1e-3, 0}}};
}
template <> std::vector<Case> cases<AsyncRmsprop>() { return {{async_rmsprop, 1, 0, {0.1, 0.9, 0.99, 1e-3}}}; }
template <> std::vector<Case> cases<Adam>() { return {{adam, 2, 0, {0.1, 0.5, 0.9, 0.99, 1e-3}}}; }
template <> std::vector<Case> cases<AdamW>() { return {{adamw, 2, 0, {0.1, 0.5, 0.9, 0.99, 1e-3}}}; }
// clang-format on

std::vector<double> hyper_of(const Case& c, int t) {
  std::vector<double> h(kHyperWords, 0.0);
  std::copy(c.hyper.begin(), c.hyper.end(), h.begin());
  if (c.beta1 != 0) h[kCorrection1] = 1 - std::pow(h[c.beta1], t), h[kCorrection2] = 1 - std::pow(h[c.beta1 + 1], t);
  // Three global steps to one of the table: several periods pass between two updates.
  h[kGlobalStep] = 3 * t, h[kTableStep] = t;
  return h;
}

// The kernel's row, in memory of exactly its size.
template <typename Rule, typename T>
struct State {
  int64_t dim;
  std::unique_ptr<T[]> w, slots, row;

  State(const Row& start)
      : dim(static_cast<int64_t>(start.w.size())), w(new T[dim]), slots(new T[Rule::kElementSlots * dim]), row(new T[Rule::kRowSlots]) {
    for (int64_t k = 0; k < dim; ++k) {
      w[k] = static_cast<T>(start.w[k]);
      if (Rule::kElementSlots > 0) slots[k] = static_cast<T>(start.first[k]);
      if (Rule::kElementSlots > 1) slots[dim + k] = static_cast<T>(start.second[k]);
    }
    if (Rule::kRowSlots > 0) row[0] = static_cast<T>(start.row);
  }

  void update(const std::vector<double>& hyper, const std::vector<double>& grad) {
    auto exact = std::make_unique<T[]>(dim);
    std::copy(grad.begin(), grad.end(), exact.get());
    Rule(hyper.data()).update(w.get(), slots.get(), row.get(), exact.get(), dim);
  }
};

// Values whose T is exact, so that formula and kernel start alike.
Row random_row(std::mt19937_64& random, int64_t dim, double first_slot) {
  std::normal_distribution<float> normal;
  Row r{std::vector<double>(dim), std::vector<double>(dim, static_cast<float>(first_slot)), std::vector<double>(dim, 0.0)};
  for (double& w : r.w) w = normal(random);
  return r;
}

std::vector<double> random_grad(std::mt19937_64& random, int64_t dim) {
  std::normal_distribution<float> normal;
  std::vector<double> grad(dim);
  for (double& g : grad) g = normal(random);
  return grad;
}

template <template <typename> class Rule, typename T>
void follows_its_formula(std::mt19937_64& random) {
  constexpr double kBound = std::is_same_v<T, float> ? 2e-5 : 1e-12;
  const auto near = [](T found, double expected) { return std::abs(found - expected) <= kBound * (1 + std::abs(expected)); };
  for (const Case& c : cases<Rule>())
    for (const int64_t dim : {1, 7, 8, 9, 16, 33}) {
      Row expected = random_row(random, dim, c.first_slot);
      State<Rule<T>, T> found(expected);
      for (int t = 1; t <= 6; ++t) {
        // Gradients of zero too: state fades, weights follow it.
        const auto grad = t == 4 ? std::vector<double>(dim, 0.0) : random_grad(random, dim);
        const auto hyper = hyper_of(c, t);
        c.formula(expected, grad, hyper.data(), t);
        found.update(hyper, grad);
        for (int64_t k = 0; k < dim; ++k) {
          expect(near(found.w[k], expected.w[k]), "a weight follows the formula");
          if (Rule<T>::kElementSlots > 0) expect(near(found.slots[k], expected.first[k]), "the first slot follows the formula");
          if (Rule<T>::kElementSlots > 1) expect(near(found.slots[dim + k], expected.second[k]), "the second slot follows the formula");
        }
        if (Rule<T>::kRowSlots > 0) expect(near(found.row[0], expected.row), "the row's slot follows the formula");
      }
    }
}

// A gradient that is not a number is seen in its own column, in the weight or in what the rule keeps of it, and in no other.
template <template <typename> class Rule, typename T>
void bad_gradients_stay_in_their_column(std::mt19937_64& random) {
  using Limits = std::numeric_limits<double>;
  constexpr int64_t kDim = 19;
  for (const Case& c : cases<Rule>())
    for (const double bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()})
      for (const int64_t column : {0, 7, 8, 18}) {
        const Row start = random_row(random, kDim, c.first_slot);
        State<Rule<T>, T> found(start), plain(start);
        auto grad = random_grad(random, kDim);
        plain.update(hyper_of(c, 1), grad);
        grad[column] = bad;
        found.update(hyper_of(c, 1), grad);
        bool seen = !std::isfinite(found.w[column]);
        for (int slot = 0; slot < Rule<T>::kElementSlots; ++slot) seen |= !std::isfinite(found.slots[slot * kDim + column]);
        expect(seen, "a gradient that is no number is seen");
        // One sum a row is the row's own: what is not a number in a column is so in all.
        if constexpr (std::is_same_v<Rule<T>, RowwiseAdagrad<T>>) {
          expect(!std::isfinite(found.row[0]), "and in the sum of its row");
        } else {
          for (int64_t k = 0; k < kDim; ++k) {
            if (k == column) continue;
            expect(found.w[k] == plain.w[k], "other weights do not feel it");
            for (int slot = 0; slot < Rule<T>::kElementSlots; ++slot)
              expect(found.slots[slot * kDim + k] == plain.slots[slot * kDim + k], "nor do other slots");
          }
        }
      }
}

template <template <typename> class... Rules>
void every_rule(std::mt19937_64& random, RuleList<Rules...>) {
  (follows_its_formula<Rules, float>(random), ...);
  (follows_its_formula<Rules, double>(random), ...);
  (bad_gradients_stay_in_their_column<Rules, float>(random), ...);
  (bad_gradients_stay_in_their_column<Rules, double>(random), ...);
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  every_rule(random, AllRules{});
  std::puts("rules_test: ok");
}
