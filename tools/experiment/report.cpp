#include "tools/experiment/report.hpp"

#include "engine/error.hpp"
#include "tools/experiment/page.hpp"
#include "tools/experiment/summaries.hpp"
#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;

json::object metrics_object(const Row& row) {
  json::object object;
  for (const auto* metrics : {&row.times, &row.amounts}) {
    for (const auto& [key, value] : *metrics) object[key] = value;
  }
  return object;
}

json::object row_object(const Row& row, std::size_t configuration) {
  json::array phases;
  for (const auto& [name, length] : row.phases) phases.push_back(json::array{json::value(name), length});
  json::array spans;
  for (const auto& span : row.spans) {
    spans.push_back(json::array{json::value(span.name), json::value(span.category), json::value(span.object),
                                span.start_ms, span.duration_ms, span.depth});
  }
  return {{"c", configuration},
          {"r", row.at.repetition},
          {"m", metrics_object(row)},
          {"p", std::move(phases)},
          {"s", std::move(spans)}};
}

/// The ranks of the interval of so many values, at the index of their number.
json::array ranks(std::size_t most) {
  json::array all;
  for (std::size_t count = 0; count <= most; ++count) {
    const auto of = median_ranks(count);
    all.push_back(json::array{of.low, of.high, of.confidence});
  }
  return all;
}

void flatten(const json::object& object, const std::string& prefix,
             std::map<std::string, std::set<std::string>>& into) {
  for (const auto& member : object) {
    const std::string key = prefix + std::string(member.key());
    if (const auto* inner = member.value().if_object()) {
      if (prefix.size() < 256) flatten(*inner, key + ".", into);
      continue;
    }
    const auto* text = member.value().if_string();
    if (into[key].size() >= 8) continue;
    into[key].insert(text != nullptr ? std::string(text->data(), text->size())
                                     : json::serialize(member.value()));
  }
}

std::map<std::string, std::set<std::string>> environment_of(const std::vector<Row>& rows) {
  std::map<std::string, std::set<std::string>> all;
  for (const auto& row : rows) flatten(row.environment, "", all);
  return all;
}

json::array environment_array(const std::map<std::string, std::set<std::string>>& all) {
  json::array lines;
  for (const auto& [name, values] : all) {
    std::string text;
    for (const auto& value : values) text += (text.empty() ? "" : " | ") + value;
    lines.push_back(json::array{json::value(name), json::value(text)});
  }
  return lines;
}

json::array uncontrolled(const std::map<std::string, std::set<std::string>>& environment) {
  json::array texts;
  const auto value = [&](const std::string& key) {
    const auto found = environment.find(key);
    return found == environment.end() || found->second.empty() ? std::string() : *found->second.begin();
  };
  texts.emplace_back(
      "Other work of the machine, the frequency of its processors and what a hypervisor takes away.");
  texts.emplace_back(
      "The registry runs on the same machine and shares its processors and memory with what is measured.");
  texts.emplace_back(
      "Latency and bandwidth are added by a proxy in user space; there is no loss of single packets, and no "
      "other "
      "traffic.");
  if (value("conditions.caches_dropped") != "yes") {
    texts.emplace_back("The kernel's page cache was not dropped between runs.");
  }
  if (value("conditions.work_file_system") == "tmpfs") {
    texts.emplace_back("All storage was in memory (tmpfs): what disks cost is not in the figures.");
  }
  texts.emplace_back(
      "Each run has a containerd that was started just before, so nothing is measured of one that has run "
      "for long.");
  return texts;
}

std::string summary_text(const std::vector<Row>& rows, const Comparison& comparison) {
  std::size_t runs = 0;
  std::size_t most = 0;
  for (const auto& one : comparison.configurations) {
    runs += one.rows.size();
    most = std::max(most, one.rows.size());
  }
  auto text = std::to_string(runs) + " runs of " + std::to_string(comparison.configurations.size()) +
              " configurations, up to " + std::to_string(most) + " repetitions each, in random order.";
  if (!rows.empty()) {
    const auto [first, last] = std::ranges::minmax_element(rows, {}, &Row::started);
    text += " From " + first->started + " to " + last->started + ".";
  }
  return text;
}

