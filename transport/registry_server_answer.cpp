#include "transport/registry_server_answer.hpp"

#include "transport/registry_server_range.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::string_view json_type = "application/json";
constexpr std::size_t max_page = 1000;

ServedResponse json_response(const boost::json::object& object) {
  ServedResponse response;
  response.text = boost::json::serialize(object);
  response.fields.add("Content-Type", std::string(json_type));
  return response;
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Nothing if it is malformed. The result may hold any bytes; what is made of it is parsed by its grammar.
std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

struct Target {
  std::string path;
  std::string query;
};

std::optional<Target> parse_target(std::string_view target) {
  // Servers accept the absolute form too (RFC 9112, section 3.2.2).
  if (const auto scheme = target.find("://"); !target.starts_with('/') && scheme != std::string_view::npos) {
    const auto slash = target.find('/', scheme + 3);
    if (slash == std::string_view::npos) return std::nullopt;
    target.remove_prefix(slash);
  }
  const auto mark = target.find('?');
  auto path = percent_decode(target.substr(0, mark));
  if (!path || !path->starts_with('/')) return std::nullopt;
  const auto query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  return Target{*std::move(path), std::string(query)};
}

std::optional<std::string> parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    if (!pair.starts_with(name) || pair.size() == name.size() || pair[name.size()] != '=') continue;
    return percent_decode(pair.substr(name.size() + 1));
  }
  return std::nullopt;
}

// The `n` names after `last` (distribution-spec, "Listing Tags"), and a link to the next page if there is
// one.
ServedResponse list_page(boost::json::object object, std::string_view member, const Target& target,
                         const std::vector<std::string>& names) {
  auto size = max_page;
  if (const auto wanted = parameter(target.query, "n")) {
    const auto number = parse_decimal(*wanted);
    if (!number) return answer_error(400, "PAGINATION_NUMBER_INVALID", "n is no number");
    size = static_cast<std::size_t>(std::min<std::uint64_t>(*number, max_page));
  }
  const auto last = parameter(target.query, "last").value_or("");
  auto from = std::upper_bound(names.begin(), names.end(), last);
  const auto count = std::min(size, static_cast<std::size_t>(names.end() - from));
  const auto to = from + static_cast<std::ptrdiff_t>(count);
  auto& list = object[member].emplace_array();
  for (auto name = from; name != to; ++name) list.emplace_back(*name);
  auto response = json_response(object);
  if (to != names.end() && count > 0) {
    response.fields.add(
        "Link", "<" + target.path + "?n=" + std::to_string(size) + "&last=" + *(to - 1) + ">; rel=\"next\"");
  }
  return response;
}

ServedResponse list_tags(const ServedLayouts& layouts, const std::string& repository, const Target& target) {
  const auto* tags = layouts.tags(repository);
  if (tags == nullptr) return answer_error(404, "NAME_UNKNOWN", "there is no repository " + repository);
  std::vector<std::string> names;
  for (const auto& [tag, digest] : *tags) names.push_back(tag);
  return list_page({{"name", repository}}, "tags", target, names);
}

std::variant<ServedResponse, WantedBlob> find_manifest(const ServedLayouts& layouts,
                                                       const std::string& repository,
                                                       const std::string& reference) {
  std::optional<Digest> digest;
  if (is_tag(reference)) {
    digest = layouts.find(repository, reference);
    if (!digest) return answer_error(404, "MANIFEST_UNKNOWN", repository + " has no tag " + reference);
  } else {
    digest = Digest::try_parse(reference);
    if (!digest) return answer_error(400, "DIGEST_INVALID", "neither a tag nor a digest");
  }
  const auto* type = layouts.manifest_type(*digest);
  if (type == nullptr) return answer_error(404, "MANIFEST_UNKNOWN", "there is no manifest " + digest->str());
  return WantedBlob{*std::move(digest), *type, true};
}

std::variant<ServedResponse, WantedBlob> find_blob(const ServedLayouts& layouts, const std::string& text) {
  auto digest = Digest::try_parse(text);
  if (!digest) return answer_error(400, "DIGEST_INVALID", "no sha256 or sha512 digest");
  auto type = layouts.blob_type(*digest);
  return WantedBlob{*std::move(digest), std::move(type), false};
}

