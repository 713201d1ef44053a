#pragma once

#include "engine/digest.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace lazypull {

/// An image reference in normal form, after the grammar of distribution/reference and Docker's shorthand:
/// `alpine` is docker.io/library/alpine:latest, `user/app` is docker.io/user/app:latest, `index.docker.io` is
/// docker.io; a first component is a host when it has a dot or colon, is `localhost`, or has an upper-case
/// letter. A tag and a digest may both be given; the digest then decides what is pulled, and the name keeps
/// both.
class Reference {
 public:
  /// Throws Error{invalid_argument} that quotes the text and says what is wrong with it.
  static Reference parse(std::string_view text);

  const std::string& domain() const noexcept { return domain_; }    ///< "docker.io", "[::1]:5000"
  const std::string& repository() const noexcept { return path_; }  ///< "library/alpine"
  const std::optional<std::string>& tag() const noexcept { return tag_; }
  const std::optional<Digest>& digest() const noexcept { return digest_; }

  /// The name of containerd's image record: domain/repository[:tag][@digest], "latest" where neither is
  /// given.
  std::string name() const;
  /// What a registry's /manifests/ endpoint is asked for: the digest if there is one, else the tag.
  std::string object() const;
  /// The host that serves the API: registry-1.docker.io for docker.io, the domain otherwise.
  std::string api_host() const;
  /// domain/repository, without tag and digest.
  std::string locator() const;

  friend bool operator==(const Reference&, const Reference&) = default;

 private:
  std::string domain_;
  std::string path_;
  std::optional<std::string> tag_;
  std::optional<Digest> digest_;
};

/// True for localhost and loopback addresses (with or without a port): plain HTTP is then tried by default.
bool is_loopback_host(std::string_view host_and_port);

}  // namespace lazypull
