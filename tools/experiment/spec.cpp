#include "tools/experiment/spec.hpp"

#include "engine/error.hpp"
#include "tools/experiment/yaml_reader.hpp"

#include <system_error>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;

template <class Value>
using Names = std::initializer_list<std::pair<std::string_view, Value>>;

constexpr Names<Puller> puller_names = {
    {"lazypull", Puller::lazypull}, {"ctr", Puller::ctr}, {"ctr-remote", Puller::ctr_remote}};
constexpr Names<SnapshotterKind> snapshotter_names = {{"overlayfs", SnapshotterKind::overlayfs},
                                                      {"native", SnapshotterKind::native},
                                                      {"stargz", SnapshotterKind::stargz},
                                                      {"lazypull", SnapshotterKind::lazypull}};
constexpr Names<Unpack> unpack_names = {
    {"auto", Unpack::automatic}, {"direct", Unpack::direct}, {"diff-service", Unpack::diff_service}};
constexpr Names<CacheState> cache_names = {
    {"cold", CacheState::cold}, {"base-warm", CacheState::base_warm}, {"all-warm", CacheState::all_warm}};

template <class Value>
std::string_view name_of(Names<Value> names, Value value) {
  for (const auto& [name, one] : names) {
    if (one == value) return name;
  }
  return "-";
}

template <class Value>
Value choose(const YamlReader& node, Names<Value> names) {
  const auto word = node.text();
  std::string allowed;
  for (const auto& [name, value] : names) {
    if (name == word) return value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  }
  node.refuse("'" + word + "' is none of " + allowed);
}

/// One axis of the matrix: at least one value, none twice.
template <class Value>
void read_axis(YamlMap& map, const char* key, Names<Value> names, std::vector<Value>& values) {
  const auto node = map.take(key);
  if (!node) return;
  values.clear();
  for (const auto& item : node->list(names.size())) {
    const auto value = choose(item, names);
    if (std::ranges::find(values, value) != values.end()) item.refuse("is there twice");
    values.push_back(value);
  }
  if (values.empty()) node->refuse("is empty");
}

/// Names of images and network profiles become parts of paths and of references.
std::string read_name(const YamlReader& node) {
  const auto name = node.text();
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  const auto outer = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const bool good = !name.empty() && name.size() <= 64 && std::ranges::all_of(name, allowed) &&
                    outer(name.front()) && outer(name.back());
  if (!good) {
    node.refuse("'" + name.substr(0, 64) +
                "' is no name: up to 64 of a-z 0-9 . _ -, with a letter or digit first and last");
  }
  return name;
}

std::vector<std::string> read_words(const YamlReader& node) {
  std::vector<std::string> words;
  for (const auto& item : node.list(SpecLimits::words)) words.push_back(item.text());
  return words;
}

Readiness read_readiness(const YamlReader& node) {
  Readiness ready;
  auto map = node.map();
  int kinds = 0;
  if (const auto log = map.take("log")) {
    ready.kind = Readiness::Kind::log;
    ready.log = log->text();
    ++kinds;
  }
  if (const auto tcp = map.take("tcp")) {
    ready.kind = Readiness::Kind::tcp;
    ready.port = static_cast<std::uint16_t>(tcp->number(1, 65535));
    ++kinds;
  }
  if (const auto command = map.take("command")) {
    ready.kind = Readiness::Kind::command;
    ready.command = read_words(*command);
    if (ready.command.empty()) command->refuse("is empty");
    ++kinds;
  }
  map.end();
  if (kinds != 1) node.refuse("needs exactly one of log, tcp and command");
  return ready;
}

