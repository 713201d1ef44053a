#include "tools/agent/agent_config.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "tools/byte_size.hpp"
#include "transport/duration.hpp"
#include "transport/toml.hpp"

#include <set>
#include <stdexcept>

namespace lazypull {
namespace {

constexpr std::uint64_t max_config_file_bytes = 1U << 20U;

/// Reads the keys of one table, and in the end refuses those that nobody has asked for.
class TableReader {
 public:
  TableReader(const toml::table& table, const std::string& origin, std::string path)
      : table_(table), origin_(origin), path_(std::move(path)) {}

  void read(std::string_view key, std::string& value) {
    if (const auto* node = find(key)) value = text_of(*node, key);
  }
  void read(std::string_view key, bool& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    if (!node->is_boolean()) refuse(*node, key, "it is neither true nor false");
    value = node->as_boolean()->get();
  }
  void read(std::string_view key, std::vector<std::string>& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* list = node->as_array();
    if (list == nullptr) refuse(*node, key, "it is not a list");
    value.clear();
    for (const auto& item : *list) value.push_back(text_of(item, key));
  }
  void read(std::string_view key, std::map<std::string, std::string>& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* table = node->as_table();
    if (table == nullptr) refuse(*node, key, "it is not a table");
    for (const auto& [name, item] : *table) value[std::string(name.str())] = text_of(item, key);
  }
  void read_number(std::string_view key, std::size_t& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* number = node->as_integer();
    if (number == nullptr || number->get() < 0) refuse(*node, key, "it is not a number from 0 up");
    value = static_cast<std::size_t>(number->get());
  }
  void read_size(std::string_view key, std::uint64_t& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    if (const auto* number = node->as_integer(); number != nullptr && number->get() >= 0) {
      value = static_cast<std::uint64_t>(number->get());
      return;
    }
    const auto size = node->is_string() ? parse_byte_size(node->as_string()->get()) : std::nullopt;
    if (!size) refuse(*node, key, "it is not a number of bytes, such as 500000 or \"8M\"");
    value = *size;
  }
  void read_duration(std::string_view key, std::chrono::milliseconds& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto duration = node->is_string() ? parse_duration(node->as_string()->get()) : std::nullopt;
    if (!duration) refuse(*node, key, "it is not a duration, such as \"30s\"");
    value = std::chrono::ceil<std::chrono::milliseconds>(*duration);
  }
  /// What `parse` throws or leaves empty is a mistake of the file.
  template <class Parse>
  void read_with(std::string_view key, Parse parse) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto text = text_of(*node, key);
    try {
      parse(text);
    } catch (const Error& error) {
      refuse(*node, key, error.message());
    }
  }
  /// Calls `read` with the reader of a table of this name, if there is one.
  template <class Read>
  void section(std::string_view key, Read read) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* table = node->as_table();
    if (table == nullptr) refuse(*node, key, "it is not a table");
    TableReader reader(*table, origin_, path_ + std::string(key) + ".");
    read(reader);
    reader.finish();
  }
  void finish() const {
    for (const auto& [key, node] : table_) {
      if (!asked_.contains(std::string(key.str()))) refuse(node, key.str(), "there is no such setting");
    }
  }

 private:
  const toml::node* find(std::string_view key) {
    asked_.insert(std::string(key));
    return table_.get(key);
  }
  std::string text_of(const toml::node& node, std::string_view key) const {
    if (!node.is_string()) refuse(node, key, "it is not a string");
    return node.as_string()->get();
  }
  [[noreturn]] void refuse(const toml::node& node, std::string_view key, std::string_view why) const {
    throw Error(Errc::invalid_argument, origin_ + ": line " + std::to_string(node.source().begin.line) +
                                            ": " + path_ + std::string(key) + ": " + std::string(why));
  }

  const toml::table& table_;
  const std::string& origin_;
  std::string path_;
  std::set<std::string> asked_;
};

UnpackMode parse_unpack(const std::string& text) {
  if (text == "auto") return UnpackMode::automatic;
  if (text == "direct") return UnpackMode::direct;
  if (text == "diff-service") return UnpackMode::diff_service;
  throw Error(Errc::invalid_argument, "it is none of auto, direct, diff-service");
}

