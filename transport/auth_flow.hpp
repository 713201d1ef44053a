#pragma once

#include "transport/challenge.hpp"
#include "transport/credentials.hpp"
#include "transport/url.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// What a token is asked for (Docker's token authentication specification).
struct TokenRequest {
  Url realm;
  std::string service;
  std::vector<std::string> scopes;  ///< sorted, without duplicates

  friend bool operator==(const TokenRequest&, const TokenRequest&) = default;
};

/// What to do next about the authorization of one request.
enum class AuthAction {
  send_plain,   ///< send it without Authorization
  send_basic,   ///< send it with the user name and password
  send_bearer,  ///< send it with `AuthFlow::token()`
  get_token,    ///< get one for `token_request()`, other than `refused_token()`, then say `on_token`
  accept,       ///< the response is the caller's
  fail,         ///< `failure()` says why
};

std::string_view to_string(AuthAction action) noexcept;

/// Decides how one request to a registry is authorized. Pure: facts go in, actions come out. Credentials are
/// never used before a challenge has asked for them; a token that is refused is replaced once.
class AuthFlow {
 public:
  /// `repository` is what a Bearer token is asked for where the challenge has no scope.
  AuthFlow(Origin registry, std::string repository, Credentials credentials);

  /// `known` is what the registry answered to an earlier request of this kind, which saves a refusal.
  AuthAction begin(const std::optional<Challenge>& known);
  /// `cached`: the token has been used before, so it may have been revoked since.
  AuthAction on_token(std::string token, bool cached);
  AuthAction on_response(int status, const std::vector<Challenge>& challenges);

  const TokenRequest& token_request() const { return *token_request_; }
  const std::string& token() const noexcept { return token_; }
  /// The token that the registry has just refused; empty if none.
  const std::string& refused_token() const noexcept { return refused_token_; }
  /// The challenge that was answered, to be remembered for the next request.
  const std::optional<Challenge>& answered() const noexcept { return answered_; }
  const std::string& failure() const noexcept { return failure_; }

 private:
  AuthAction answer(const std::vector<Challenge>& challenges);
  AuthAction answer_bearer(const Challenge& challenge);
  AuthAction fail(std::string why);

  Origin registry_;
  std::string repository_;
  Credentials credentials_;
  AuthAction sent_ = AuthAction::send_plain;
  std::optional<Challenge> answered_;
  std::optional<TokenRequest> token_request_;
  std::string token_;
  std::string refused_token_;
  std::string failure_;
  bool replaceable_ = false;  // the token at hand may be stale
  bool replaced_ = false;
};

}  // namespace lazypull
