#include "tools/store_directory.hpp"

#include "engine/error.hpp"

#include <sys/stat.h>

#include <unistd.h>

namespace lazypull {
namespace {

bool exists(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0;
}

}  // namespace

std::string default_store_directory(bool root, const Environment& environment) {
  if (root) return "/var/lib/lazypull";
  // The specification of XDG base directories has relative paths ignored.
  const auto data = environment("XDG_DATA_HOME");
  if (data && data->starts_with('/')) return *data + "/lazypull";
  const auto home = environment("HOME");
  if (home && home->starts_with('/')) return *home + "/.local/share/lazypull";
  throw Error(Errc::invalid_argument, "no --store is given, and neither XDG_DATA_HOME nor HOME is set");
}

std::optional<std::string> store_directory(const Options& options, const Environment& environment) {
  if (!options.store.empty()) return options.store;
  if (options.address_given || exists(options.address)) return std::nullopt;
  return default_store_directory(::geteuid() == 0, environment);
}

}  // namespace lazypull
