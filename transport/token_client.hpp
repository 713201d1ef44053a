#pragma once

#include "engine/single_flight.hpp"
#include "transport/retrying_client.hpp"
#include "transport/token_flow.hpp"

#include <functional>
#include <string>
#include <unordered_map>

namespace lazypull {

/// Gets Bearer tokens and keeps them for as long as they are valid; those who want the same one at the same
/// time share a request.
class TokenClient {
 public:
  explicit TokenClient(RetryingClient& client) : client_(client) {}

  struct Answer {
    std::string token;
    bool cached = false;
  };

  /// A token that is not `refused`. `like` is the request that needs it: the service is reached with the same
  /// TLS options and the same patience. Throws Error{unauthorized} where the service refuses, otherwise what
  /// went wrong with the request; the message names the service's URL and no secret.
  Awaitable<Answer> token(TokenRequest request, Credentials credentials, std::string refused,
                          const HttpRequest& like);

 private:
  struct Cached {
    std::string token;
    Clock::time_point expires;
  };

  const std::string* find(const std::string& key);
  Awaitable<> fetch(const std::string& key, const TokenRequest& request, const Credentials& credentials,
                    const HttpRequest& like);
  Awaitable<std::unique_ptr<HttpResponse>> ask(TokenStep step, const TokenRequest& request,
                                               const Credentials& credentials, const HttpRequest& like);
  void keep(const std::string& key, Token token);

  RetryingClient& client_;
  std::unordered_map<std::string, Cached> cache_;
  SingleFlight<std::string> flights_;
};

}  // namespace lazypull
