#include "tools/trace_otlp.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cstdio>

namespace lazypull {
namespace {

namespace json = boost::json;

json::string text_value(std::string_view text) {
  return json::string(printable(text));
}

json::object attribute(std::string_view key, json::object value) {
  return {{"key", text_value(key)}, {"value", std::move(value)}};
}

json::object text_attribute(std::string_view key, std::string_view text) {
  return attribute(key, {{"stringValue", text_value(text)}});
}

json::object argument_attribute(const SpanArgument& argument) {
  const auto key = "lazypull." + std::string(argument.name);
  if (const auto* text = std::get_if<std::string>(&argument.value)) return text_attribute(key, *text);
  // 64-bit integers are strings in the JSON form of protobuf.
  return attribute(key, {{"intValue", std::to_string(std::get<std::uint64_t>(argument.value))}});
}

/// Nanoseconds since 1970, from the steady clock's time.
std::string unix_nanoseconds(SpanRecord::Time time, const Tracer& tracer) {
  using std::chrono::nanoseconds;
  const auto base = std::chrono::duration_cast<nanoseconds>(tracer.started_at().time_since_epoch()).count();
  return std::to_string(base + nanoseconds(time - tracer.started()).count());
}

json::object span_json(const SpanRecord& span, const Tracer& tracer, const OtlpSettings& settings,
                       const OtlpIds& ids) {
  json::object out;
  out["traceId"] = ids.trace_id;
  out["spanId"] = ids.span_id(span.id);
  if (span.parent != 0) {
    out["parentSpanId"] = ids.span_id(span.parent);
  } else if (settings.parent) {
    out["parentSpanId"] = settings.parent->span_id;
  }
  out["name"] = text_value(span.name);
  constexpr int internal = 1;
  constexpr int client = 3;
  out["kind"] = span.category == "registry" || span.category == "snapshotter" ? client : internal;
  out["startTimeUnixNano"] = unix_nanoseconds(span.start, tracer);
  out["endTimeUnixNano"] = unix_nanoseconds(span.end, tracer);
  json::array attributes;
  attributes.push_back(text_attribute("lazypull.category", span.category));
  if (!span.object.empty()) attributes.push_back(text_attribute("lazypull.object", span.object));
  for (const auto& argument : span.arguments) attributes.push_back(argument_attribute(argument));
  out["attributes"] = std::move(attributes);
  constexpr int error = 2;
  if (span.failed) out["status"] = json::object{{"code", error}};
  return out;
}

}  // namespace

std::string OtlpIds::span_id(SpanId id) const {
  char text[20];
  const auto number = span_base ^ id;
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number == 0 ? ~id : number));
  return text;
}

OtlpIds make_otlp_ids(const std::optional<TraceParent>& parent) {
  const auto random = random_name();  // 32 hex digits
  OtlpIds ids;
  ids.trace_id = parent ? parent->trace_id : random_name();
  for (const char c : random.substr(0, 16)) {
    const auto digit = c <= '9' ? c - '0' : c - 'a' + 10;
    ids.span_base = ids.span_base << 4U | static_cast<std::uint64_t>(digit);
  }
  return ids;
}

std::string otlp_json(std::span<const SpanRecord> spans, const Tracer& tracer, const OtlpSettings& settings,
                      const OtlpIds& ids, std::string_view version) {
  json::array attributes;
  for (const auto& [key, value] : settings.resource) attributes.push_back(text_attribute(key, value));
  json::array list;
  list.reserve(spans.size());
  for (const auto& span : spans) list.push_back(span_json(span, tracer, settings, ids));
  json::object scope_spans;
  scope_spans["scope"] = json::object{{"name", "lazypull"}, {"version", text_value(version)}};
  scope_spans["spans"] = std::move(list);
  json::object resource_spans;
  resource_spans["resource"] = json::object{{"attributes", std::move(attributes)}};
  json::array scopes;
  scopes.push_back(std::move(scope_spans));
  resource_spans["scopeSpans"] = std::move(scopes);
  json::array resources;
  resources.push_back(std::move(resource_spans));
  return json::serialize(json::object{{"resourceSpans", std::move(resources)}});
}

std::uint64_t rejected_spans(std::string_view response) {
  boost::system::error_code error;
  const auto document = json::parse(json::string_view(response.data(), response.size()), error);
  const auto* object = error ? nullptr : document.if_object();
  const auto* partial = object == nullptr ? nullptr : object->if_contains("partialSuccess");
  const auto* success = partial == nullptr ? nullptr : partial->if_object();
  const auto* rejected = success == nullptr ? nullptr : success->if_contains("rejectedSpans");
  if (rejected == nullptr) return 0;
  if (const auto* text = rejected->if_string()) {
    return parse_decimal(std::string_view(text->data(), text->size())).value_or(0);
  }
  const auto number = rejected->to_number<std::uint64_t>(error);
  return error ? 0 : number;
}

}  // namespace lazypull