// "/v2/" NAME "/" KIND "/" REST, where NAME may have slashes and REST has none.
std::variant<ServedResponse, WantedBlob> route_repository(const ServedLayouts& layouts,
                                                          const Target& target) {
  const std::string_view path = std::string_view(target.path).substr(4);
  const auto rest_at = path.rfind('/');
  const auto kind_at =
      rest_at == std::string_view::npos || rest_at == 0 ? rest_at : path.rfind('/', rest_at - 1);
  if (rest_at == std::string_view::npos || kind_at == std::string_view::npos || kind_at == rest_at) {
    return answer_error(404, "UNSUPPORTED", "there is no such endpoint");
  }
  const std::string repository(path.substr(0, kind_at));
  const auto kind = path.substr(kind_at + 1, rest_at - kind_at - 1);
  const std::string rest(path.substr(rest_at + 1));
  if (!is_repository_name(repository)) return answer_error(400, "NAME_INVALID", "no repository name");
  if (kind == "manifests") return find_manifest(layouts, repository, rest);
  if (kind == "blobs") return find_blob(layouts, rest);
  if (kind == "tags" && rest == "list") return list_tags(layouts, repository, target);
  return answer_error(404, "UNSUPPORTED", "there is no such endpoint");
}

std::string etag_of(const WantedBlob& wanted) {
  return "\"" + wanted.digest.str() + "\"";
}

// Weak comparison, as If-None-Match wants it (RFC 9110, section 13.1.2).
bool names_etag(const ServedRequest& request, std::string_view etag) {
  for (auto list : request.fields.all("If-None-Match")) {
    while (!list.empty()) {
      const auto comma = list.find(',');
      auto entry = trim(list.substr(0, comma));
      list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
      if (entry.starts_with("W/")) entry.remove_prefix(2);
      if (entry == "*" || entry == etag) return true;
    }
  }
  return false;
}

ServedRange wanted_range(const ServedRequest& request, std::string_view etag, std::uint64_t size) {
  const ServedRange whole{ServedRange::Kind::whole, 0, size};
  const auto ranges = request.fields.all("Range");
  if (request.method != "GET" || ranges.size() != 1) return whole;
  // There is no Last-Modified, so a date never matches.
  const auto condition = request.fields.find("If-Range");
  if (condition && trim(*condition) != etag) return whole;
  return parse_range(ranges.front(), size);
}

}  // namespace

ServedResponse answer_error(int status, std::string_view code, std::string_view message) {
  const boost::json::object error{{"code", code}, {"message", message}};
  auto response = json_response({{"errors", boost::json::array{error}}});
  response.status = status;
  return response;
}

ServedResponse answer_missing(const WantedBlob& wanted) {
  const auto& digest = wanted.digest.str();
  if (wanted.is_manifest) return answer_error(404, "MANIFEST_UNKNOWN", "there is no manifest " + digest);
  return answer_error(404, "BLOB_UNKNOWN", "there is no blob " + digest);
}

std::variant<ServedResponse, WantedBlob> route(const ServedLayouts& layouts, const ServedRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") {
    auto response = answer_error(405, "UNSUPPORTED", "this registry is read-only");
    response.fields.add("Allow", "GET, HEAD");
    return response;
  }
  const auto target = parse_target(request.target);
  if (!target) return answer_error(400, "UNSUPPORTED", "malformed request target");
  if (target->path == "/v2" || target->path == "/v2/") return json_response({});
  if (target->path == "/v2/_catalog") {
    return list_page({}, "repositories", *target, layouts.repositories());
  }
  if (target->path.starts_with("/v2/")) return route_repository(layouts, *target);
  return answer_error(404, "UNSUPPORTED", "there is no such endpoint");
}

ServedResponse answer_blob(const ServedRequest& request, const WantedBlob& wanted, std::uint64_t size) {
  const auto etag = etag_of(wanted);
  if (names_etag(request, etag)) {
    ServedResponse response;
    response.status = 304;
    response.fields.add("ETag", etag);
    response.fields.add("Docker-Content-Digest", wanted.digest.str());
    return response;
  }
  const auto range = wanted_range(request, etag, size);
  const auto total = std::to_string(size);
  if (range.kind == ServedRange::Kind::unsatisfiable) {
    auto response = answer_error(416, "RANGE_INVALID", "the blob has " + total + " bytes");
    response.fields.add("Content-Range", "bytes */" + total);
    return response;
  }
  ServedResponse response;
  response.first = range.first;
  response.blob_bytes = range.length;
  response.fields.add("Content-Type", wanted.media_type);
  response.fields.add("Docker-Content-Digest", wanted.digest.str());
  response.fields.add("ETag", etag);
  response.fields.add("Accept-Ranges", "bytes");
  if (range.kind == ServedRange::Kind::part) {
    response.status = 206;
    const auto last = range.first + range.length - 1;
    response.fields.add("Content-Range",
                        "bytes " + std::to_string(range.first) + "-" + std::to_string(last) + "/" + total);
  }
  return response;
}

}  // namespace lazypull
