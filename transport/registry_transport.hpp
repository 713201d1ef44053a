#pragma once

#include "transport/auth_flow.hpp"
#include "transport/token_client.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace lazypull {

/// One request to a registry's API.
struct RegistryCall {
  RegistryCall(std::string call_method, Url call_url)
      : method(std::move(call_method)), url(std::move(call_url)) {}

  std::string method;  ///< GET or HEAD
  Url url;
  HttpFields fields;
  std::string repository;
  Credentials credentials;              ///< for the URL's origin and no other
  HttpFields host_fields;               ///< likewise; Authorization among them goes before the credentials
  std::shared_ptr<HostAccess> access;   ///< null: as the client's options say; redirects and tokens share it
  bool patient = true;                  ///< see HttpRequest
  std::shared_ptr<RetryBudget> budget;  ///< see HttpRequest
  TracePoint trace;                     ///< see HttpRequest
};

struct RegistryResponse {
  std::unique_ptr<HttpResponse> http;
  std::string what;  ///< for messages: the request, and where it was redirected to
};

/// Carries out registry requests: authorization, redirects and retries. Authorization is only ever sent to
/// the origin that it is for; where a redirect leads elsewhere and that host asks for a token, an anonymous
/// one is tried.
class RegistryTransport {
 public:
  RegistryTransport(asio::any_io_executor home, HttpOptions options, RetryPolicy retry, int max_redirects);

  /// Any status but a redirect and 401 is a response; 401 is Error{unauthorized}.
  Awaitable<RegistryResponse> send(RegistryCall call);
  /// For URLs that are not of a registry: like `send`, without any authorization; 401 is a response.
  Awaitable<RegistryResponse> send_anonymously(RegistryCall call);

 private:
  enum class Authorization { as_asked, none };
  using ChallengeKey = std::pair<Origin, std::string>;

  Awaitable<RegistryResponse> follow(RegistryCall call, Authorization authorization);
  Awaitable<std::unique_ptr<HttpResponse>> send_authorized(const RegistryCall& call, const Url& url);
  Awaitable<AuthAction> get_token(AuthFlow& flow, const RegistryCall& call, const HttpRequest& request,
                                  Credentials credentials);
  std::optional<Challenge> known_challenge(const ChallengeKey& key) const;
  void remember(const ChallengeKey& key, const std::optional<Challenge>& challenge);

  RetryingClient client_;
  TokenClient tokens_;
  int max_redirects_;
  std::map<ChallengeKey, Challenge> challenges_;  // by origin and repository
};

}  // namespace lazypull
