#include "engine/descriptor_json.hpp"

#include "engine/error.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::size_t max_urls = 64;
constexpr std::size_t max_url_length = 8192;
constexpr std::size_t max_os_features = 64;

bool is_alnum(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_restricted_name(std::string_view name) noexcept {
  constexpr std::size_t longest = 127;
  const auto allowed = [](char c) {
    return is_alnum(c) || std::string_view("!#$&-^_.+").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= longest && is_alnum(name.front()) &&
         std::ranges::all_of(name, allowed);
}

/// The six bits of a base64 digit (RFC 4648, section 4), or -1.
int base64_value(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

/// Nothing unless `text` is padded base64 without anything else in it.
std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : static_cast<std::size_t>(text.ends_with('='));
  std::string result;
  result.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  unsigned held = 0;  // how many of the low bits of `bits` are not written yet
  for (const char c : text.substr(0, text.size() - padding)) {
    const int value = base64_value(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      result += static_cast<char>((bits >> held) & 0xffU);
    }
  }
  const bool canonical = (bits & ((1U << held) - 1U)) == 0;
  return canonical ? std::optional(std::move(result)) : std::nullopt;
}

std::optional<std::string> parse_data(const JsonObject& json, std::uint64_t size) {
  const auto text = json.text("data");
  // An empty string is as good as none, except where the content is empty as well.
  if (text.empty() && (size > 0 || !json.has("data"))) return std::nullopt;
  auto decoded = decode_base64(text);
  if (!decoded) json.refuse("data", "it is not base64");
  if (decoded->size() != size) json.refuse("data", "its length is not the size of the descriptor");
  return decoded;
}

std::vector<std::string> parse_urls(const JsonObject& json) {
  auto urls = json.texts("urls", max_urls);
  const auto printable = [](char c) { return c > ' ' && c != '\x7f'; };
  for (const auto& url : urls) {
    if (url.size() > max_url_length || !std::ranges::all_of(url, printable)) {
      json.refuse("urls", "one of them is not a URL");
    }
  }
  return urls;
}

}  // namespace

bool is_media_type(std::string_view text) noexcept {
  const auto slash = text.find('/');
  return slash != std::string_view::npos && is_restricted_name(text.substr(0, slash)) &&
         is_restricted_name(text.substr(slash + 1));
}

Digest parse_digest(const JsonObject& json, std::string_view key) {
  const auto text = json.text(key);
  if (text.empty()) json.refuse(key, "it is missing");
  auto digest = Digest::try_parse(text);
  if (!digest) json.refuse(key, "it is not a sha256 or sha512 digest");
  return *std::move(digest);
}

Platform parse_platform(const JsonObject& json) {
  Platform platform;
  platform.os = json.text("os");
  platform.architecture = json.text("architecture");
  platform.variant = json.text("variant");
  platform.os_version = json.text("os.version");
  platform.os_features = json.texts("os.features", max_os_features);
  return platform;
}

Descriptor parse_descriptor(const JsonObject& json) {
  Descriptor descriptor;
  descriptor.media_type = json.text("mediaType");
  if (!is_media_type(descriptor.media_type)) json.refuse("mediaType", "it is missing or malformed");
  descriptor.digest = parse_digest(json, "digest");
  const auto size = json.size("size");
  if (!size) json.refuse("size", "it is missing");
  descriptor.size = *size;
  descriptor.urls = parse_urls(json);
  descriptor.annotations = json.text_map("annotations");
  descriptor.data = parse_data(json, *size);
  descriptor.artifact_type = json.text("artifactType");
  if (const auto platform = json.object("platform")) descriptor.platform = parse_platform(*platform);
  return descriptor;
}

}  // namespace lazypull
