#pragma once

#include <filesystem>

namespace lazypull::test {

/// PEM files of a throw-away authority: a server certificate for localhost, 127.0.0.1 and ::1, and one for
/// clients.
struct Certificates {
  std::filesystem::path ca;
  std::filesystem::path server;
  std::filesystem::path server_key;
  std::filesystem::path client;
  std::filesystem::path client_key;
};

/// Makes them with openssl in `folder`.
Certificates make_certificates(const std::filesystem::path& folder);

}  // namespace lazypull::test
