#include "engine/reference.hpp"

#include "engine/error.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace lazypull {

namespace {

constexpr std::string_view docker_domain = "docker.io";
constexpr std::string_view legacy_docker_domain = "index.docker.io";
constexpr std::string_view docker_api_host = "registry-1.docker.io";
constexpr std::string_view official_prefix = "library/";
/// Of domain and repository together, as the OCI distribution specification advises.
constexpr std::size_t max_name_length = 255;
constexpr std::size_t max_tag_length = 128;

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) noexcept {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) noexcept {
  return c >= 'A' && c <= 'Z';
}
bool is_lower_alnum(char c) noexcept {
  return is_lower(c) || is_digit(c);
}
bool is_alnum(char c) noexcept {
  return is_lower_alnum(c) || is_upper(c);
}
char to_lower(char c) noexcept {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Somebody may paste a URL with a user and a password: only a digest's '@' leaves what precedes it visible.
std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 300;
  std::string shown(text);
  const auto scheme = text.find("://");
  const auto last_at = text.rfind('@');
  if (last_at != std::string_view::npos) {
    const bool url = scheme != std::string_view::npos && scheme < last_at;
    const bool first = text.find('@') == last_at;
    const auto follows = text.substr(last_at + 1);
    const bool digest = follows.starts_with("sha") && follows.find('/') == std::string_view::npos;
    const auto begin = url ? scheme + 3 : 0;
    if (url || !first || !digest) shown.replace(begin, last_at - begin, "***");
  }
  const bool cut = shown.size() > longest;
  if (cut) shown.resize(longest);
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return "\"" + shown + (cut ? "…\"" : "\"");
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(Errc::invalid_argument, quoted(text) + " is not an image reference: " + std::string(why));
}

bool is_hex64(std::string_view text) noexcept {
  const auto hex = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); };
  return text.size() == 64 && std::ranges::all_of(text, hex);
}

bool is_ip(int family, std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN + 1> terminated{};
  if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) return false;
  std::ranges::copy(text, terminated.begin());
  in6_addr address{};
  return inet_pton(family, terminated.data(), &address) == 1;
}

/// One label of a DNS name: letters, digits and inner hyphens.
bool is_host_label(std::string_view label) noexcept {
  const auto allowed = [](char c) { return is_alnum(c) || c == '-'; };
  return !label.empty() && std::ranges::all_of(label, allowed) && label.front() != '-' && label.back() != '-';
}

