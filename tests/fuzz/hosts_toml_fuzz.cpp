#include "engine/error.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "transport/hosts_toml.hpp"

namespace lazypull::fuzz {

namespace {

void check(const HostEntry& entry) {
  require(!entry.api_root.ends_with('/'), "an API root ends without a slash", entry.api_root);
  require(entry.api_root.find('?') == std::string::npos, "an API root has no query", entry.api_root);
  if (entry.origin) require(!entry.origin->host.empty() && entry.origin->port != 0, "an origin is whole");
  for (const auto& file : entry.ca_files) require(file.starts_with('/'), "a file is absolute", file);
  for (const auto& field : entry.headers) {
    require(!field.name.empty(), "a header has a name");
    require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
            "a header is one line", field.name);
  }
}

}  // namespace

void fuzz_hosts_toml(Bytes input) {
  const std::string file = "/etc/containerd/certs.d/registry.example.com/hosts.toml";
  try {
    const auto entries = parse_hosts_toml(text_of(input), file);
    require(!entries.empty() && entries.size() <= 101, "the registry, and at most 100 hosts before it");
    for (const auto& entry : entries) check(entry);
    for (std::size_t i = 0; i + 1 < entries.size(); ++i) {
      require(entries[i].origin.has_value(), "each host says who it is");
    }
  } catch (const Error& error) {
    require(error.code() == Errc::invalid_argument, "refused as an argument", error.message());
    require(error.message().starts_with(file + ": "), "the message names the file", error.message());
    require_message(error.message(), 20'000);
  }
}

}  // namespace lazypull::fuzz
