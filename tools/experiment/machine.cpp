#include "tools/experiment/machine.hpp"

#include "engine/error.hpp"
#include "tools/experiment/child.hpp"
#include "tools/text.hpp"

#include <sys/utsname.h>
#include <sys/vfs.h>

#include <fstream>
#include <thread>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

/// The value of the first line of a file that begins with a name, after its colon.
std::string field(const char* file, const std::string& name) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(name)) continue;
    const auto colon = line.find(':');
    const auto start = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : printable(line.substr(start));
  }
  return "";
}

std::string first_line(std::vector<std::string> argv, const fs::path& work) {
  const auto file = work / "version";
  try {
    run_to_end(std::move(argv), file, work / "version.err", std::chrono::seconds(10));
  } catch (const Error& error) {
    if (error.code() == Errc::cancelled) throw;
    return "";
  }
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return printable(line.substr(0, 200));
}

std::string file_system(const fs::path& folder) {
  struct statfs info = {};
  if (::statfs(folder.c_str(), &info) != 0) return "unknown";
  switch (static_cast<unsigned long>(info.f_type)) {
    case 0x01021994:
      return "tmpfs";
    case 0xef53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683e:
      return "btrfs";
    case 0x794c7630:
      return "overlay";
    default:
      return "type " + std::to_string(info.f_type);
  }
}

}  // namespace

json::object describe_environment(const Programs& programs, const fs::path& work) {
  utsname system = {};
  ::uname(&system);
  json::object machine{{"system", printable(system.sysname) + std::string(" ") + printable(system.release)},
                       {"architecture", printable(system.machine)},
                       {"processors", std::thread::hardware_concurrency()},
                       {"processor", field("/proc/cpuinfo", "model name")},
                       {"memory", field("/proc/meminfo", "MemTotal")}};
  json::object versions{{"lazypull", LAZYPULL_VERSION}};
  const auto add = [&](const char* name, const std::string& program) {
    if (program.empty()) return;
    const auto line = first_line({program, "--version"}, work);
    if (!line.empty()) versions[name] = line;
  };
  add("containerd", programs.containerd);
  add("ctr", programs.ctr);
  add("ctr-remote", programs.ctr_remote);
  add("runc", "runc");
  json::object conditions{{"work_file_system", file_system(work)}};
  return {{"machine", std::move(machine)},
          {"versions", std::move(versions)},
          {"conditions", std::move(conditions)}};
}

}  // namespace lazypull::experiment
