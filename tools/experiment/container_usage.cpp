#include "tools/experiment/container_usage.hpp"

#include "tools/experiment/child.hpp"

#include <fstream>
#include <map>
#include <sstream>

namespace lazypull::experiment {
namespace {

const std::string root = "/sys/fs/cgroup";

std::optional<double> read_number(const std::string& file) {
  std::ifstream stream(file);
  double value = 0;
  if (!(stream >> value)) return std::nullopt;
  return value;
}

/// A field of a file with lines "NAME VALUE".
std::optional<double> read_field(const std::string& file, const std::string& name) {
  std::ifstream stream(file);
  std::string key;
  double value = 0;
  while (stream >> key >> value) {
    if (key == name) return value;
  }
  return std::nullopt;
}

/// The paths of /proc/PID/cgroup by controller; that of version 2 is under "".
std::map<std::string, std::string> groups_of(pid_t pid) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/cgroup");
  std::map<std::string, std::string> paths;
  for (std::string line; std::getline(stream, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    const auto path = line.substr(second + 1);
    if (first + 1 == second) paths[""] = path;
    for (std::string name; std::getline(names, name, ',');) paths[name] = path;
  }
  return paths;
}

std::optional<ContainerUsage> version_1(const std::map<std::string, std::string>& paths) {
  const auto cpu = paths.find("cpuacct");
  const auto memory = paths.find("memory");
  if (cpu == paths.end() || memory == paths.end()) return std::nullopt;
  const auto nanoseconds = read_number(root + "/cpuacct" + cpu->second + "/cpuacct.usage");
  const auto peak = read_number(root + "/memory" + memory->second + "/memory.max_usage_in_bytes");
  if (!nanoseconds || !peak) return std::nullopt;
  return ContainerUsage{"cgroup", *nanoseconds / 1e9, static_cast<std::uint64_t>(*peak)};
}

std::optional<ContainerUsage> version_2(const std::map<std::string, std::string>& paths) {
  const auto path = paths.find("");
  if (path == paths.end()) return std::nullopt;
  const auto microseconds = read_field(root + path->second + "/cpu.stat", "usage_usec");
  auto peak = read_number(root + path->second + "/memory.peak");
  if (!peak) peak = read_number(root + path->second + "/memory.current");
  if (!microseconds || !peak) return std::nullopt;
  return ContainerUsage{"cgroup", *microseconds / 1e6, static_cast<std::uint64_t>(*peak)};
}

}  // namespace

std::optional<ContainerUsage> container_usage(pid_t pid) {
  const auto paths = groups_of(pid);
  if (const auto usage = version_1(paths)) return usage;
  if (const auto usage = version_2(paths)) return usage;
  const auto usage = usage_of(pid);
  if (!usage) return std::nullopt;
  return ContainerUsage{"process", usage->cpu_seconds, usage->peak_memory};
}

}  // namespace lazypull::experiment
