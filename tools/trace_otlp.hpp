#pragma once

#include "engine/trace.hpp"
#include "transport/docker_config.hpp"
#include "transport/http_message.hpp"
#include "transport/tls_options.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The OpenTelemetry protocol: OTLP/HTTP 1 with JSON, and the variables of its specification ("OpenTelemetry
/// Protocol Exporter", "SDK Environment Variables", W3C Trace Context).
namespace lazypull {

/// Whose child a trace is, from TRACEPARENT.
struct TraceParent {
  std::string trace_id;  ///< 32 hex digits, not all 0
  std::string span_id;   ///< 16 hex digits, not all 0
  bool sampled = true;
};

/// Of W3C Trace Context; nothing if it is not one.
std::optional<TraceParent> parse_trace_parent(std::string_view text);

struct OtlpTarget {
  explicit OtlpTarget(Url where) : url(std::move(where)) {}

  Url url;
  HttpFields headers;  ///< may hold secrets
  TlsOptions tls;
  std::chrono::milliseconds timeout{2000};  ///< of the whole export
};

/// Where spans go by the environment, and as what.
struct OtlpSettings {
  std::optional<OtlpTarget> target;  ///< nothing: no export
  std::map<std::string, std::string> resource;
  std::optional<TraceParent> parent;
};

/// Reads OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT, _HEADERS, _TIMEOUT,
/// _CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and
/// TRACEPARENT. What is wrong with one is told to `warn`, without its value, and the variable is ignored.
OtlpSettings otlp_settings(const Environment& environment,
                           const std::function<void(const std::string&)>& warn);

/// Ids as OTLP wants them. Span ids of one trace differ in their low bits only.
struct OtlpIds {
  std::string trace_id;
  std::uint64_t span_base = 0;

  /// 16 hex digits, never all 0.
  std::string span_id(SpanId id) const;
};

/// Random ids, in the trace of the parent if there is one.
OtlpIds make_otlp_ids(const std::optional<TraceParent>& parent);

/// An ExportTraceServiceRequest. `version` is the command's.
std::string otlp_json(std::span<const SpanRecord> spans, const Tracer& tracer, const OtlpSettings& settings,
                      const OtlpIds& ids, std::string_view version);

/// How many spans the collector says that it has not taken: of an ExportTraceServiceResponse, however broken.
std::uint64_t rejected_spans(std::string_view response);

}  // namespace lazypull