json::object page_data(const std::vector<Row>& rows, const Comparison& comparison) {
  json::array configurations;
  json::array runs;
  std::size_t most = 0;
  for (const auto& one : comparison.configurations) {
    const auto index = configurations.size();
    configurations.push_back(json::object{{"image", one.at.image},
                                          {"puller", one.at.puller},
                                          {"snapshotter", one.at.snapshotter},
                                          {"unpack", one.at.unpack},
                                          {"network", one.at.network},
                                          {"cache", one.at.cache}});
    for (const auto* row : one.rows) runs.push_back(row_object(*row, index));
    most = std::max(most, one.rows.size());
  }
  json::array metrics;
  for (const auto& metric : comparison.metrics) {
    metrics.push_back(json::object{{"key", metric.key}, {"label", metric.label}, {"unit", metric.unit}});
  }
  json::array failures;
  for (const auto& failure : comparison.failures) failures.push_back(json::value(printable(failure)));
  const auto environment = environment_of(rows);
  return {{"summary", summary_text(rows, comparison)},
          {"configs", std::move(configurations)},
          {"rows", std::move(runs)},
          {"metrics", std::move(metrics)},
          {"ranks", ranks(most)},
          {"baseline", comparison.baseline},
          {"failures", std::move(failures)},
          {"environment", environment_array(environment)},
          {"uncontrolled", uncontrolled(environment)},
          {"csv", summary_csv(comparison)}};
}

/// As text of an element or of an attribute in double quotes.
std::string escape_html(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

/// JSON inside a script element, which nothing in it may end.
std::string escape_script(const std::string& text) {
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 16);
  for (const char c : text) {
    if (c == '<') {
      escaped += "\\u003c";
    } else if (c == '&') {
      escaped += "\\u0026";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

/// Each placeholder is there; what is put in is not searched again.
std::string fill_in(std::string_view page, const std::map<std::string, std::string>& values) {
  std::string made;
  for (std::size_t at = 0; at < page.size();) {
    const auto start = page.find('@', at);
    const auto end = start == std::string_view::npos ? start : page.find('@', start + 1);
    if (end == std::string_view::npos) return made + std::string(page.substr(at));
    const auto value = values.find(std::string(page.substr(start + 1, end - start - 1)));
    if (value == values.end()) {
      made += page.substr(at, end - at);
      at = end;
      continue;
    }
    made += std::string(page.substr(at, start - at)) + value->second;
    at = end + 1;
  }
  return made;
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (!stream) {
    throw Error(Errc::unavailable,
                file.string() + ": cannot be written: " + std::generic_category().message(errno));
  }
}

}  // namespace

std::string report_page(const std::vector<Row>& rows) {
  const auto comparison = Comparison::of(rows);
  const auto name = rows.empty() ? std::string("experiment") : rows.front().experiment;
  return fill_in(page_html, {{"TITLE", escape_html("Start-up experiment: " + printable(name))},
                             {"STYLE", std::string(page_css)},
                             {"SCRIPT", std::string(page_js)},
                             {"DATA", escape_script(json::serialize(page_data(rows, comparison)))}});
}

std::string run_report_command(const ReportCommand& command) {
  const auto rows = read_results(command.results);
  if (rows.empty()) throw Error(Errc::invalid_argument, command.results + ": has no results");
  const auto comparison = Comparison::of(rows);
  std::filesystem::path page = command.output;
  if (command.output.empty()) page = std::filesystem::path(command.results).replace_extension(".html");
  if (page == std::filesystem::path(command.results)) {
    throw Error(Errc::invalid_argument,
                command.results + ": the page would replace the results; give --output");
  }
  write_file(page, report_page(rows));
  if (!command.csv.empty()) write_file(command.csv, summary_csv(comparison));
  return summary_table(comparison) + "wrote " + page.string() +
         (command.csv.empty() ? "" : " and " + command.csv) + "\n";
}

}  // namespace lazypull::experiment
