#include "tools/experiment/pulling.hpp"

#include "engine/error.hpp"
#include "engine/json_reader.hpp"
#include "tools/text.hpp"

#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;

constexpr std::uint64_t longest_result = 16U << 20U;

std::optional<double> number(const json::value* value) {
  if (value == nullptr || !value->is_number()) return std::nullopt;
  const auto read = value->to_number<double>();
  if (!std::isfinite(read)) return std::nullopt;
  return read;
}

}  // namespace

std::vector<std::string> pull_command(const Programs& programs, const Coordinates& at,
                                      const std::string& address, const std::string& reference,
                                      const std::filesystem::path& trace) {
  if (at.puller == "ctr") {
    return {programs.ctr,   "--address",     address,        "images", "pull",
            "--plain-http", "--snapshotter", at.snapshotter, reference};
  }
  if (at.puller == "ctr-remote") {
    return {programs.ctr_remote, "--address", address, "images", "rpull", "--plain-http", reference};
  }
  std::vector<std::string> command = {programs.lazypull, "--address",    address,      "pull",
                                      "--snapshotter",   at.snapshotter, "--unpack",   at.unpack,
                                      "--output",        "json",         "--progress", "none"};
  if (!trace.empty()) {
    command.emplace_back("--trace");
    command.push_back(trace.string());
  }
  command.push_back(reference);
  return command;
}

PullDetails parse_pull_result(std::string_view text) {
  const auto object = parse_json_object(text, "result of lazypull pull", longest_result);
  PullDetails details;
  const auto* phases = object.if_contains("phases");
  if (phases == nullptr || !phases->is_object()) {
    throw Error(Errc::bad_response, "result of lazypull pull: there are no phases");
  }
  for (const auto& phase : phases->get_object()) {
    const auto length = number(&phase.value());
    if (details.phases.size() < ResultLimits::metrics / 2 && length && *length >= 0) {
      details.phases.emplace_back(printable(phase.key()), *length);
    }
  }
  return details;
}

std::vector<SpanRow> spans_of(const TraceFile& trace) {
  std::vector<const TraceEvent*> events;
  events.reserve(trace.events.size());
  for (const auto& event : trace.events) events.push_back(&event);
  if (events.size() > ResultLimits::spans) {
    const auto longer = [](const TraceEvent* a, const TraceEvent* b) { return a->duration > b->duration; };
    std::ranges::nth_element(events, events.begin() + std::ptrdiff_t{ResultLimits::spans}, longer);
    events.resize(ResultLimits::spans);
    std::ranges::sort(events);  // as they lie in the trace
  }
  const auto in_milliseconds = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  std::vector<SpanRow> rows;
  rows.reserve(events.size());
  for (const auto* event : events) {
    rows.push_back({event->name, event->name, event->object, in_milliseconds(event->start),
                    in_milliseconds(event->duration), event->depth});
  }
  return rows;
}

}  // namespace lazypull::experiment
