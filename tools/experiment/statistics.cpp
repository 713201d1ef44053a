#include "tools/experiment/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace lazypull::experiment {
namespace {

/// Of binomial(n, 1/2) at i.
double probability(std::size_t n, std::size_t i) {
  const auto real = [](std::size_t value) { return static_cast<double>(value); };
  return std::exp(std::lgamma(real(n) + 1) - std::lgamma(real(i) + 1) - std::lgamma(real(n - i) + 1) -
                  real(n) * std::log(2.0));
}

double median_of_sorted(const std::vector<double>& sorted) {
  const auto half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

}  // namespace

MedianRanks median_ranks(std::size_t count, double confidence) {
  if (count == 0) return {};
  double outside = probability(count, 0);  // below the low rank, that is above the high one too
  MedianRanks ranks{1, count, std::max(0.0, 1 - 2 * outside)};
  for (std::size_t low = 2; low <= (count + 1) / 2; ++low) {
    outside += probability(count, low - 1);
    const double reached = 1 - 2 * outside;
    if (reached < confidence) break;
    ranks = {low, count + 1 - low, reached};
  }
  return ranks;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return median_of_sorted(values);
}

Summary summarize(std::vector<double> values, double confidence) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto ranks = median_ranks(values.size(), confidence);
  return {values.size(),    median_of_sorted(values), values[ranks.low - 1], values[ranks.high - 1],
          ranks.confidence, values.front(),           values.back()};
}

}  // namespace lazypull::experiment
