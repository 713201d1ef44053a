#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace lazypull {

/// Who a connection is to and whom credentials belong to (RFC 6454): scheme, host and port.
struct Origin {
  bool tls = false;
  std::string host;  ///< lower case; an IPv6 address without brackets
  std::uint16_t port = 0;

  /// "registry.example.com:443", "[::1]:5000".
  std::string host_port() const;
  /// What the Host header says: the port only where it is not the scheme's own.
  std::string authority() const;
  /// "https://registry.example.com".
  std::string str() const;

  friend auto operator<=>(const Origin&, const Origin&) = default;
};

/// An absolute http or https URL. Userinfo and fragment are dropped when it is parsed, so they are never sent
/// or shown; path and query are kept exactly as they came, because signatures cover them.
class Url {
 public:
  /// Lenient about characters that RFC 3986 wants percent-encoded, which are then encoded. Throws
  /// Error{bad_response} for anything else than http and https, control characters, or more than 16 KiB; the
  /// message has neither query nor userinfo.
  static Url parse(std::string_view text);
  /// Makes "/v2/…" of an origin.
  Url(Origin origin, std::string target) : origin_(std::move(origin)), target_(std::move(target)) {}

  const Origin& origin() const noexcept { return origin_; }
  /// Path and query, as in the request line; starts with "/".
  const std::string& target() const noexcept { return target_; }
  /// For messages: without the query, which may carry a signature.
  std::string display() const;
  /// The whole URL.
  std::string str() const { return origin_.str() + target_; }

  /// RFC 3986 section 5.2: what a Location or a realm relative to this URL means.
  Url resolve(std::string_view reference) const;

  /// The same URL with "name=value" added to its query, both percent-encoded.
  Url with_parameter(std::string_view name, std::string_view value) const;

  friend bool operator==(const Url&, const Url&) = default;

 private:
  Origin origin_;
  std::string target_;
};

/// The origin of "host", "host:port" or "[v6]:port" for a scheme. Throws Error{invalid_argument}.
Origin parse_origin(bool tls, std::string_view host_and_port);

/// Encodes everything but RFC 3986's unreserved characters, as application/x-www-form-urlencoded allows.
std::string percent_encode(std::string_view text);

/// For URLs of unknown origin in messages: cuts query and fragment, userinfo and control characters.
std::string printable_url(std::string_view text);

}  // namespace lazypull
