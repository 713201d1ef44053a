#pragma once

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull::test {

struct Credentials {
  std::string user;
  std::string password;
};

struct TokenServerOptions {
  Credentials account{"alice", "wonderland"};   ///< may pull and push everything
  std::string public_prefix = "public/";        ///< repositories that anybody may pull
  std::string refresh_token = "refresh-alice";  ///< accepted instead of the password by the OAuth flow (POST)
  int expires_in = 300;                         ///< seconds
  bool oauth = true;                            ///< false: POST is answered 404, as older servers do
  bool access_token_field = false;              ///< answer `access_token` only instead of `token`
};

struct TokenRequest {
  std::string method;      ///< GET, or POST for OAuth
  std::string grant_type;  ///< of OAuth: password or refresh_token
  std::string user;        ///< as authenticated; empty is anonymous
  std::string service;
  std::vector<std::string> scopes;
  std::string client_id;
  std::string user_agent;
  int status = 0;
};
std::ostream& operator<<(std::ostream& out, const TokenRequest& request);

/// Issues the tokens that docker-registry's token authentication asks for (ES256, certificate in x5c), by GET
/// with or without Basic credentials, and by POST.
class TokenServer {
 public:
  explicit TokenServer(TokenServerOptions options = {});

  std::string realm() const { return realm_; }  ///< "http://127.0.0.1:41235/token"
  const std::filesystem::path& root_certificate() const { return certificate_; }
  const TokenServerOptions& options() const { return options_; }
  static constexpr const char* service = "registry.test";
  static constexpr const char* issuer = "token-server.test";

  std::vector<TokenRequest> requests() const;
  void reset_log();

 private:
  TokenServerOptions options_;
  TempDir folder_{"tokens"};
  std::filesystem::path certificate_;
  std::string realm_;
  std::optional<Process> process_;
  std::size_t log_start_ = 0;
};

}  // namespace lazypull::test
