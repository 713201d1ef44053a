#include "tools/agent/process_metrics.hpp"

#include <sys/resource.h>
#include <system_error>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <unistd.h>

namespace lazypull {

namespace {

/// The fields after the command's name, which may hold anything: "state" is number 3 in proc(5).
constexpr int first_field = 3;

void read_stat(ProcessUsage& usage) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line)) return;
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return;
  std::istringstream fields(line.substr(name_end + 1));
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::string field;
  for (int number = first_field; fields >> field && number <= 24; ++number) {
    const auto value = std::strtoull(field.c_str(), nullptr, 10);
    if (number == 14 || number == 15) usage.cpu_seconds += static_cast<double>(value) / ticks;
    if (number == 20) usage.threads = value;
    if (number == 23) usage.virtual_bytes = value;
    if (number == 24) usage.resident_bytes = value * page;
  }
}

std::uint64_t count_fds() {
  std::error_code failure;
  const std::filesystem::directory_iterator entries("/proc/self/fd", failure);
  if (failure) return 0;
  const auto count = std::distance(begin(entries), end(entries));
  return count > 0 ? static_cast<std::uint64_t>(count - 1) : 0;  // less the one that reads the folder
}

}  // namespace

ProcessUsage process_usage() {
  ProcessUsage usage;
  read_stat(usage);
  usage.open_fds = count_fds();
  ::rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) usage.max_fds = limit.rlim_cur;
  return usage;
}

}  // namespace lazypull
