#include "tools/experiment/summaries.hpp"

#include "tools/text.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

namespace lazypull::experiment {
namespace {

const std::vector<Metric>& known_metrics() {
  static const std::vector<Metric> metrics = {
      {"ready", "From pull to ready", "ms"},
      {"pull", "Pull", "ms"},
      {"first_line", "From pull to the first line of output", "ms"},
      {"started", "From pull to the started process", "ms"},
      {"bytes_before_ready", "Bytes downloaded before it was ready", "bytes"},
      {"bytes_after_ready", "Bytes downloaded after it was ready", "bytes"},
      {"requests", "Requests to the registry", ""},
      {"cpu_puller", "CPU time of the puller", "s"},
      {"cpu_daemons", "CPU time of containerd and snapshotters", "s"},
      {"cpu_container", "CPU time of the container", "s"},
      {"memory_puller", "Peak memory of the puller", "bytes"},
      {"memory_daemons", "Peak memory of containerd and snapshotters", "bytes"},
      {"memory_container", "Peak memory of the container", "bytes"},
  };
  return metrics;
}

bool has_metric(const std::vector<ConfigurationRuns>& all, const std::string& key) {
  return std::ranges::any_of(all, [&](const ConfigurationRuns& one) { return !one.values(key).empty(); });
}

/// Known ones first, then what else the results have.
std::vector<Metric> metrics_of(const std::vector<ConfigurationRuns>& all) {
  std::vector<Metric> metrics;
  std::set<std::string> named;
  for (const auto& metric : known_metrics()) {
    named.insert(metric.key);
    if (has_metric(all, metric.key)) metrics.push_back(metric);
  }
  const auto add = [&](const std::string& key, const std::string& unit) {
    if (named.insert(key).second) metrics.push_back({key, key, unit});
  };
  for (const auto& one : all) {
    for (const auto* row : one.rows) {
      for (const auto& [key, value] : row->times) add(key, "ms");
      for (const auto& [key, value] : row->amounts) add(key, "");
    }
  }
  return metrics;
}

/// So that a spreadsheet takes a text that begins with = for no formula, it is quoted and has a ' before it.
std::string csv_field(const std::string& text) {
  const bool formula = !text.empty() && std::string_view("=+@\t\r").find(text.front()) != std::string::npos;
  if (!formula && text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = formula ? "\"'" : "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

std::string csv_line(const ConfigurationRuns& one, const Metric& metric, const Comparison& comparison) {
  const auto values = one.values(metric.key);
  if (values.empty()) return "";
  const auto summary = summarize(values);
  std::string line;
  for (const auto* text : {&one.at.image, &one.at.puller, &one.at.snapshotter, &one.at.unpack,
                           &one.at.network, &one.at.cache, &metric.key, &metric.unit}) {
    line += csv_field(*text) + ",";
  }
  line += std::to_string(summary.count);
  for (const double value :
       {summary.median, summary.low, summary.high, summary.confidence, summary.least, summary.most}) {
    line += "," + number(value);
  }
  const auto* base = comparison.base_of(one);
  const auto ratios = base == nullptr ? std::vector<double>() : paired_ratios(one, *base, metric.key);
  if (ratios.empty()) return line + ",,,\n";
  const auto ratio = summarize(ratios);
  return line + "," + number(ratio.median) + "," + number(ratio.low) + "," + number(ratio.high) + "\n";
}

std::string short_time(double milliseconds) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f s", milliseconds / 1000);
  return text;
}

}  // namespace

std::string ConfigurationRuns::way() const {
  auto text = at.puller + " · " + at.snapshotter;
  return at.unpack == "-" ? text : text + " · " + at.unpack;
}

std::vector<double> ConfigurationRuns::values(const std::string& metric) const {
  std::vector<double> values;
  for (const auto* row : rows) {
    if (const auto value = row->metric(metric)) values.push_back(*value);
  }
  return values;
}

Comparison Comparison::of(const std::vector<Row>& rows) {
  Comparison comparison;
  std::map<std::string, std::map<std::size_t, const Row*>> found;
  std::map<std::string, std::string> failed;
  for (const auto& row : rows) {
    if (row.ok()) {
      found[row.at.configuration()][row.at.repetition] = &row;
      failed.erase(row.at.id());
    } else {
      failed[row.at.id()] = row.error;
    }
  }
  for (const auto& [id, error] : failed) {
    const auto configuration = id.substr(0, id.rfind('#'));
    const auto number = std::stoull(id.substr(id.rfind('#') + 1));
    if (!found.contains(configuration) || !found[configuration].contains(number)) {
      comparison.failures.push_back(id);
      comparison.failures.back().append(": ").append(error);
    }
  }
  for (const auto& [name, by_repetition] : found) {
    ConfigurationRuns one;
    for (const auto& [repetition, row] : by_repetition) one.rows.push_back(row);
    if (one.rows.empty()) continue;
    one.at = one.rows.front()->at;
    one.at.repetition = 0;
    comparison.configurations.push_back(std::move(one));
  }
  auto& all = comparison.configurations;
  std::ranges::sort(all, {}, [](const ConfigurationRuns& one) {
    return std::tuple(one.at.image, one.at.network, one.at.cache, one.way());
  });
  comparison.metrics = metrics_of(all);
  for (const auto& one : all) {
    if (one.at.puller == "ctr" && comparison.baseline.empty()) comparison.baseline = one.way();
  }
  if (comparison.baseline.empty() && !all.empty()) comparison.baseline = all.front().way();
  return comparison;
}

const ConfigurationRuns* Comparison::base_of(const ConfigurationRuns& configuration) const {
  for (const auto& other : configurations) {
    if (other.place() == configuration.place() && other.way() == baseline) return &other;
  }
  return nullptr;
}

std::vector<double> paired_ratios(const ConfigurationRuns& configuration, const ConfigurationRuns& base,
                                  const std::string& metric) {
  std::map<std::size_t, double> of;
  for (const auto* row : base.rows) {
    const auto value = row->metric(metric);
    if (value && *value > 0) of[row->at.repetition] = *value;
  }
  std::vector<double> ratios;
  for (const auto* row : configuration.rows) {
    const auto value = row->metric(metric);
    const auto other = of.find(row->at.repetition);
    if (value && other != of.end()) ratios.push_back(*value / other->second);
  }
  return ratios;
}

std::string summary_csv(const Comparison& comparison) {
  std::string csv =
      "image,puller,snapshotter,unpack,network,cache,metric,unit,count,median,low,high,confidence,least,most,"
      "ratio,ratio_low,ratio_high\n";
  for (const auto& one : comparison.configurations) {
    for (const auto& metric : comparison.metrics) csv += csv_line(one, metric, comparison);
  }
  return csv;
}

std::string summary_table(const Comparison& comparison) {
  if (comparison.metrics.empty()) return "no run has succeeded\n";
  const auto& metric = comparison.metrics.front();
  std::string text = metric.label + ", relative to " + printable(comparison.baseline) + "\n";
  for (const auto& one : comparison.configurations) {
    const auto summary = summarize(one.values(metric.key));
    if (summary.count == 0) continue;
    const auto* base = comparison.base_of(one);
    const auto ratios = base == nullptr ? std::vector<double>() : paired_ratios(one, *base, metric.key);
    char ratio[40] = "";
    if (!ratios.empty() && base != &one) std::snprintf(ratio, sizeof ratio, "  × %.2f", median(ratios));
    text += "  " + printable(one.place()) + "  " + printable(one.way()) + "  " + short_time(summary.median) +
            " [" + short_time(summary.low) + ", " + short_time(summary.high) +
            "] n=" + std::to_string(summary.count) + ratio + "\n";
  }
  return text;
}

}  // namespace lazypull::experiment
