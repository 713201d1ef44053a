#include "transport/retrying_client.hpp"

#include "engine/retry_budget.hpp"
#include "transport/registry_error.hpp"

#include <boost/asio/steady_timer.hpp>

namespace lazypull {

RetryingClient::RetryingClient(asio::any_io_executor home, HttpOptions options, RetryPolicy policy)
    : http_(std::move(home), std::move(options)), policy_(policy), random_(std::random_device{}()) {}

Awaitable<std::unique_ptr<HttpResponse>> RetryingClient::send(HttpRequest request) {
  std::exception_ptr interrupted;
  for (int attempts = 1;; ++attempts) {
    std::unique_ptr<HttpResponse> response;
    std::exception_ptr failure;
    AttemptOutcome outcome;
    try {
      response = co_await http_.send(request);
      outcome.status = response->status();
      if (const auto after = response->head().fields.find("Retry-After"))
        outcome.retry_after = std::string(*after);
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) outcome.failure = as_error(failure).code();
    const double jitter = std::uniform_real_distribution<double>(0, 1)(random_);
    auto delay = retry_delay(policy_, attempts, outcome, jitter, std::chrono::system_clock::now());
    if (!request.patient) delay.reset();
    if (!delay && failure) std::rethrow_exception(failure);
    if (!delay) co_return response;
    if (request.budget && !request.budget->take()) {
      if (failure) throw request.budget->spent(as_error(failure));
      const auto refusal = co_await failure_of(*response, request.display());
      throw request.budget->spent(refusal);
    }
    if (response) co_await response->read_what_is_there(max_error_body_bytes);
    response.reset();
    const auto executor = co_await asio::this_coro::executor;
    const Span span(request.trace, "pause before retry", "registry", request.url.origin().host);
    asio::steady_timer pause(executor, *delay);
    try {
      co_await pause.async_wait(asio::use_awaitable);
    } catch (...) {
      interrupted = std::current_exception();
    }
    if (interrupted) rethrow_with_context(interrupted, request.display());
  }
}

}  // namespace lazypull
