#include "engine/descriptor.hpp"

#include <algorithm>
#include <array>

namespace lazypull::media_type {

namespace {

constexpr std::string_view oci_layer_prefix = "application/vnd.oci.image.layer.";
constexpr std::string_view oci_foreign_prefix = "application/vnd.oci.image.layer.nondistributable.";
constexpr std::string_view docker_foreign_prefix = "application/vnd.docker.image.rootfs.foreign.";
constexpr std::array<std::string_view, 4> docker_layers{
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
};

}  // namespace

bool is_index(std::string_view type) noexcept {
  return type == oci_index || type == docker_index;
}

bool is_manifest(std::string_view type) noexcept {
  return type == oci_manifest || type == docker_manifest;
}

bool is_config(std::string_view type) noexcept {
  return type == oci_config || type == docker_config;
}

bool is_layer(std::string_view type) noexcept {
  if (type.starts_with(oci_layer_prefix)) return true;
  // Docker's types may be followed by "+zstd", "+encrypted" and the like.
  const auto base = type.substr(0, type.find('+'));
  return std::ranges::find(docker_layers, base) != docker_layers.end();
}

bool is_foreign_layer(std::string_view type) noexcept {
  return type.starts_with(oci_foreign_prefix) || type.starts_with(docker_foreign_prefix);
}

}  // namespace lazypull::media_type
