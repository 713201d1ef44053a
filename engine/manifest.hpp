#pragma once

#include "engine/descriptor.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// Bounds on what a registry may make us parse.
inline constexpr std::uint64_t max_manifest_bytes = 4ULL << 20U;
inline constexpr std::uint64_t max_config_bytes = 8ULL << 20U;
inline constexpr std::size_t max_layers = 1000;
inline constexpr std::size_t max_index_entries = 2000;
inline constexpr int max_index_depth = 4;

/// OCI image manifest or Docker image manifest, schema 2.
struct Manifest {
  std::string media_type;
  Descriptor config;
  std::vector<Descriptor> layers;

  /// `declared_type` is the media type of the descriptor or Content-Type that led here; a `mediaType` field
  /// inside that contradicts it is an error, as are both `manifests` and `layers` at once (CVE-2021-41190),
  /// duplicate keys, nesting deeper than 32, negative sizes and bad digests. Throws Error{bad_response};
  /// Error{unsupported} for schema 1 and unknown types; Error{invalid_image} where a limit is exceeded.
  static Manifest parse(std::string_view json, std::string_view declared_type);
};

/// OCI image index or Docker manifest list.
struct Index {
  std::string media_type;
  std::vector<Descriptor> manifests;

  static Index parse(std::string_view json, std::string_view declared_type);
};

/// The image's config, as far as a pull needs it.
struct ImageConfig {
  Platform platform;
  std::vector<Digest> diff_ids;

  /// rootfs.type must be "layers" or absent. Throws Error{bad_response} or Error{invalid_image}.
  static ImageConfig parse(std::string_view json);
};

/// The entries of an index that are wanted, in order of preference; `limit` 0 is no limit. An entry without
/// a platform matches everything, as for containerd; it comes after those that have one.
std::vector<Descriptor> choose_manifests(const Index& index, const PlatformMatcher& matcher,
                                         std::size_t limit);

}  // namespace lazypull
