#include "transport/token_client.hpp"

#include "engine/digest.hpp"
#include "engine/retry_budget.hpp"
#include "transport/redirect.hpp"
#include "transport/registry_error.hpp"

namespace lazypull {

namespace {

constexpr std::size_t max_token_response_bytes = 1U << 20U;
constexpr std::size_t max_cached_tokens = 1000;
constexpr int max_token_redirects = 10;
constexpr int max_broken_answers = 3;
// A token should not expire between here and the registry.
constexpr std::chrono::seconds safety_margin{10};

// Secrets are in it as a hash only.
std::string cache_key(const TokenRequest& request, const Credentials& credentials) {
  std::string key = request.realm.str() + "\n" + request.service;
  for (const auto& scope : request.scopes) key += "\n" + scope;
  const auto secret =
      Digest::sha256_of(std::string_view(credentials.password + "\n" + credentials.identity_token));
  return key + "\n\n" + credentials.username + "\n" + secret.str();
}

// Some services repeat in their refusal what they were sent.
void hide(std::string& text, const std::string& secret) {
  static constexpr std::string_view shown = "<hidden>";
  if (secret.empty()) return;
  for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + shown.size())) {
    text.replace(at, secret.size(), shown);
  }
}

Error without_secrets(const Error& error, const Credentials& credentials) {
  auto message = error.message();
  hide(message, credentials.password);
  hide(message, credentials.identity_token);
  // Whatever the service calls it (400, 403 and 404 are in use), it has refused to give a token.
  return {is_transient(error.code()) ? error.code() : Errc::unauthorized, std::move(message)};
}

}  // namespace

Awaitable<TokenClient::Answer> TokenClient::token(TokenRequest request, Credentials credentials,
                                                  std::string refused, const HttpRequest& like) {
  const auto key = cache_key(request, credentials);
  const auto* known = find(key);
  Answer answer;
  if (known != nullptr && *known != refused) {
    answer.token = *known;
    answer.cached = true;
    co_return answer;
  }
  cache_.erase(key);
  std::function<Awaitable<>()> work = [&] { return fetch(key, request, credentials, like); };
  co_await flights_.run(key, std::move(work));
  known = find(key);
  if (known == nullptr) throw Error(Errc::internal, "a token vanished from the cache");
  answer.token = *known;
  co_return answer;
}

const std::string* TokenClient::find(const std::string& key) {
  const auto found = cache_.find(key);
  if (found == cache_.end()) return nullptr;
  if (found->second.expires > Clock::now()) return &found->second.token;
  cache_.erase(found);
  return nullptr;
}

void TokenClient::keep(const std::string& key, Token token) {
  const auto now = Clock::now();
  if (cache_.size() >= max_cached_tokens) {
    std::erase_if(cache_, [&](const auto& entry) { return entry.second.expires <= now; });
  }
  if (cache_.size() >= max_cached_tokens) cache_.clear();
  cache_.insert_or_assign(key, Cached{std::move(token.value), now + token.lifetime - safety_margin});
}

Awaitable<> TokenClient::fetch(const std::string& key, const TokenRequest& request,
                               const Credentials& credentials, const HttpRequest& like) {
  const Span span(like.trace, "auth", "auth", request.realm.origin().host);
  auto traced = like;
  traced.trace = span.point();
  TokenFlow flow(credentials);
  auto step = flow.begin();
  auto asked = step;
  std::unique_ptr<HttpResponse> response;
  while (step != TokenStep::accept && step != TokenStep::fail) {
    if (response) co_await response->read_what_is_there(max_error_body_bytes);
    response.reset();
    asked = step;
    response = co_await ask(step, request, credentials, traced);
    step = flow.on_status(response->status());
  }
  if (step == TokenStep::fail) {
    const auto failure = co_await failure_of(*response, response->what());
    throw without_secrets(failure, credentials);
  }
  std::string body;
  for (int tries = 1;; ++tries) {
    std::exception_ptr failure;
    try {
      body = co_await response->read_all(max_token_response_bytes);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) break;
    const bool again = response->broke_off() && tries < max_broken_answers;
    if (!again || (like.budget && !like.budget->take())) std::rethrow_exception(failure);
    response = co_await ask(asked, request, credentials, traced);
    if (response->status() / 100 != 2) std::rethrow_exception(failure);
  }
  try {
    keep(key, parse_token(body));
  } catch (const Error& error) {
    throw error.with_context(response->what());
  }
}

// Follows redirects of GET only: a POST has a secret in its body, which is for the realm alone.
Awaitable<std::unique_ptr<HttpResponse>> TokenClient::ask(TokenStep step, const TokenRequest& request,
                                                          const Credentials& credentials,
                                                          const HttpRequest& like) {
  auto http_request = make_token_request(step, request, credentials);
  http_request.access = like.access;
  http_request.patient = like.patient;
  http_request.budget = like.budget;
  http_request.trace = like.trace;
  const auto realm = http_request.url.origin();
  for (int redirects = 0;; ++redirects) {
    auto response = co_await client_.send(http_request);
    if (http_request.method != "GET" || !is_redirect(response->status())) co_return response;
    if (redirects == max_token_redirects) {
      throw Error(Errc::bad_response,
                  response->what() + ": more than " + std::to_string(max_token_redirects) + " redirects");
    }
    auto target = redirect_target(*response);
    co_await response->read_what_is_there(max_error_body_bytes);
    const auto anonymous = make_token_request(TokenStep::get_anonymous, request, credentials);
    HttpRequest next("GET", std::move(target));
    next.fields = next.url.origin() == realm ? http_request.fields : anonymous.fields;
    next.access = like.access;
    next.patient = like.patient;
    next.budget = like.budget;
    next.trace = like.trace;
    http_request = std::move(next);
  }
}

}  // namespace lazypull
