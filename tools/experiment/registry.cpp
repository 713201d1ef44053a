#include "tools/experiment/registry.hpp"

#include "engine/error.hpp"
#include "transport/http_message.hpp"

#include <algorithm>
#include <fstream>
#include <optional>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds start_limit{20'000};
/// One run of a small image writes a few kilobytes.
constexpr std::uint64_t longest_log = 256U << 20U;

/// The bytes of one line: `CLIENT - - [TIME] "REQUEST" STATUS BYTES "REFERER" "USER AGENT"`. Quotes inside
/// the texts are escaped, so the second one ends the request.
std::optional<std::uint64_t> bytes_of(std::string_view line) {
  const auto open = line.find('"');
  const auto close = open == std::string_view::npos ? open : line.find('"', open + 1);
  if (close == std::string_view::npos || close + 2 > line.size()) return std::nullopt;
  auto rest = line.substr(close + 2);
  const auto blank = rest.find(' ');
  if (blank == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(blank + 1);
  const auto text = rest.substr(0, rest.find(' '));
  if (text == "-") return 0;
  return parse_decimal(text);
}

/// What a server prints first: "listening on http://ADDRESS:PORT".
std::string address_in(const fs::path& greeting) {
  std::ifstream stream(greeting);
  std::string line;
  const std::string start = "listening on http://";
  if (!std::getline(stream, line) || stream.eof() || !line.starts_with(start)) return "";
  const auto rest = line.substr(start.size());
  return rest.substr(0, rest.find_first_of(" /"));
}

}  // namespace

Traffic count_traffic(std::string_view log) {
  Traffic sum;
  while (!log.empty()) {
    const auto end = log.find('\n');
    const auto line = log.substr(0, end);
    if (const auto bytes = bytes_of(line)) {
      sum.bytes += *bytes;
      ++sum.requests;
    }
    log.remove_prefix(end == std::string_view::npos ? log.size() : end + 1);
  }
  return sum;
}

ExperimentRegistry::ExperimentRegistry(const Programs& programs, const std::vector<fs::path>& layouts,
                                       const std::vector<NetworkProfile>& networks, fs::path folder)
    : folder_(std::move(folder)), log_(folder_ / "access.log") {
  std::vector<std::string> serve = {programs.lazypull, "registry", "serve", "--access-log", log_.string()};
  for (const auto& layout : layouts) serve.push_back(layout.string());
  const auto origin = start("registry", std::move(serve));
  for (const auto& network : networks) {
    if (network.direct()) {
      hosts_[network.name] = origin;
      continue;
    }
    const auto profile = folder_ / ("network-" + network.name + ".json");
    std::ofstream(profile) << to_json(network.faults);
    hosts_[network.name] =
        start("proxy-" + network.name, {programs.lazypull, "registry", "proxy", "--profile", profile.string(),
                                        "--access-log", "none", "http://" + origin});
  }
}

std::string ExperimentRegistry::start(const std::string& name, std::vector<std::string> argv) {
  const auto greeting = folder_ / (name + ".out");
  processes_.push_back(std::make_unique<Child>(std::move(argv), greeting, folder_ / (name + ".err")));
  std::string address;
  const auto ready = [&] {
    address = address_in(greeting);
    return !address.empty();
  };
  wait_until_ready(*processes_.back(), ready, start_limit);
  return address;
}

std::string ExperimentRegistry::reference(const std::string& network, const ServedImage& image) const {
  return hosts_.at(network) + "/" + image.repository + ":latest";
}

std::uint64_t ExperimentRegistry::position() const {
  std::error_code failure;
  const auto size = fs::file_size(log_, failure);
  return failure ? 0 : size;
}

Traffic ExperimentRegistry::between(std::uint64_t from, std::uint64_t to) const {
  std::ifstream stream(log_, std::ios::binary);
  const auto end = std::min(to, position());
  if (!stream || end <= from) return {};
  std::string text(static_cast<std::size_t>(std::min(end - from, longest_log)), '\0');
  stream.seekg(static_cast<std::streamoff>(from));
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  return count_traffic(text);
}

}  // namespace lazypull::experiment
