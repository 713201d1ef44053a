#pragma once

#include <string>
#include <vector>

namespace lazypull::test {

/// A certificate and its key, PEM; made on the spot, so that none is kept in the tree or expires.
struct Identity {
  std::string certificate;
  std::string key;
};

/// A certificate authority's, which signs others.
Identity make_authority(const std::string& name);

/// For `names` (DNS names or IP addresses), signed by `authority`, or by itself if there is none.
Identity make_identity(const std::vector<std::string>& names, const Identity* authority = nullptr);

}  // namespace lazypull::test