void read_start(const YamlReader& node, ImageSpec& image) {
  if (node.is_scalar()) {
    image.start = node.boolean();
    return;
  }
  auto map = node.map();
  if (const auto command = map.take("command")) image.command = read_words(*command);
  if (const auto env = map.take("env")) {
    image.env = read_words(*env);
    for (const auto& variable : image.env) {
      if (variable.find('=') == std::string::npos || variable.front() == '=') {
        env->refuse("'" + variable + "' is not NAME=VALUE");
      }
    }
  }
  if (const auto user = map.take("user")) image.user = user->text();
  if (const auto ready = map.take("ready")) image.ready = read_readiness(*ready);
  if (const auto timeout = map.take("timeout")) image.timeout = timeout->duration();
  if (const auto settle = map.take("settle")) image.settle = settle->duration();
  map.end();
}

ImageSpec read_image(const YamlReader& node, const fs::path& folder) {
  ImageSpec image;
  auto map = node.map();
  image.name = read_name(map.need("name"));
  image.layout = folder / map.need("layout").text();
  if (const auto estargz = map.take("estargz")) image.estargz = folder / estargz->text();
  if (const auto base = map.take("base_layers")) image.base_layers = base->number(1, 1000);
  if (const auto start = map.take("start")) read_start(*start, image);
  map.end();
  return image;
}

NetworkProfile read_network(const YamlReader& node) {
  NetworkProfile profile;
  auto& faults = profile.faults;
  auto map = node.map();
  profile.name = read_name(map.need("name"));
  if (const auto latency = map.take("connect_latency")) faults.connect_latency = latency->duration();
  if (const auto latency = map.take("latency")) faults.latency = latency->duration();
  if (const auto jitter = map.take("jitter")) faults.jitter = jitter->duration();
  if (const auto bandwidth = map.take("bandwidth")) faults.bandwidth = bandwidth->bytes();
  if (const auto bandwidth = map.take("connection_bandwidth")) {
    faults.connection_bandwidth = bandwidth->bytes();
  }
  if (const auto mean = map.take("cut_mean")) faults.cut_mean = mean->bytes();
  if (const auto rules = map.take("faults")) {
    for (const auto& rule : rules->list(SpecLimits::words)) {
      try {
        faults.rules.push_back(parse_fault_rule(rule.text()));
      } catch (const Error& error) {
        rule.refuse(error.message());
      }
    }
  }
  map.end();
  return profile;
}

void read_networks(const YamlReader& node, Spec& spec) {
  for (const auto& item : node.list(SpecLimits::networks)) {
    auto profile = read_network(item);
    const bool known = std::ranges::any_of(
        spec.networks, [&](const NetworkProfile& other) { return other.name == profile.name; });
    if (known) item.refuse("the name '" + profile.name + "' is there twice");
    spec.networks.push_back(std::move(profile));
  }
}

Exclusion read_exclusion(const YamlReader& node, const Spec& spec) {
  Exclusion exclusion;
  auto map = node.map();
  const auto take = [&](const char* key, std::string& into) {
    if (const auto value = map.take(key)) into = value->text();
  };
  if (const auto image = map.take("image")) {
    exclusion.image = image->text();
    const bool known = std::ranges::any_of(
        spec.images, [&](const ImageSpec& other) { return other.name == exclusion.image; });
    if (!known) image->refuse("there is no image '" + exclusion.image + "'");
  }
  if (const auto network = map.take("network")) {
    exclusion.network = network->text();
    const bool known = std::ranges::any_of(
        spec.networks, [&](const NetworkProfile& other) { return other.name == exclusion.network; });
    if (!known) network->refuse("there is no network '" + exclusion.network + "'");
  }
  if (const auto puller = map.take("puller")) {
    exclusion.puller = to_string(choose(*puller, puller_names));
  }
  if (const auto snapshotter = map.take("snapshotter")) {
    exclusion.snapshotter = to_string(choose(*snapshotter, snapshotter_names));
  }
  take("unpack", exclusion.unpack);
  if (const auto cache = map.take("cache")) exclusion.cache = to_string(choose(*cache, cache_names));
  map.end();
  return exclusion;
}

