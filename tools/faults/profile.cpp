#include "tools/faults/profile.hpp"

#include "engine/error.hpp"
#include "engine/json_reader.hpp"
#include "tools/byte_size.hpp"
#include "transport/duration.hpp"
#include "transport/http_message.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t max_rules = 1000;
constexpr std::uint64_t max_profile_bytes = 1U << 20U;

constexpr std::array<std::pair<std::string_view, FaultKind>, 12> kinds{{
    {"cut", FaultKind::cut},
    {"reset", FaultKind::reset},
    {"corrupt", FaultKind::corrupt},
    {"stall", FaultKind::stall},
    {"drop", FaultKind::drop},
    {"status", FaultKind::status},
    {"delay", FaultKind::delay},
    {"garbage", FaultKind::garbage},
    {"length", FaultKind::length},
    {"range", FaultKind::range},
    {"whole", FaultKind::whole},
    {"chunks", FaultKind::chunks},
}};

[[noreturn]] void refuse(std::string_view part, std::string_view why) {
  throw Error(Errc::invalid_argument, "fault '" + std::string(part) + "': " + std::string(why));
}

FaultKind parse_kind(std::string_view word) {
  std::string known;
  for (const auto& [name, kind] : kinds) {
    if (name == word) return kind;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  refuse(word, "is none of " + known);
}

std::uint64_t size_of(std::string_view part, std::string_view value) {
  const auto size = parse_byte_size(value);
  if (!size) refuse(part, "wants a number of bytes such as 64k");
  return *size;
}

milliseconds duration_of(std::string_view part, std::string_view value) {
  const auto duration = parse_duration(value);
  if (!duration) refuse(part, "wants a duration such as 200ms");
  return std::chrono::ceil<milliseconds>(*duration);
}

std::uint64_t number_of(std::string_view part, std::string_view value) {
  const auto number = parse_decimal(value);
  if (!number) refuse(part, "wants a number");
  return *number;
}

double probability_of(std::string_view part, std::string_view value) {
  double probability = -1;
  const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), probability);
  const bool whole = failure == std::errc() && end == value.data() + value.size();
  if (!whole || !(probability >= 0 && probability <= 1)) refuse(part, "wants a number from 0 to 1");
  return probability;
}

int status_of(std::string_view part, std::string_view value) {
  const auto number = number_of(part, value);
  if (number < 200 || number > 599) refuse(part, "wants a status from 200 to 599");
  return static_cast<int>(number);
}

void read_setting(FaultRule& rule, std::string_view part) {
  const auto equals = part.find('=');
  if (equals == std::string_view::npos) refuse(part, "has no value");
  const auto name = part.substr(0, equals);
  const auto value = part.substr(equals + 1);
  if (name == "probability") {
    rule.probability = probability_of(part, value);
  } else if (name == "method") {
    rule.method = value;
  } else if (name == "path") {
    rule.path = value;
  } else if (name == "from") {
    rule.from = number_of(part, value);
  } else if (name == "times") {
    rule.times = number_of(part, value);
  } else if (name == "at") {
    rule.at = size_of(part, value);
  } else if (name == "for") {
    rule.duration = duration_of(part, value);
  } else if (name == "code") {
    rule.status = status_of(part, value);
  } else if (name == "retry-after") {
    constexpr std::uint64_t day = 86'400;
    rule.retry_after = seconds(std::min(number_of(part, value), day));
  } else {
    refuse(part, "is none of probability, method, path, from, times, at, for, code, retry-after");
  }
}

std::string shortest(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string text_of(milliseconds duration) {
  return std::to_string(duration.count()) + "ms";
}

}  // namespace

std::string_view to_string(FaultKind kind) noexcept {
  for (const auto& [name, known] : kinds) {
    if (known == kind) return name;
  }
  return "unknown";
}

FaultRule parse_fault_rule(std::string_view text) {
  FaultRule rule;
  auto comma = text.find(',');
  rule.kind = parse_kind(text.substr(0, comma));
  while (comma != std::string_view::npos) {
    text.remove_prefix(comma + 1);
    comma = text.find(',');
    read_setting(rule, text.substr(0, comma));
  }
  return rule;
}

std::string to_string(const FaultRule& rule) {
  const FaultRule usual;
  std::string text(to_string(rule.kind));
  const auto add = [&text](const char* name, const std::string& value) {
    text.append(",").append(name).append("=").append(value);
  };
  if (rule.probability < 1) add("probability", shortest(rule.probability));
  if (!rule.method.empty()) add("method", rule.method);
  if (!rule.path.empty()) add("path", rule.path);
  if (rule.from != usual.from) add("from", std::to_string(rule.from));
  if (rule.times != usual.times) add("times", std::to_string(rule.times));
  if (rule.at) add("at", std::to_string(*rule.at));
  if (rule.duration.count() > 0) add("for", text_of(rule.duration));
  if (rule.status != usual.status) add("code", std::to_string(rule.status));
  if (rule.retry_after) add("retry-after", std::to_string(rule.retry_after->count()));
  return text;
}

FaultProfile parse_fault_profile(std::string_view json, std::string_view what) {
  const auto document = parse_json_object(json, what, max_profile_bytes);
  static const std::set<std::string_view> known{"connectLatency",      "latency", "jitter", "bandwidth",
                                                "connectionBandwidth", "cutMean", "faults"};
  for (const auto& member : document) {
    const std::string_view key(member.key().data(), member.key().size());
    if (!known.contains(key)) refuse(key, "is no member of a profile");
  }
  const JsonObject object(document, std::string(what));
  const auto duration = [&object](const char* name) {
    const auto text = object.text(name);
    return text.empty() ? milliseconds(0) : duration_of(name, text);
  };
  const auto size = [&object](const char* name) -> std::uint64_t {
    const auto text = object.text(name);
    return text.empty() ? 0 : size_of(name, text);
  };
  FaultProfile profile;
  profile.connect_latency = duration("connectLatency");
  profile.latency = duration("latency");
  profile.jitter = duration("jitter");
  profile.bandwidth = size("bandwidth");
  profile.connection_bandwidth = size("connectionBandwidth");
  profile.cut_mean = size("cutMean");
  for (const auto& text : object.texts("faults", max_rules)) profile.rules.push_back(parse_fault_rule(text));
  return profile;
}

std::string to_json(const FaultProfile& profile) {
  boost::json::object object;
  const auto add = [&object](const char* name, std::uint64_t value, const std::string& text) {
    if (value > 0) object[name] = text;
  };
  const auto add_duration = [&add](const char* name, milliseconds value) {
    add(name, static_cast<std::uint64_t>(value.count()), text_of(value));
  };
  add_duration("connectLatency", profile.connect_latency);
  add_duration("latency", profile.latency);
  add_duration("jitter", profile.jitter);
  add("bandwidth", profile.bandwidth, std::to_string(profile.bandwidth));
  add("connectionBandwidth", profile.connection_bandwidth, std::to_string(profile.connection_bandwidth));
  add("cutMean", profile.cut_mean, std::to_string(profile.cut_mean));
  boost::json::array faults;
  for (const auto& rule : profile.rules) faults.emplace_back(to_string(rule));
  if (!faults.empty()) object["faults"] = std::move(faults);
  return boost::json::serialize(object);
}

}  // namespace lazypull
