#pragma once

#include "transport/auth_flow.hpp"
#include "transport/http_message.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace lazypull {

/// How a token service is asked next.
enum class TokenStep {
  get_anonymous,       ///< GET, without credentials
  get_basic,           ///< GET, with Basic
  post_password,       ///< POST, OAuth2 grant type `password`
  post_refresh_token,  ///< POST, OAuth2 grant type `refresh_token`
  accept,              ///< the response has the token
  fail,                ///< the response is a refusal
};

std::string_view to_string(TokenStep step) noexcept;

/// Decides how to get a token. Pure. With credentials it is OAuth2's POST first, because it keeps the
/// password out of server logs and serves refresh tokens; services without it answer 404, 405, 401 or 400, or
/// redirect, and are then asked with GET.
class TokenFlow {
 public:
  explicit TokenFlow(Credentials credentials) : credentials_(std::move(credentials)) {}

  TokenStep begin();
  TokenStep on_status(int status);

 private:
  Credentials credentials_;
  TokenStep asked_ = TokenStep::fail;
};

struct Token {
  std::string value;
  std::chrono::seconds lifetime{60};
};

/// The request for a step.
HttpRequest make_token_request(TokenStep step, const TokenRequest& request, const Credentials& credentials);

/// The body of a token service's answer: `token` or `access_token`; `expires_in` in seconds, 60 if missing or
/// less. Throws Error{bad_response}, which does not quote the body.
Token parse_token(std::string_view body);

/// The value of an Authorization header.
std::string basic_authorization(const Credentials& credentials);
std::string bearer_authorization(std::string_view token);

}  // namespace lazypull
