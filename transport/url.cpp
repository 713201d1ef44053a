#include "transport/url.hpp"

#include "engine/error.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace lazypull {

namespace {

constexpr std::size_t max_url_bytes = 16U << 10U;
constexpr std::string_view hex_digits = "0123456789ABCDEF";

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

void append_encoded(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += hex_digits[byte >> 4U];
  out += hex_digits[byte & 15U];
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

// What a host is once its percent-encoding is undone: "a%40b" or "a%2Fb" is none, and would be another one
// wherever it is written into a URL or a header.
bool is_host_name(std::string_view host) {
  return std::all_of(host.begin(), host.end(), [](char c) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || std::string_view("-._~").find(c) != std::string_view::npos;
  });
}

// Servers send such characters as they are; every client copes by encoding them.
std::string encode_illegal(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool illegal = static_cast<unsigned char>(c) >= 0x80 ||
                         std::string_view(" \"<>\\^`{|}").find(c) != std::string_view::npos;
    if (illegal) {
      append_encoded(result, c);
    } else {
      result += c;
    }
  }
  return result;
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(Errc::bad_response, "URL \"" + printable_url(text) + "\": " + std::string(why));
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failure != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

Url from_view(const boost::urls::url_view& view, std::string_view text) {
  Origin origin;
  const auto scheme = lower(std::string_view(view.scheme().data(), view.scheme().size()));
  if (scheme != "http" && scheme != "https") refuse(text, "only http and https are supported");
  origin.tls = scheme == "https";
  if (!view.has_authority()) refuse(text, "it has no host");
  const auto host = view.host_address();
  origin.host = lower(std::string_view(host.data(), host.size()));
  if (origin.host.empty()) refuse(text, "it has no host");
  if (view.host_type() != boost::urls::host_type::ipv6 && !is_host_name(origin.host)) {
    refuse(text, "its host is malformed");
  }
  origin.port = origin.tls ? 443 : 80;
  if (view.has_port() && !view.port().empty()) {
    const auto port = parse_port(std::string_view(view.port().data(), view.port().size()));
    if (!port) refuse(text, "its port is not a number from 1 to 65535");
    origin.port = *port;
  }
  const auto path = view.encoded_path();
  std::string target(path.data(), path.size());
  if (target.empty()) target = "/";
  if (!target.starts_with('/')) refuse(text, "its port is not a number from 1 to 65535");
  if (view.has_query()) {
    const auto query = view.encoded_query();
    target.append("?").append(query.data(), query.size());
  }
  return {std::move(origin), std::move(target)};
}

void check_text(std::string_view text) {
  if (text.size() > max_url_bytes) refuse(text.substr(0, 200), "it is too long");
  if (std::any_of(text.begin(), text.end(), is_control)) refuse(text, "it contains control characters");
}

}  // namespace

std::string Origin::host_port() const {
  const std::string shown = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return shown + ":" + std::to_string(port);
}

std::string Origin::authority() const {
  auto text = host_port();
  if (port == (tls ? 443 : 80)) text.resize(text.rfind(':'));
  return text;
}

std::string Origin::str() const {
  return (tls ? "https://" : "http://") + authority();
}

Url Url::parse(std::string_view text) {
  check_text(text);
  const auto encoded = encode_illegal(text);
  const auto view = boost::urls::parse_uri(encoded);
  if (!view) refuse(text, "it is not a valid URL");
  return from_view(*view, text);
}

std::string Url::display() const {
  return origin_.str() + target_.substr(0, target_.find('?'));
}

Url Url::resolve(std::string_view reference) const {
  check_text(reference);
  const auto encoded = encode_illegal(reference);
  const auto view = boost::urls::parse_uri_reference(encoded);
  if (!view) refuse(reference, "it is not a valid URL");
  if (view->has_scheme()) return from_view(*view, reference);
  if (view->has_authority()) return parse((origin_.tls ? "https:" : "http:") + encoded);
  if (view->is_path_absolute()) return parse(origin_.str() + encoded);
  const auto base_text = str();
  const auto base = boost::urls::parse_uri(base_text);
  if (!base) refuse(base_text, "it is not a valid URL");
  boost::urls::url resolved;
  if (!boost::urls::resolve(*base, *view, resolved)) refuse(reference, "it cannot be resolved");
  return from_view(resolved, reference);
}

Url Url::with_parameter(std::string_view name, std::string_view value) const {
  auto target = target_;
  target += target.find('?') == std::string::npos ? "?" : "&";
  target += percent_encode(name) + "=" + percent_encode(value);
  return {origin_, std::move(target)};
}

Origin parse_origin(bool tls, std::string_view host_and_port) {
  const auto malformed = [&] {
    throw Error(Errc::invalid_argument,
                "registry host \"" + printable_url(host_and_port) + "\" is malformed");
  };
  if (host_and_port.find_first_of("/?#@ ") != std::string_view::npos) malformed();
  try {
    return Url::parse((tls ? "https://" : "http://") + std::string(host_and_port)).origin();
  } catch (const Error&) {
    malformed();
    throw;
  }
}

std::string percent_encode(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || std::string_view("-._~").find(c) != std::string_view::npos) {
      result += c;
    } else {
      append_encoded(result, c);
    }
  }
  return result;
}

std::string printable_url(std::string_view text) {
  text = text.substr(0, text.find_first_of("?#"));
  std::string result(text.substr(0, 300));
  const auto authority = result.find("//");
  const auto start = authority == std::string::npos ? 0 : authority + 2;
  const auto end = std::min(result.find('/', start), result.size());
  const auto at = result.rfind('@', end == 0 ? 0 : end - 1);
  if (at != std::string::npos && at >= start && at < end) result.erase(start, at + 1 - start);
  std::replace_if(
      result.begin(), result.end(),
      [](char c) { return is_control(c) || static_cast<unsigned char>(c) >= 0x80; }, '?');
  return result;
}

}  // namespace lazypull
