#pragma once

#include "transport/http_client.hpp"
#include "transport/retry_policy.hpp"

#include <random>

namespace lazypull {

/// Sends idempotent requests until the policy says that the outcome stands.
class RetryingClient {
 public:
  RetryingClient(asio::any_io_executor home, HttpOptions options, RetryPolicy policy);

  /// The last response, whatever its status, or the last failure. A request that is not patient is sent once;
  /// one whose pull has no retry left fails with what it would have been sent again for.
  Awaitable<std::unique_ptr<HttpResponse>> send(HttpRequest request);

  HttpClient& http() noexcept { return http_; }

 private:
  HttpClient http_;
  RetryPolicy policy_;
  std::minstd_rand random_;
};

/// Error bodies are short; what is longer is not worth reading for the sake of the connection.
inline constexpr std::size_t max_error_body_bytes = 64U << 10U;

}  // namespace lazypull
