#include "transport/registry_transport.hpp"

#include "transport/redirect.hpp"
#include "transport/registry_error.hpp"

namespace lazypull {

namespace {

constexpr std::size_t max_known_challenges = 1000;

HttpRequest make_request(const RegistryCall& call, const Url& url) {
  HttpRequest request(call.method, url);
  request.fields = call.fields;
  request.access = call.access;
  request.patient = call.patient;
  request.budget = call.budget;
  request.trace = call.trace;
  if (url.origin() != call.url.origin()) return request;
  for (const auto& field : call.host_fields) {
    if (!call.fields.find(field.name)) request.fields.add(field.name, field.value);
  }
  return request;
}

}  // namespace

RegistryTransport::RegistryTransport(asio::any_io_executor home, HttpOptions options, RetryPolicy retry,
                                     int max_redirects)
    : client_(std::move(home), std::move(options), retry), tokens_(client_), max_redirects_(max_redirects) {}

Awaitable<RegistryResponse> RegistryTransport::send(RegistryCall call) {
  return follow(std::move(call), Authorization::as_asked);
}

Awaitable<RegistryResponse> RegistryTransport::send_anonymously(RegistryCall call) {
  return follow(std::move(call), Authorization::none);
}

Awaitable<RegistryResponse> RegistryTransport::follow(RegistryCall call, Authorization authorization) {
  auto url = call.url;
  RegistryResponse answer;
  answer.what = call.method + " " + url.display();
  const auto what = answer.what;
  for (int redirects = 0;; ++redirects) {
    try {
      const bool has_own = call.host_fields.find("Authorization") && url.origin() == call.url.origin();
      answer.http.reset();
      if (authorization == Authorization::as_asked && !has_own) {
        answer.http = co_await send_authorized(call, url);
      } else {
        auto request = make_request(call, url);
        answer.http = co_await client_.send(std::move(request));
      }
    } catch (const Error& error) {
      if (redirects == 0) throw;
      throw error.with_context(what + ": redirected");
    }
    if (!is_redirect(answer.http->status())) break;
    if (redirects == max_redirects_) {
      throw Error(Errc::bad_response, what + ": more than " + std::to_string(max_redirects_) + " redirects");
    }
    url = redirect_target(*answer.http);
    co_await answer.http->read_what_is_there(max_error_body_bytes);
    answer.what = what + ": redirected to " + url.display();
  }
  co_return answer;
}

Awaitable<std::unique_ptr<HttpResponse>> RegistryTransport::send_authorized(const RegistryCall& call,
                                                                            const Url& url) {
  const auto credentials = url.origin() == call.url.origin() ? call.credentials : Credentials();
  const ChallengeKey key(url.origin(), call.repository);
  AuthFlow flow(url.origin(), call.repository, credentials);
  auto action = flow.begin(known_challenge(key));
  for (;;) {
    auto request = make_request(call, url);
    if (action == AuthAction::get_token) action = co_await get_token(flow, call, request, credentials);
    if (action == AuthAction::send_basic)
      request.fields.add("Authorization", basic_authorization(credentials));
    if (action == AuthAction::send_bearer)
      request.fields.add("Authorization", bearer_authorization(flow.token()));
    auto response = co_await client_.send(std::move(request));
    const auto challenges = parse_challenges(response->head().fields.all("WWW-Authenticate"));
    action = flow.on_response(response->status(), challenges);
    if (action == AuthAction::accept) {
      remember(key, flow.answered());
      co_return response;
    }
    if (action == AuthAction::fail) {
      const auto failure = co_await failure_of(*response, response->what());
      throw Error(Errc::unauthorized, failure.message() + ": " + flow.failure());
    }
    co_await response->read_what_is_there(max_error_body_bytes);
  }
}

Awaitable<AuthAction> RegistryTransport::get_token(AuthFlow& flow, const RegistryCall& call,
                                                   const HttpRequest& request, Credentials credentials) {
  try {
    auto answer =
        co_await tokens_.token(flow.token_request(), std::move(credentials), flow.refused_token(), request);
    co_return flow.on_token(std::move(answer.token), answer.cached);
  } catch (const Error& error) {
    throw error.with_context(call.method + " " + call.url.display() + ": authorization");
  }
}

std::optional<Challenge> RegistryTransport::known_challenge(const ChallengeKey& key) const {
  const auto found = challenges_.find(key);
  if (found == challenges_.end()) return std::nullopt;
  return found->second;
}

void RegistryTransport::remember(const ChallengeKey& key, const std::optional<Challenge>& challenge) {
  if (!challenge) return;
  if (challenges_.size() >= max_known_challenges) challenges_.clear();
  challenges_.insert_or_assign(key, *challenge);
}

}  // namespace lazypull
