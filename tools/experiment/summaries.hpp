#pragma once

#include "tools/experiment/results.hpp"
#include "tools/experiment/statistics.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// A figure that runs have.
struct Metric {
  std::string key;    ///< as in the results
  std::string label;  ///< for people
  std::string unit;   ///< ms, bytes, s, or empty for a count
};

/// The runs of one configuration that did not fail, by repetition; of a repetition that was run twice the
/// last.
struct ConfigurationRuns {
  Coordinates at;  ///< repetition is 0
  std::vector<const Row*> rows;

  /// What the repetitions have in common.
  std::string place() const { return at.image + "/" + at.network + "/" + at.cache; }
  /// "ctr · overlayfs", "lazypull · overlayfs · direct".
  std::string way() const;
  std::vector<double> values(const std::string& metric) const;
};

/// Results in the order in which tables show them: by image, network, cache and way. Refers to the rows.
struct Comparison {
  std::vector<ConfigurationRuns> configurations;
  std::vector<Metric> metrics;  ///< those that any run has
  std::vector<std::string> failures;
  std::string baseline;  ///< the way that the others are compared with: ctr's, or else the first

  static Comparison of(const std::vector<Row>& rows);

  /// The configuration at the same place that is pulled in the baseline's way; null if there is none.
  const ConfigurationRuns* base_of(const ConfigurationRuns& configuration) const;
};

/// One for each repetition that both have, of the first to the second.
std::vector<double> paired_ratios(const ConfigurationRuns& configuration, const ConfigurationRuns& base,
                                  const std::string& metric);

/// A line for each configuration and metric, with a header (RFC 4180, but with line feeds).
std::string summary_csv(const Comparison& comparison);

/// The same of the most important metric, for a terminal.
std::string summary_table(const Comparison& comparison);

}  // namespace lazypull::experiment
