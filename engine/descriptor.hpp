#pragma once

#include "engine/digest.hpp"
#include "engine/platform.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

using Labels = std::map<std::string, std::string>;

/// OCI content descriptor (image-spec, descriptor.md); also Docker's, which is a subset.
struct Descriptor {
  std::string media_type;
  Digest digest;
  std::uint64_t size = 0;  ///< bytes
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  std::optional<std::string> data;  ///< the content itself, decoded; verified like fetched content
  std::optional<Platform> platform;
  std::string artifact_type;

  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

namespace media_type {
inline constexpr std::string_view oci_index = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view oci_manifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view oci_config = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view docker_index = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view docker_manifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view docker_config = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view docker_schema1 = "application/vnd.docker.distribution.manifest.v1+json";
inline constexpr std::string_view docker_schema1_signed =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";

bool is_index(std::string_view type) noexcept;
bool is_manifest(std::string_view type) noexcept;
bool is_config(std::string_view type) noexcept;
/// OCI and Docker layers, compressed or not, foreign and non-distributable ones included.
bool is_layer(std::string_view type) noexcept;
/// Foreign (Docker) or non-distributable (OCI): `urls` say where the bytes are.
bool is_foreign_layer(std::string_view type) noexcept;
}  // namespace media_type

}  // namespace lazypull