MinFree min_free(const std::string& text) {
  const auto value = parse_min_free(text);
  if (!value) throw Error(Errc::invalid_argument, "it is neither a size such as \"10G\" nor from 0% to 100%");
  return *value;
}

void read_containerd(TableReader& table, AgentConfig& config) {
  auto& containerd = config.containerd;
  table.read("address", containerd.address);
  table.read("namespace", containerd.name_space);
  table.read("snapshotter", containerd.snapshotter);
  table.read_with("unpack", [&](const auto& text) { containerd.unpack = parse_unpack(text); });
  table.read("discard_unpacked_layers", containerd.discard_unpacked_layers);
  table.read_duration("connect_timeout", containerd.connect_timeout);
  table.read("runtime_snapshotters", containerd.runtime_snapshotters);
}

void read_registry(TableReader& table, AgentConfig& config) {
  auto& registry = config.registry;
  table.read("hosts_dir", registry.hosts_dir);
  table.read("docker_config", registry.docker_config);
  table.read_duration("progress_timeout", registry.progress_timeout);
  table.read_duration("mirror_timeout", registry.mirror_timeout);
  table.read_size("concurrent_layer_fetch_buffer", registry.concurrent_layer_fetch_buffer);
  table.read_number("max_connections_per_host", registry.max_connections_per_host);
  table.read_number("retry_budget", registry.retry_budget);
  table.read("plain_http", registry.plain_http);
  table.read("skip_verify", registry.skip_verify);
}

void read_limits(TableReader& table, AgentConfig& config) {
  auto& limits = config.limits;
  table.read_number("max_concurrent_pulls", limits.max_concurrent_pulls);
  table.read_number("max_concurrent_prewarms", limits.max_concurrent_prewarms);
  table.read_number("max_concurrent_downloads", limits.max_concurrent_downloads);
  table.read_number("max_concurrent_downloads_per_registry", limits.max_concurrent_downloads_per_registry);
  table.read_number("max_concurrent_unpacks", limits.max_concurrent_unpacks);
  table.read_size("serving_rate", limits.serving_rate);
  table.read_size("prewarm_rate", limits.prewarm_rate);
  table.read_with("min_free", [&](const auto& text) { limits.min_free = min_free(text); });
}

void read_config(TableReader& table, AgentConfig& config) {
  table.read("socket", config.socket);
  table.read_duration("drain_timeout", config.drain_timeout);
  table.read("pinned_images", config.pinned_images);
  table.section("containerd", [&](TableReader& inner) { read_containerd(inner, config); });
  table.section("registry", [&](TableReader& inner) { read_registry(inner, config); });
  table.section("limits", [&](TableReader& inner) { read_limits(inner, config); });
  table.section("metrics", [&](TableReader& inner) { inner.read("address", config.metrics_address); });
  table.section("debug", [&](TableReader& inner) { inner.read("address", config.debug_address); });
  table.section("log", [&](TableReader& inner) {
    inner.read_with("level", [&](const auto& text) { config.log.level = parse_log_level(text); });
    inner.read_with("format", [&](const auto& text) { config.log.format = parse_log_format(text); });
  });
  table.finish();
}

}  // namespace

AgentConfig parse_agent_config(std::string_view text, const std::string& origin) {
  AgentConfig config;
  try {
    const auto result = toml::parse(text, std::string_view(origin));
    if (!result) {
      throw Error(Errc::invalid_argument,
                  origin + ": line " + std::to_string(result.error().source().begin.line) +
                      ": it is no TOML: " + std::string(result.error().description()));
    }
    TableReader reader(result.table(), origin, {});
    read_config(reader, config);
  } catch (const std::logic_error&) {
    throw Error(Errc::invalid_argument, origin + ": it is no TOML");
  }
  return config;
}

AgentConfig read_agent_config(const std::string& file) {
  return parse_agent_config(read_text(file, max_config_file_bytes), file);
}

}  // namespace lazypull
