#include "tests/integration/support/registry.hpp"

#include <boost/json.hpp>

#include <fstream>
#include <ostream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace lazypull::test {

namespace {

namespace fs = std::filesystem;

// "[::]:5000" and the like; the registry tells the port that the kernel chose.
std::uint16_t port_of(const std::string& log) {
  static const std::regex listening(R"(listening on [^ "]*:(\d+))");
  std::smatch match;
  if (!std::regex_search(log, match, listening)) return 0;
  return static_cast<std::uint16_t>(std::stoul(match[1]));
}

// Combined log format: ADDRESS - USER [TIME] "METHOD PATH VERSION" STATUS BYTES "REFERER" "AGENT"
std::optional<RegistryRequest> parse_line(const std::string& line) {
  static const std::regex format(
      R"re(^\S+ \S+ \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "[^"]*" "(.*)"$)re");
  std::smatch match;
  if (!std::regex_match(line, match, format)) return std::nullopt;
  return RegistryRequest{.method = match[1],
                         .path = match[2],
                         .status = std::stoi(match[3]),
                         .bytes = std::stoull(match[4]),
                         .user_agent = match[5]};
}

// The state letter in /proc/PID/task/TID/stat, after the name in parentheses.
bool all_threads_sleep(pid_t pid) {
  std::error_code gone;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(task.path() / "stat");
    std::string text;
    std::getline(file, text);
    const auto name_end = text.rfind(')');
    if (name_end != std::string::npos && text.compare(name_end, 3, ") S") != 0) return false;
  }
  return true;
}

// The access log's line is written after the answer; once no thread has anything to do all lines are there.
void wait_until_idle(pid_t pid) {
  int quiet = 0;
  wait_until([&] { return (quiet = all_threads_sleep(pid) ? quiet + 1 : 0) >= 4; },
             "the registry to become idle");
}

std::pair<std::string, std::string> split_name(std::string_view name) {
  const auto colon = name.rfind(':');
  if (colon == std::string_view::npos) throw std::invalid_argument("no tag in " + std::string(name));
  return {std::string(name.substr(0, colon)), std::string(name.substr(colon + 1))};
}

constexpr const char* storage_folder = "storage/docker/registry/v2";

// "sha256:…" as the storage has it, "sha256/…".
fs::path path_of(std::string_view digest) {
  const auto colon = digest.find(':');
  return fs::path(digest.substr(0, colon)) / digest.substr(colon + 1);
}

void write_link(const fs::path& folder, const std::string& digest) {
  write_file(folder / "link", digest);
}

// Every manifest and index has a schema version, no config has; layers are not JSON.
bool is_manifest(const std::string& bytes) {
  if (!bytes.starts_with('{')) return false;
  boost::system::error_code failure;
  const auto document = boost::json::parse(bytes, failure);
  return !failure && document.is_object() && document.as_object().contains("schemaVersion");
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const RegistryRequest& request) {
  return out << request.method << ' ' << request.path << ' ' << request.status << ' ' << request.bytes << " ("
             << request.user_agent << ')';
}

Registry::Registry(RegistryOptions options) : options_(std::move(options)) {
  if (options_.tls) certificates_ = make_certificates(folder_.path());
  if (options_.basic) {
    write_file(folder_ / "htpasswd",
               run_ok({"htpasswd", "-Bbn", options_.basic->user, options_.basic->password}));
  }
  start();
}

std::string Registry::host() const {
  return "127.0.0.1:" + std::to_string(port_);
}

std::string Registry::config() const {
  std::ostringstream text;
  text << "version: 0.1\n"
       << "log: {level: info, formatter: text}\n"
       << "storage: {filesystem: {rootdirectory: " << (folder_ / "storage").string()
       << "}, delete: {enabled: true},\n"
       << "  maintenance: {uploadpurging: {enabled: false}}}\n"
       << "http:\n  addr: 127.0.0.1:" << port_ << "\n  secret: not-secret\n";
  if (options_.tls) {
    text << "  tls:\n    certificate: " << certificates_.server.string()
         << "\n    key: " << certificates_.server_key.string() << '\n';
    if (options_.client_certificate) text << "    clientcas: [" << certificates_.ca.string() << "]\n";
  }
  if (options_.basic) {
    text << "auth: {htpasswd: {realm: registry, path: " << (folder_ / "htpasswd").string() << "}}\n";
  }
  if (options_.tokens != nullptr) {
    text << "auth: {token: {realm: \"" << options_.tokens->realm() << "\", service: " << TokenServer::service
         << ", issuer: " << TokenServer::issuer
         << ", rootcertbundle: " << options_.tokens->root_certificate().string() << "}}\n";
  }
  if (!options_.proxy_of.empty()) text << "proxy: {remoteurl: \"" << options_.proxy_of << "\"}\n";
  return text.str();
}

void Registry::start() {
  write_file(folder_ / "config.yml", config());
  // Settings of the environment would override the file, telemetry would phone out.
  process_.emplace(Argv{"docker-registry", "serve", (folder_ / "config.yml").string()},
                   ProcessOptions{.env = {{"OTEL_TRACES_EXPORTER", "none"}}});
  log_start_ = 0;
  wait_until(
      [this] {
        if (!process_->running()) throw std::runtime_error("docker-registry ended: " + process_->err());
        const auto port = port_of(process_->err());
        if (port != 0) port_ = port;
        return port != 0;
      },
      "docker-registry to listen");
}

std::string Registry::store(const Image& image, std::string_view name) {
  const auto [repository, tag] = split_name(name);
  const fs::path folder = folder_ / storage_folder / "repositories" / repository;
  for (const auto& [digest, bytes] : image.blobs) {
    write_file(blob_file(digest), bytes);
    write_link(folder / "_layers" / path_of(digest), digest);
    if (is_manifest(bytes)) write_link(folder / "_manifests/revisions" / path_of(digest), digest);
  }
  write_link(folder / "_manifests/revisions" / path_of(image.digest), image.digest);
  retag(name, image.digest);
  return reference(name);
}

fs::path Registry::blob_file(const std::string& digest) const {
  const fs::path path = path_of(digest);
  const std::string hex = path.filename();
  return folder_ / storage_folder / "blobs" / path.parent_path() / hex.substr(0, 2) / hex / "data";
}

void Registry::retag(std::string_view name, const std::string& digest) {
  const auto [repository, tag] = split_name(name);
  const fs::path folder = folder_ / storage_folder / "repositories" / repository / "_manifests/tags" / tag;
  fs::remove_all(folder);
  if (digest.empty()) return;
  write_link(folder / "current", digest);
  write_link(folder / "index" / path_of(digest), digest);
}

std::vector<RegistryRequest> Registry::requests(std::string_view user_agent) {
  wait_until_idle(process_->pid());
  std::vector<RegistryRequest> result;
  std::istringstream lines(process_->out(log_start_));
  for (std::string line; std::getline(lines, line);) {
    auto request = parse_line(line);
    if (request && request->user_agent.starts_with(user_agent)) result.push_back(*std::move(request));
  }
  return result;
}

std::vector<std::string> Registry::fetched_blobs(std::string_view user_agent) {
  std::vector<std::string> digests;
  for (const auto& request : requests(user_agent)) {
    const auto at = request.path.find("/blobs/");
    if (request.method != "GET" || at == std::string::npos) continue;
    if (request.status == 200 || request.status == 206) digests.push_back(request.path.substr(at + 7));
  }
  return digests;
}

void Registry::reset_log() {
  wait_until_idle(process_->pid());
  log_start_ = process_->out().size();
}

}  // namespace lazypull::test
