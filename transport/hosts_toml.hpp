#pragma once

#include "transport/http_message.hpp"
#include "transport/tls_options.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

inline constexpr std::size_t max_hosts_toml_bytes = 1U << 20U;

/// One host of a hosts.toml, or what a folder of certificates in Docker's layout says about the registry.
struct HostEntry {
  std::optional<Origin> origin;  ///< none is the registry itself
  std::string api_root = "/v2";  ///< what the paths of the distribution API begin with; no slash at its end
  bool resolve = true;           ///< may be asked which digest a tag has
  bool pull = true;              ///< may be asked for what has a digest
  std::vector<std::string> ca_files;
  std::vector<ClientCertificate> clients;
  std::optional<bool> skip_verify;  ///< none: as for other registries
  HttpFields headers;
  std::optional<std::chrono::milliseconds> dial_timeout;
};

/// Reads a hosts.toml as containerd has it: the hosts in the order of the file, then the registry itself or
/// its `server`. `file` is its path: relative paths of certificates start from its folder, and messages begin
/// with it. Fields that are not known are passed over. Throws Error{invalid_argument} that names the file and
/// the field, or the line where it is no TOML.
std::vector<HostEntry> parse_hosts_toml(std::string_view text, const std::string& file);

}  // namespace lazypull
