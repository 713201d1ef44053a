#include "tools/trace_show.hpp"

#include "tools/text.hpp"
#include "tools/trace_path.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace lazypull {
namespace {

constexpr std::size_t least_columns = 60;
constexpr std::size_t duration_columns = 9;
constexpr std::size_t most_label_columns = 56;
constexpr std::string_view bold = "\x1b[1;33m";
constexpr std::string_view red = "\x1b[31m";
constexpr std::string_view plain = "\x1b[0m";

bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

/// Cut or filled up to so many characters of valid UTF-8.
std::string fitted(std::string_view text, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!continues(text[i]) && ++used > columns) break;
    out += text[i];
  }
  if (used < columns) out.append(columns - used, ' ');
  return out;
}

/// Digests are known by their first digits.
std::string short_object(const std::string& object) {
  const auto colon = object.find(':');
  const bool digest = colon != std::string::npos && object.size() - colon > 32 &&
                      object.find_first_not_of("0123456789abcdef", colon + 1) == std::string::npos;
  return digest ? object.substr(colon + 1, 12) : object;
}

class Waterfall {
 public:
  Waterfall(const TraceFile& file, const WaterfallOptions& options)
      : file_(file), options_(options), path_(critical_path(file)) {
    for (const auto& event : file.events) total_ = std::max(total_, event.end());
    const auto columns = std::max(options.columns, least_columns);
    label_columns_ = std::min(columns / 2, most_label_columns);
    bar_columns_ = columns - label_columns_ - duration_columns - 4;
  }

  std::string render() const {
    std::string out;
    if (!file_.process.empty()) out += fitted_line(file_.process) + "\n";
    std::size_t left_out = 0;
    for (std::size_t i = 0; i < file_.events.size(); ++i) {
      const auto& event = file_.events[i];
      const bool wanted = event.duration >= options_.shortest && (!options_.critical_only || path_[i]);
      if (wanted) {
        out += line(event, path_[i]);
      } else {
        ++left_out;
      }
    }
    out += "total " + format_duration(total_) + ", " + format_count(file_.events.size(), "span");
    if (left_out > 0) out += ", " + std::to_string(left_out) + " not shown";
    if (file_.dropped > 0) out += ", " + std::to_string(file_.dropped) + " not recorded";
    return out + "; * critical path\n";
  }

 private:
  std::string fitted_line(const std::string& text) const {
    auto line = fitted(text, std::max(options_.columns, least_columns));
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
  }

  std::string line(const TraceEvent& event, bool critical) const {
    std::string label(std::min<std::size_t>(event.depth, 16), ' ');
    label += event.name;
    if (!event.object.empty()) label += ' ' + short_object(event.object);
    auto duration = format_duration(event.duration);
    if (duration.size() < duration_columns) duration.insert(0, duration_columns - duration.size(), ' ');
    std::string text;
    text += critical ? '*' : ' ';
    text += event.failed ? '!' : ' ';
    text += fitted(label, label_columns_) + duration + ' ' + bar(event, critical);
    if (!options_.colour) return text + "\n";
    const auto colour = event.failed ? red : critical ? bold : std::string_view();
    return colour.empty() ? text + "\n" : std::string(colour) + text + std::string(plain) + "\n";
  }

  std::string bar(const TraceEvent& event, bool critical) const {
    const auto column = [&](std::chrono::nanoseconds time) {
      const double share =
          total_.count() == 0 ? 0 : static_cast<double>(time.count()) / static_cast<double>(total_.count());
      return static_cast<std::size_t>(share * static_cast<double>(bar_columns_));
    };
    const auto from = std::min(column(event.start), bar_columns_ - 1);
    const auto to = std::clamp(column(event.end()), from + 1, bar_columns_);
    return std::string(from, ' ') + std::string(to - from, critical ? '#' : '=');
  }

  const TraceFile& file_;
  const WaterfallOptions& options_;
  std::vector<bool> path_;
  std::chrono::nanoseconds total_{0};
  std::size_t label_columns_ = 0;
  std::size_t bar_columns_ = 0;
};

}  // namespace

std::string render_waterfall(const TraceFile& file, const WaterfallOptions& options) {
  return Waterfall(file, options).render();
}

}  // namespace lazypull
