// Reading trace files, also those of other programs: hostile input.

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/text.hpp"
#include "tools/trace_file.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

namespace lazypull {
namespace {

namespace json = boost::json;

constexpr std::size_t max_text_bytes = 300;
constexpr std::size_t max_depth = 64;

/// What an event says, before its parent is known.
struct RawEvent {
  TraceEvent event;
  std::pair<std::int64_t, std::int64_t> track;  ///< process and thread
  std::optional<std::uint64_t> id;
  std::uint64_t parent = 0;
};

class TraceReader {
 public:
  explicit TraceReader(std::string what) : what_(std::move(what)) {}

  TraceFile read(std::string_view text) {
    TraceFile file;
    const auto document = parse(text);
    for (const auto& value : events_of(document, file)) read_event(value, file);
    if (raw_.empty()) refuse("has no complete event");
    std::ranges::sort(raw_, [](const RawEvent& a, const RawEvent& b) {
      if (a.event.start != b.event.start) return a.event.start < b.event.start;
      if (a.event.duration != b.event.duration) return a.event.duration > b.event.duration;
      return a.id < b.id;
    });
    const auto first = raw_.front().event.start;
    for (auto& raw : raw_) raw.event.start -= first;
    find_parents();
    file.events.reserve(raw_.size());
    for (auto& raw : raw_) file.events.push_back(std::move(raw.event));
    return file;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(Errc::bad_response, what_ + ": " + why);
  }

  json::value parse(std::string_view text) const {
    if (text.size() > max_trace_bytes) {
      refuse("is longer than " + format_bytes(max_trace_bytes));
    }
    json::parse_options options;
    options.max_depth = 32;
    boost::system::error_code error;
    auto document = json::parse(json::string_view(text.data(), text.size()), error, {}, options);
    if (error) refuse("is not JSON: " + error.message());
    return document;
  }

  const json::array& events_of(const json::value& document, TraceFile& file) const {
    if (const auto* array = document.if_array()) return *array;
    const auto* object = document.if_object();
    const auto* events = object == nullptr ? nullptr : object->if_contains("traceEvents");
    if (events == nullptr || !events->is_array()) refuse("has no traceEvents");
    if (const auto* other = member(*object, "otherData")) {
      const auto* dropped = other->if_object() ? member(other->get_object(), "droppedSpans") : nullptr;
      if (dropped != nullptr && dropped->is_string()) file.dropped = number_of(dropped->get_string());
    }
    return events->get_array();
  }

  static std::uint64_t number_of(const json::string& text) {
    std::uint64_t number = 0;
    for (const char c : text) {
      if (c < '0' || c > '9' || number > 1'000'000'000'000) return 0;
      number = number * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return number;
  }

  static const json::value* member(const json::object& object, const char* name) {
    return object.if_contains(name);
  }

  static std::string text_of(const json::object& object, const char* name) {
    const auto* value = member(object, name);
    if (value == nullptr || !value->is_string()) return {};
    const auto& text = value->get_string();
    return printable(std::string_view(text.data(), std::min(text.size(), max_text_bytes)));
  }

  template <class Number>
  static std::optional<Number> integer_of(const json::object& object, const char* name) {
    const auto* value = member(object, name);
    if (value == nullptr) return std::nullopt;
    boost::system::error_code error;
    const auto number = value->to_number<Number>(error);
    if (error) return std::nullopt;
    return number;
  }

  /// A number of microseconds.
  std::chrono::nanoseconds time_of(const json::object& object, const char* name) const {
    constexpr double most = 9e15;  // microseconds: 285 years
    const auto* value = member(object, name);
    boost::system::error_code error;
    const double number = value == nullptr ? NAN : value->to_number<double>(error);
    if (error || !std::isfinite(number) || std::abs(number) > most / 2) {
      refuse("event " + std::to_string(raw_.size()) + ": \"" + name + "\" is no time");
    }
    return std::chrono::nanoseconds(std::llround(number * 1000));
  }

  void read_event(const json::value& value, TraceFile& file) {
    const auto* object = value.if_object();
    if (object == nullptr) refuse("an event is no object");
    const auto phase = text_of(*object, "ph");
    const auto* args = member(*object, "args");
    const json::object* arguments = args == nullptr ? nullptr : args->if_object();
    if (phase == "M" && text_of(*object, "name") == "process_name" && arguments != nullptr) {
      file.process = text_of(*arguments, "name");
    }
    if (phase != "X") return;
    if (raw_.size() >= max_trace_events) {
      refuse("has more than " + std::to_string(max_trace_events) + " events");
    }
    RawEvent raw;
    raw.event.name = text_of(*object, "name");
    raw.event.start = time_of(*object, "ts");
    raw.event.duration = time_of(*object, "dur");
    if (raw.event.duration.count() < 0) refuse("an event has a negative duration");
    raw.track = {integer_of<std::int64_t>(*object, "pid").value_or(0),
                 integer_of<std::int64_t>(*object, "tid").value_or(0)};
    if (arguments != nullptr) {
      raw.event.object = text_of(*arguments, "object");
      raw.id = integer_of<std::uint64_t>(*arguments, "id");
      raw.parent = integer_of<std::uint64_t>(*arguments, "parent").value_or(0);
      const auto* failed = member(*arguments, "failed");
      raw.event.failed = failed != nullptr && failed->is_bool() && failed->get_bool();
    }
    raw_.push_back(std::move(raw));
  }

  /// In the order of the events, so that a parent's depth is known before its children's.
  void find_parents() {
    std::unordered_map<std::uint64_t, std::size_t> by_id;
    std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::size_t>> open;
    for (std::size_t i = 0; i < raw_.size(); ++i) {
      auto& raw = raw_[i];
      if (raw.id) {
        const auto found = by_id.find(raw.parent);
        if (found != by_id.end()) raw.event.parent = found->second;
        by_id.emplace(*raw.id, i);
      } else {
        auto& stack = open[raw.track];
        while (!stack.empty() && raw_[stack.back()].event.end() < raw.event.end()) stack.pop_back();
        if (!stack.empty()) raw.event.parent = stack.back();
        stack.push_back(i);
      }
      if (raw.event.parent == TraceEvent::none) continue;
      raw.event.depth = raw_[raw.event.parent].event.depth + 1;
      if (raw.event.depth > max_depth) refuse("its events are nested too deep");
    }
  }

  std::string what_;
  std::vector<RawEvent> raw_;
};

}  // namespace

TraceFile parse_trace(std::string_view text, const std::string& what) {
  return TraceReader(what).read(text);
}

TraceFile read_trace(const std::filesystem::path& file) {
  return parse_trace(read_text(file, max_trace_bytes), file.string());
}

}  // namespace lazypull
