// What the environment says about OpenTelemetry.

#include "engine/error.hpp"
#include "tools/trace_otlp.hpp"

#include <algorithm>
#include <string>

namespace lazypull {
namespace {

constexpr std::uint64_t max_timeout_ms = 10'000;
constexpr std::size_t max_variable_bytes = 64U << 10U;
constexpr std::size_t max_pairs = 128;

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// Nothing for a "%" that no two hex digits follow.
std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

/// Of a header's name (RFC 9110 section 5.6.2).
bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_header_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7F) || byte == '\t';
  });
}

class EnvironmentReader {
 public:
  EnvironmentReader(const Environment& environment, const std::function<void(const std::string&)>& warn)
      : environment_(environment), warn_(warn) {}

  OtlpSettings read() const {
    OtlpSettings settings;
    if (is_disabled()) return settings;
    settings.target = target();
    if (!settings.target) return settings;
    settings.resource = resource();
    if (const auto parent = value("TRACEPARENT")) {
      settings.parent = parse_trace_parent(*parent);
      if (!settings.parent) warn_("TRACEPARENT is not one of W3C Trace Context, and is ignored");
    }
    // Who began the trace has decided that it is not kept.
    if (settings.parent && !settings.parent->sampled) settings.target.reset();
    return settings;
  }

 private:
  std::optional<std::string> value(const std::string& name) const {
    auto text = environment_(name);
    if (!text || trim(*text).empty()) return std::nullopt;
    if (text->size() > max_variable_bytes) {
      warn_(name + " is too long, and is ignored");
      return std::nullopt;
    }
    return std::string(trim(*text));
  }

  /// Of the traces, or else of all signals.
  std::pair<std::string, std::optional<std::string>> exporter_value(const std::string& name) const {
    const auto own = "OTEL_EXPORTER_OTLP_TRACES_" + name;
    if (auto text = value(own)) return {own, std::move(text)};
    const auto general = "OTEL_EXPORTER_OTLP_" + name;
    return {general, value(general)};
  }

  bool is_disabled() const {
    const auto disabled = value("OTEL_SDK_DISABLED");
    if (disabled && iequals(*disabled, "true")) return true;
    const auto exporter = value("OTEL_TRACES_EXPORTER");
    if (!exporter) return false;
    std::string_view rest = *exporter;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      if (trim(rest.substr(0, comma)) == "otlp") return false;
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
    if (*exporter != "none") warn_("OTEL_TRACES_EXPORTER: only otlp and none are known");
    return true;
  }

  std::optional<Url> url() const {
    auto [name, text] = exporter_value("ENDPOINT");
    if (!text) return std::nullopt;
    try {
      const bool of_all_signals = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
      auto parsed = Url::parse(*text);
      if (!of_all_signals) return parsed;
      auto path = parsed.target();
      while (path.ends_with('/')) path.pop_back();
      return Url(parsed.origin(), path + "/v1/traces");
    } catch (const Error& error) {
      warn_(name + ": " + error.message());
      return std::nullopt;
    }
  }

  std::optional<OtlpTarget> target() const {
    auto where = url();
    if (!where) return std::nullopt;
    OtlpTarget target(std::move(*where));
    const auto [name, headers] = exporter_value("HEADERS");
    if (headers) {
      for (auto& [key, text] : pairs(name, *headers)) {
        if (is_token(key) && is_header_value(text)) {
          target.headers.add(std::move(key), std::move(text));
        } else {
          warn_(name + ": an entry is no header, and is ignored");
        }
      }
    }
    const auto [timeout_name, timeout] = exporter_value("TIMEOUT");
    if (timeout) {
      const auto number = parse_decimal(*timeout);
      if (number && *number > 0) {
        target.timeout = std::chrono::milliseconds(std::min(*number, max_timeout_ms));
      } else {
        warn_(timeout_name + " is no number of milliseconds, and is ignored");
      }
    }
    if (auto file = exporter_value("CERTIFICATE").second) target.tls.ca_files = {std::move(*file)};
    auto certificate = exporter_value("CLIENT_CERTIFICATE").second;
    if (certificate) {
      target.tls.clients = {{std::move(*certificate), exporter_value("CLIENT_KEY").second.value_or("")}};
    }
    const auto [protocol_name, protocol] = exporter_value("PROTOCOL");
    if (protocol && *protocol == "grpc") {
      warn_(protocol_name + ": gRPC is not spoken; spans are sent as http/json");
    }
    return target;
  }

  std::map<std::string, std::string> resource() const {
    std::map<std::string, std::string> attributes{{"service.name", "lazypull"}};
    const std::string name = "OTEL_RESOURCE_ATTRIBUTES";
    if (const auto text = value(name)) {
      for (auto& [key, text_of_key] : pairs(name, *text)) attributes[key] = std::move(text_of_key);
    }
    if (auto service = value("OTEL_SERVICE_NAME")) attributes["service.name"] = std::move(*service);
    return attributes;
  }

  /// Of "name=value,name=value", values percent-encoded. A warning has no value in it.
  std::vector<std::pair<std::string, std::string>> pairs(const std::string& name,
                                                         std::string_view text) const {
    std::vector<std::pair<std::string, std::string>> found;
    for (std::size_t number = 1; !text.empty() && found.size() < max_pairs; ++number) {
      const auto comma = text.find(',');
      const auto entry = trim(text.substr(0, comma));
      text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
      if (entry.empty()) continue;
      const auto equals = entry.find('=');
      const auto key = trim(entry.substr(0, equals));
      auto value =
          equals == std::string_view::npos ? std::nullopt : percent_decode(trim(entry.substr(equals + 1)));
      if (key.empty() || !value) {
        warn_(name + ": entry " + std::to_string(number) + " is not NAME=VALUE, and is ignored");
        continue;
      }
      found.emplace_back(key, std::move(*value));
    }
    return found;
  }

  const Environment& environment_;
  const std::function<void(const std::string&)>& warn_;
};

}  // namespace

std::optional<TraceParent> parse_trace_parent(std::string_view text) {
  // version "-" trace-id "-" parent-id "-" trace-flags; later versions may go on after another "-".
  constexpr std::size_t length = 55;
  if (text.size() < length || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  const auto version = text.substr(0, 2);
  const auto trace = text.substr(3, 32);
  const auto span = text.substr(36, 16);
  const auto flags = text.substr(53, 2);
  if (!is_hex(version) || !is_hex(trace) || !is_hex(span) || !is_hex(flags)) return std::nullopt;
  if (version == "ff" || is_zero(trace) || is_zero(span)) return std::nullopt;
  const bool longer = text.size() > length;
  if (longer && (version == "00" || text[length] != '-')) return std::nullopt;
  TraceParent parent;
  parent.trace_id = trace;
  parent.span_id = span;
  parent.sampled = (hex_digit(flags[1]).value_or(0) & 1) != 0;
  return parent;
}

OtlpSettings otlp_settings(const Environment& environment,
                           const std::function<void(const std::string&)>& warn) {
  return EnvironmentReader(environment, warn).read();
}

}  // namespace lazypull
