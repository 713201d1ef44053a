#pragma once

#include "transport/docker_config.hpp"
#include "transport/url.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// An HTTP proxy.
struct Proxy {
  Origin origin;
  std::string authorization;  ///< the value of Proxy-Authorization; empty if there is none
};

/// Which hosts are exempt from proxies, as NO_PROXY says and Go's net/http understands it: a list, separated
/// by commas, of "*", IP addresses, networks such as 10.0.0.0/8, "example.com" for the domain and all below
/// it,
/// ".example.com" or "*.example.com" for those below it only; each but "*" and networks may have a port.
class NoProxy {
 public:
  NoProxy() = default;
  explicit NoProxy(std::string_view list);

  /// localhost and loopback addresses are always exempt.
  bool exempts(const Origin& origin) const;

 private:
  struct Rule {
    std::string host;  // of a domain: with a dot before it
    bool itself = false;
    bool address = false;
    std::optional<unsigned> prefix;  // of a network
    std::optional<std::uint16_t> port;
  };

  static std::optional<Rule> parse_rule(std::string_view text);
  static bool matches(const Rule& rule, const Origin& origin);

  bool all_ = false;
  std::vector<Rule> rules_;
};

/// The proxy for each origin.
class ProxyRules {
 public:
  ProxyRules() = default;
  /// HTTP_PROXY for http, HTTPS_PROXY for https, NO_PROXY; each also in lower case, which counts where the
  /// other is not set. HTTP_PROXY is not used where REQUEST_METHOD is set, because there it may come from the
  /// client of a CGI script. Throws Error{invalid_argument} that names the variable and has no userinfo.
  static ProxyRules from_environment(const Environment& environment);

  /// Null: no proxy.
  std::shared_ptr<const Proxy> proxy_of(const Origin& origin) const;

 private:
  std::shared_ptr<const Proxy> http_;
  std::shared_ptr<const Proxy> https_;
  NoProxy exempt_;
};

/// "http://user:password@proxy.example.com:3128", where scheme and userinfo may be missing. Throws
/// Error{invalid_argument}, or {unsupported} for proxies that are reached otherwise than by plain HTTP; the
/// message begins with `what` and has no userinfo.
Proxy parse_proxy(std::string_view text, const std::string& what);

}  // namespace lazypull
