#pragma once

#include "transport/docker_config.hpp"
#include "transport/hosts_toml.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Where hosts.toml files are looked for if nobody says where: /etc/containerd/certs.d and
/// /etc/docker/certs.d, and for others than root before them the same below $XDG_CONFIG_HOME or ~/.config.
std::vector<std::string> default_hosts_directories(const Environment& environment, bool is_root);

/// What the first of the directories that knows the registry says about it; empty where none does. `registry`
/// is the domain of a reference, "docker.io" or "registry.example.com:5000", and its folder is called
/// `registry.example.com_5000_`, as it is, or `_default`. A folder without a hosts.toml may have certificates
/// in Docker's layout: NAME.crt are authorities, NAME.cert client certificates, NAME.key their keys. Throws
/// Error{invalid_argument} or {permission_denied} that names the file.
std::vector<HostEntry> load_hosts(const std::vector<std::string>& directories, std::string_view registry);

}  // namespace lazypull