void read_matrix(const YamlReader& node, Spec& spec) {
  auto map = node.map();
  read_axis(map, "pullers", puller_names, spec.pullers);
  read_axis(map, "snapshotters", snapshotter_names, spec.snapshotters);
  read_axis(map, "unpack", unpack_names, spec.unpack);
  read_axis(map, "caches", cache_names, spec.caches);
  if (const auto exclude = map.take("exclude")) {
    for (const auto& item : exclude->list(SpecLimits::words)) {
      spec.exclude.push_back(read_exclusion(item, spec));
    }
  }
  map.end();
}

void read_programs(const YamlReader& node, const fs::path& folder, Programs& programs) {
  auto map = node.map();
  const auto take = [&](const char* key, std::string& into) {
    const auto value = map.take(key);
    if (!value) return;
    const auto text = value->text();
    into = text.find('/') == std::string::npos ? text : (folder / text).string();
  };
  take("lazypull", programs.lazypull);
  take("containerd", programs.containerd);
  take("ctr", programs.ctr);
  take("ctr-remote", programs.ctr_remote);
  take("stargz", programs.stargz);
  map.end();
}

void read_images(const YamlReader& node, const fs::path& folder, Spec& spec) {
  for (const auto& item : node.list(SpecLimits::images)) {
    auto image = read_image(item, folder);
    const bool known =
        std::ranges::any_of(spec.images, [&](const ImageSpec& other) { return other.name == image.name; });
    if (known) item.refuse("the name '" + image.name + "' is there twice");
    spec.images.push_back(std::move(image));
  }
  if (spec.images.empty()) node.refuse("is empty");
}

void check_base_layers(const YamlReader& root, const Spec& spec) {
  if (std::ranges::find(spec.caches, CacheState::base_warm) == spec.caches.end()) return;
  for (const auto& image : spec.images) {
    if (image.base_layers == 0) {
      root.refuse("image '" + image.name + "' needs base_layers for the cache state base-warm");
    }
  }
}

}  // namespace

std::string_view to_string(Puller puller) noexcept {
  return name_of(puller_names, puller);
}
std::string_view to_string(SnapshotterKind snapshotter) noexcept {
  return name_of(snapshotter_names, snapshotter);
}
std::string_view to_string(Unpack unpack) noexcept {
  return name_of(unpack_names, unpack);
}
std::string_view to_string(CacheState cache) noexcept {
  return name_of(cache_names, cache);
}

Spec parse_spec(const std::string& text, const std::string& what, const fs::path& folder) {
  const auto root = YamlReader::parse(text, what, SpecLimits::bytes, SpecLimits::word_bytes);
  Spec spec;
  auto map = root.map();
  spec.name = read_name(map.need("name"));
  if (const auto seed = map.take("seed")) spec.seed = seed->number(0, (1ULL << 53U) - 1);
  if (const auto count = map.take("repetitions")) {
    spec.repetitions = count->number(1, SpecLimits::repetitions);
  }
  read_images(map.need("images"), folder, spec);
  if (const auto networks = map.take("networks")) read_networks(*networks, spec);
  if (spec.networks.empty()) spec.networks.push_back({"direct", {}});
  if (const auto matrix = map.take("matrix")) read_matrix(*matrix, spec);
  if (const auto programs = map.take("programs")) read_programs(*programs, folder, spec.programs);
  if (const auto work = map.take("work")) spec.work = folder / work->text();
  if (const auto layers = map.take("publish_layers")) spec.publish_layers = layers->number(1, 1000);
  if (const auto timeout = map.take("pull_timeout")) spec.pull_timeout = timeout->duration();
  map.end();
  check_base_layers(root, spec);
  return spec;
}

Spec read_spec(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    const int reason = errno;
    throw Error(reason == EACCES ? Errc::permission_denied : Errc::not_found,
                file.string() + ": " + std::generic_category().message(reason));
  }
  std::string text(SpecLimits::bytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  const auto parent = fs::absolute(file).parent_path();
  return parse_spec(text, file.string(), parent);
}

}  // namespace lazypull::experiment
