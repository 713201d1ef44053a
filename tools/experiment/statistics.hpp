#pragma once

#include <cstddef>
#include <vector>

namespace lazypull::experiment {

/// The order statistics, counted from 1, between which the median of the population lies with this
/// confidence, whatever the distribution (sign test): the narrowest symmetric pair that reaches what was
/// asked for, or least and greatest where there are too few values for that (fewer than 6 for 95 %).
struct MedianRanks {
  std::size_t low = 0;
  std::size_t high = 0;
  double confidence = 0;  ///< 1 - 2^(1-n) · Σ binomial(n, i) for i < low; 0 for a single value
};
MedianRanks median_ranks(std::size_t count, double confidence = 0.95);

/// Of values that need not be sorted; there must be one.
double median(std::vector<double> values);

struct Summary {
  std::size_t count = 0;
  double median = 0;
  double low = 0;  ///< of the median's confidence interval
  double high = 0;
  double confidence = 0;
  double least = 0;
  double most = 0;
};
/// All zero without values.
Summary summarize(std::vector<double> values, double confidence = 0.95);

}  // namespace lazypull::experiment
