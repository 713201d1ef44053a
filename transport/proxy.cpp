#include "transport/proxy.hpp"

#include "engine/error.hpp"
#include "engine/reference.hpp"
#include "transport/base64.hpp"
#include "transport/http_message.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>

namespace lazypull {

namespace ip = boost::asio::ip;

namespace {

constexpr std::size_t max_rules = 10000;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

std::optional<ip::address> parse_address(std::string_view text) {
  boost::system::error_code failure;
  auto address = ip::make_address(std::string(text), failure);
  if (failure) return std::nullopt;
  // As Go has it: an IPv4 address is the same in either notation.
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = ip::make_address_v4(ip::v4_mapped, address.to_v6());
  }
  return address;
}

bool in_network(const ip::address& address, const std::string& network, unsigned prefix) {
  const auto base = parse_address(network);
  if (!base || base->is_v4() != address.is_v4()) return false;
  const auto bits = static_cast<unsigned short>(prefix);
  if (base->is_v4()) {
    return ip::network_v4(base->to_v4(), bits).canonical() ==
           ip::network_v4(address.to_v4(), bits).canonical();
  }
  return ip::network_v6(base->to_v6(), bits).canonical() == ip::network_v6(address.to_v6(), bits).canonical();
}

std::optional<std::string> variable(const Environment& environment, const std::string& name) {
  auto value = environment(name);
  if (!value || value->empty()) value = environment(lower(name));
  if (value && value->empty()) value.reset();
  return value;
}

}  // namespace

NoProxy::NoProxy(std::string_view list) {
  while (!list.empty() && rules_.size() < max_rules) {
    const auto end = std::min(list.find(','), list.size());
    const auto item = trim(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
    if (item == "*") all_ = true;
    if (auto rule = parse_rule(item)) rules_.push_back(std::move(*rule));
  }
}

std::optional<NoProxy::Rule> NoProxy::parse_rule(std::string_view text) {
  Rule rule;
  std::string host = lower(text);
  if (const auto slash = host.find('/'); slash != std::string::npos) {
    const auto address = parse_address(host.substr(0, slash));
    const auto prefix = parse_decimal(host.substr(slash + 1));
    if (!address || !prefix || *prefix > (address->is_v4() ? 32U : 128U)) return std::nullopt;
    rule.host = address->to_string();
    rule.prefix = static_cast<unsigned>(*prefix);
    return rule;
  }
  // "host:port" or "[v6]:port"; more than one colon without brackets is an IPv6 address.
  const auto colon = host.rfind(':');
  const bool brackets = host.starts_with('[');
  if (colon != std::string::npos && (brackets ? host[colon - 1] == ']' : host.find(':') == colon)) {
    const auto port = parse_decimal(std::string_view(host).substr(colon + 1));
    if (!port || *port > 65535) return std::nullopt;
    rule.port = static_cast<std::uint16_t>(*port);
    host.resize(colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (const auto address = parse_address(host)) {
    rule.host = address->to_string();
    rule.address = true;
    return rule;
  }
  if (host.starts_with("*.")) host.erase(0, 1);
  if (host.empty() || host == ".") return std::nullopt;
  rule.itself = !host.starts_with('.');
  rule.host = rule.itself ? "." + host : host;
  return rule;
}

bool NoProxy::matches(const Rule& rule, const Origin& origin) {
  if (rule.port && *rule.port != origin.port) return false;
  const auto address = parse_address(origin.host);
  if (rule.prefix) return address && in_network(*address, rule.host, *rule.prefix);
  if (rule.address) return address && address->to_string() == rule.host;
  const auto& host = origin.host;
  return host.ends_with(rule.host) || (rule.itself && host == rule.host.substr(1));
}

bool NoProxy::exempts(const Origin& origin) const {
  if (origin.host == "localhost") return true;
  const auto address = parse_address(origin.host);
  if (address && address->is_loopback()) return true;
  return all_ ||
         std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) { return matches(rule, origin); });
}

ProxyRules ProxyRules::from_environment(const Environment& environment) {
  ProxyRules rules;
  const bool cgi = environment("REQUEST_METHOD").has_value();
  const auto http = variable(environment, "HTTP_PROXY");
  const auto https = variable(environment, "HTTPS_PROXY");
  if (http && !cgi) rules.http_ = std::make_shared<Proxy>(parse_proxy(*http, "HTTP_PROXY"));
  if (https) rules.https_ = std::make_shared<Proxy>(parse_proxy(*https, "HTTPS_PROXY"));
  rules.exempt_ = NoProxy(variable(environment, "NO_PROXY").value_or(""));
  return rules;
}

std::shared_ptr<const Proxy> ProxyRules::proxy_of(const Origin& origin) const {
  const auto& proxy = origin.tls ? https_ : http_;
  if (!proxy || exempt_.exempts(origin)) return nullptr;
  return proxy;
}

Proxy parse_proxy(std::string_view text, const std::string& what) {
  std::string url(text);
  const auto malformed = [&] {
    return Error(Errc::invalid_argument, what + ": \"" + printable_url(url) + "\" is not the URL of a proxy");
  };
  if (url.find("://") == std::string::npos) url = "http://" + url;
  const auto view = boost::urls::parse_uri(url);
  if (!view) throw malformed();
  const auto scheme = lower(std::string_view(view->scheme().data(), view->scheme().size()));
  if (scheme != "http") {
    throw Error(Errc::unsupported, what + ": " + scheme + " proxies are not supported, only http ones");
  }
  Proxy proxy;
  try {
    proxy.origin = Url::parse(url).origin();
  } catch (const Error&) {
    throw malformed();
  }
  if (view->has_userinfo()) {
    const auto user = view->user();
    const auto password = view->password();
    std::string pair(user.data(), user.size());
    pair.append(":").append(password.data(), password.size());
    proxy.authorization = "Basic " + base64_encode(pair);
  }
  return proxy;
}

}  // namespace lazypull
