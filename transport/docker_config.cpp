#include "transport/docker_config.hpp"

#include "engine/error.hpp"
#include "transport/base64.hpp"
#include "transport/credential_helper.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace lazypull {

namespace json = boost::json;

namespace {

constexpr std::size_t max_config_file_bytes = 1U << 20U;
constexpr std::size_t max_helper_answers = 1000;
constexpr std::chrono::minutes helper_answer_lifetime{1};

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::string_view canonical_host(std::string_view host) {
  return host == "index.docker.io" || host == "registry-1.docker.io" ? "docker.io" : host;
}

// "https://host/v1/" is about the host; "host/path" is about that part of it.
std::string canonical_key(std::string_view key) {
  bool is_url = false;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!key.starts_with(scheme)) continue;
    key.remove_prefix(scheme.size());
    is_url = true;
  }
  const auto slash = key.find('/');
  std::string host(canonical_host(key.substr(0, slash)));
  if (slash == std::string_view::npos || is_url) return host;
  auto path = key.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.empty() || path == "/v1" || path == "/v2") return host;
  return host + std::string(path);
}

std::optional<Credentials> parse_entry(const json::object& entry) {
  Credentials credentials;
  credentials.username = text_of(entry, "username");
  credentials.password = text_of(entry, "password");
  credentials.identity_token = text_of(entry, "identitytoken");
  credentials.registry_token = text_of(entry, "registrytoken");
  const auto encoded = text_of(entry, "auth");
  if (!encoded.empty()) {
    auto decoded = base64_decode(encoded);
    const auto colon = decoded ? decoded->find(':') : std::string::npos;
    if (colon == std::string::npos) return std::nullopt;
    credentials.username = decoded->substr(0, colon);
    credentials.password = decoded->substr(colon + 1);
    // Docker pads some of them with zero bytes.
    while (credentials.password.ends_with('\0')) credentials.password.pop_back();
  }
  if (credentials.empty()) return std::nullopt;
  return credentials;
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(max_config_file_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > max_config_file_bytes)
    throw Error(Errc::invalid_argument, path + ": it is larger than 1 MiB");
  return text;
}

}  // namespace

DockerConfig DockerConfig::parse(std::string_view text, std::string_view origin) {
  boost::system::error_code failure;
  const auto value = json::parse(json::string_view(text.data(), text.size()), failure);
  if (failure) throw Error(Errc::invalid_argument, std::string(origin) + ": it is not valid JSON");
  if (!value.is_object())
    throw Error(Errc::invalid_argument, std::string(origin) + ": it is not a JSON object");
  DockerConfig config;
  config.store_ = text_of(value.get_object(), "credsStore");
  const auto* helpers = value.get_object().if_contains("credHelpers");
  if (helpers != nullptr && helpers->is_object()) {
    for (const auto& [key, name] : helpers->get_object()) {
      if (!name.is_string()) continue;
      config.helpers_.emplace(canonical_key({key.data(), key.size()}),
                              std::string(name.get_string().data(), name.get_string().size()));
    }
  }
  const auto* auths = value.get_object().if_contains("auths");
  if (auths == nullptr || !auths->is_object()) return config;
  for (const auto& [key, entry] : auths->get_object()) {
    if (!entry.is_object()) continue;
    if (auto credentials = parse_entry(entry.get_object())) {
      config.entries_.emplace(canonical_key({key.data(), key.size()}), std::move(*credentials));
    }
  }
  return config;
}

std::optional<Credentials> DockerConfig::find(std::string_view domain, std::string_view repository) const {
  const std::string host(canonical_host(domain));
  std::string key = host + "/" + std::string(repository);
  for (;;) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) return found->second;
    if (key.size() <= host.size()) return std::nullopt;
    key.resize(key.rfind('/'));
  }
}

std::string DockerConfig::helper(std::string_view domain) const {
  const auto found = helpers_.find(canonical_host(domain));
  return found == helpers_.end() ? store_ : found->second;
}

std::string helper_server(std::string_view domain) {
  const auto host = canonical_host(domain);
  return host == "docker.io" ? "https://index.docker.io/v1/" : std::string(host);
}

std::vector<std::string> docker_config_paths(const Environment& environment) {
  std::vector<std::string> paths;
  const auto home = environment("HOME");
  if (const auto file = environment("REGISTRY_AUTH_FILE")) paths.push_back(*file);
  if (const auto folder = environment("DOCKER_CONFIG")) {
    paths.push_back(*folder + "/config.json");
  } else if (home) {
    paths.push_back(*home + "/.docker/config.json");
  }
  if (const auto folder = environment("XDG_RUNTIME_DIR")) paths.push_back(*folder + "/containers/auth.json");
  if (home) paths.push_back(*home + "/.config/containers/auth.json");
  return paths;
}

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

Awaitable<Credentials> DockerConfigCredentials::find(std::string domain, std::string repository) {
  for (const auto& path : paths_) {
    const auto text = read_file(path);
    if (!text) continue;
    const auto config = DockerConfig::parse(*text, path);
    const auto helper = config.helper(domain);
    if (!helper.empty()) {
      auto answer = co_await ask(helper, helper_server(domain));
      if (!answer.empty()) co_return answer;
    }
    if (auto found = config.find(domain, repository)) co_return std::move(*found);
  }
  co_return Credentials();
}

Awaitable<Credentials> DockerConfigCredentials::ask(std::string helper, std::string server) {
  const HelperKey key = helper + " " + server;
  const auto known = answers_.find(key);
  if (known != answers_.end() && known->second.until > std::chrono::steady_clock::now()) {
    co_return known->second.credentials;
  }
  std::function<Awaitable<>()> work = [&] { return ask_now(key, helper, server); };
  co_await flights_.run(key, std::move(work));
  co_return answers_[key].credentials;
}

Awaitable<> DockerConfigCredentials::ask_now(HelperKey key, std::string helper, std::string server) {
  Answer answer;
  answer.credentials = co_await ask_credential_helper(std::move(helper), std::move(server));
  answer.until = std::chrono::steady_clock::now() + helper_answer_lifetime;
  if (answers_.size() >= max_helper_answers) answers_.clear();
  answers_.insert_or_assign(std::move(key), std::move(answer));
}

}  // namespace lazypull