bool is_host_name(std::string_view host) noexcept {
  while (true) {
    const auto dot = host.find('.');
    if (!is_host_label(host.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

struct HostPort {
  std::string_view host;  ///< without the brackets of an IPv6 address
  std::optional<std::string_view> port;
  bool bracketed = false;
};

HostPort split_host_port(std::string_view text) noexcept {
  HostPort result{.host = text, .port = std::nullopt, .bracketed = false};
  std::string_view rest;
  if (text.starts_with('[') && text.find(']') != std::string_view::npos) {
    const auto end = text.find(']');
    result.bracketed = true;
    result.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    if (!rest.empty() && !rest.starts_with(':'))
      return {.host = text, .port = std::nullopt, .bracketed = false};
  } else {
    const auto colon = text.find(':');
    result.host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (!rest.empty()) result.port = rest.substr(1);
  return result;
}

bool is_port(std::string_view text) noexcept {
  unsigned value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size() && value >= 1 && value <= 65535;
}

bool is_domain(std::string_view text) noexcept {
  const auto parts = split_host_port(text);
  if (parts.port && !is_port(*parts.port)) return false;
  return parts.bracketed ? is_ip(AF_INET6, parts.host) : is_host_name(parts.host);
}

/// Runs of lower-case letters and digits, joined by one dot, one or two underscores, or any number of
/// hyphens.
bool is_path_component(std::string_view text) noexcept {
  std::size_t at = 0;
  const auto skip = [&](auto accepted) {
    const auto begin = at;
    while (at < text.size() && accepted(text[at])) ++at;
    return at - begin;
  };
  if (skip(is_lower_alnum) == 0) return false;
  while (at < text.size()) {
    const char separator = text[at];
    const auto length = skip([separator](char c) { return c == separator; });
    const bool joins =
        (separator == '.' && length == 1) || (separator == '_' && length <= 2) || separator == '-';
    if (!joins || skip(is_lower_alnum) == 0) return false;
  }
  return true;
}

bool is_path(std::string_view path) noexcept {
  while (true) {
    const auto slash = path.find('/');
    if (!is_path_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool is_tag(std::string_view tag) noexcept {
  const auto word = [](char c) { return is_alnum(c) || c == '_'; };
  const auto inner = [word](char c) { return word(c) || c == '.' || c == '-'; };
  return !tag.empty() && tag.size() <= max_tag_length && word(tag.front()) && std::ranges::all_of(tag, inner);
}

struct Split {
  std::string domain;
  std::string remainder;
};

/// Docker's shorthand: what stands before the first slash is a host only if it cannot be a user's name.
Split split_domain(std::string_view text) {
  const auto slash = text.find('/');
  Split result{.domain = std::string(docker_domain), .remainder = std::string(text)};
  if (slash != std::string_view::npos) {
    const auto first = text.substr(0, slash);
    const bool host = first.find_first_of(".:") != std::string_view::npos || first == "localhost" ||
                      std::ranges::any_of(first, is_upper);
    if (host) result = {.domain = std::string(first), .remainder = std::string(text.substr(slash + 1))};
  }
  if (result.domain == legacy_docker_domain) result.domain = docker_domain;
  if (result.domain == docker_domain && result.remainder.find('/') == std::string::npos) {
    result.remainder.insert(0, official_prefix);
  }
  return result;
}

void check_path(std::string_view text, std::string_view path) {
  if (is_path(path)) return;
  if (path.empty() || path == official_prefix) refuse(text, "it names no repository");
  if (std::ranges::any_of(path, is_upper)) refuse(text, "the repository's name must be lower-case");
  refuse(text, "the repository's name is malformed");
}

}  // namespace

Reference Reference::parse(std::string_view text) {
  if (text.empty()) refuse(text, "it is empty");
  if (text.find("://") != std::string_view::npos) refuse(text, "it must not begin with a scheme");
  if (is_hex64(text)) refuse(text, "64 hex digits look like an image's ID; write name@sha256:…");

  if (Digest::try_parse(text)) refuse(text, "a digest alone names no repository; write name@sha256:…");

  Reference result;
  auto [domain, path] = split_domain(text);
  if (const auto at = path.find('@'); at != std::string::npos) {
    try {
      result.digest_ = Digest::parse(std::string_view(path).substr(at + 1));
    } catch (const Error& failure) {
      // Digest's own message would quote what stands after the '@', which may be a host after a password.
      refuse(text, "what follows the @ is not a digest (sha256: and 64 lower-case hex digits)");
    }
    path.resize(at);
  }
  if (const auto colon = path.find(':'); colon != std::string::npos) {
    result.tag_ = path.substr(colon + 1);
    path.resize(colon);
    if (!is_tag(*result.tag_)) refuse(text, "the tag is malformed");
  }
  if (!is_domain(domain)) refuse(text, "the registry's host is malformed");
  check_path(text, path);
  if (domain.size() + 1 + path.size() > max_name_length)
    refuse(text, "the name is longer than 255 characters");
  if (!result.tag_ && !result.digest_) result.tag_ = "latest";
  result.domain_ = std::move(domain);
  result.path_ = std::move(path);
  return result;
}

std::string Reference::name() const {
  std::string result = locator();
  if (tag_) result += ":" + *tag_;
  if (digest_) result += "@" + digest_->str();
  return result;
}

std::string Reference::object() const {
  return digest_ ? digest_->str() : tag_.value_or("latest");
}

std::string Reference::api_host() const {
  return domain_ == docker_domain ? std::string(docker_api_host) : domain_;
}

std::string Reference::locator() const {
  return domain_ + "/" + path_;
}

bool is_loopback_host(std::string_view host_and_port) {
  // A bare IPv6 address has colons but no port.
  if (is_ip(AF_INET6, host_and_port)) return is_loopback_host("[" + std::string(host_and_port) + "]");
  const auto parts = split_host_port(host_and_port);
  if (!parts.bracketed) {
    const bool localhost = std::ranges::equal(parts.host, std::string_view("localhost"), {}, to_lower);
    return localhost || (is_ip(AF_INET, parts.host) && parts.host.starts_with("127."));
  }
  const std::string host(parts.host);
  in6_addr address{};
  if (!is_ip(AF_INET6, host) || inet_pton(AF_INET6, host.c_str(), &address) != 1) return false;
  const bool mapped = IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127;
  return mapped || IN6_IS_ADDR_LOOPBACK(&address);
}

}  // namespace lazypull
