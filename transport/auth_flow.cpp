#include "transport/auth_flow.hpp"

#include "engine/error.hpp"
#include "engine/reference.hpp"
#include "transport/http_message.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::size_t max_scopes = 32;
constexpr std::size_t max_text_bytes = 300;

std::vector<std::string> scopes_of(const Challenge& challenge, const std::string& repository) {
  std::vector<std::string> scopes;
  auto rest = challenge.parameter("scope").value_or("");
  while (!rest.empty() && scopes.size() < max_scopes) {
    const auto end = std::min(rest.find(' '), rest.size());
    if (end > 0) scopes.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (scopes.empty()) scopes.push_back("repository:" + repository + ":pull");
  std::sort(scopes.begin(), scopes.end());
  scopes.erase(std::unique(scopes.begin(), scopes.end()), scopes.end());
  return scopes;
}

// RFC 6750 section 3.1: why the token was not good enough, in the server's words.
std::string reason_of(const std::vector<Challenge>& challenges) {
  for (const auto& challenge : challenges) {
    const auto error = challenge.parameter("error");
    if (!error) continue;
    auto text = sanitise(*error, max_text_bytes);
    const auto description = challenge.parameter("error_description");
    if (description) text += " (" + sanitise(*description, max_text_bytes) + ")";
    return text;
  }
  return {};
}

const Challenge* find_scheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  const auto found = std::find_if(challenges.begin(), challenges.end(),
                                  [&](const Challenge& challenge) { return challenge.scheme == scheme; });
  return found == challenges.end() ? nullptr : &*found;
}

}  // namespace

std::string_view to_string(AuthAction action) noexcept {
  switch (action) {
    case AuthAction::send_plain:
      return "send_plain";
    case AuthAction::send_basic:
      return "send_basic";
    case AuthAction::send_bearer:
      return "send_bearer";
    case AuthAction::get_token:
      return "get_token";
    case AuthAction::accept:
      return "accept";
    case AuthAction::fail:
      return "fail";
  }
  return "?";
}

AuthFlow::AuthFlow(Origin registry, std::string repository, Credentials credentials)
    : registry_(std::move(registry)),
      repository_(std::move(repository)),
      credentials_(std::move(credentials)) {}

AuthAction AuthFlow::fail(std::string why) {
  failure_ = std::move(why);
  return AuthAction::fail;
}

AuthAction AuthFlow::begin(const std::optional<Challenge>& known) {
  if (known) {
    const auto action = answer(std::vector<Challenge>(1, *known));
    // What is remembered may be out of date, so the registry gets a chance to say so.
    replaceable_ = true;
    if (action != AuthAction::fail) return action;
    failure_.clear();
  }
  return sent_ = AuthAction::send_plain;
}

AuthAction AuthFlow::on_token(std::string token, bool cached) {
  token_ = std::move(token);
  replaceable_ = replaceable_ || cached;
  return sent_ = AuthAction::send_bearer;
}

AuthAction AuthFlow::on_response(int status, const std::vector<Challenge>& challenges) {
  if (status != 401) return AuthAction::accept;
  if (sent_ == AuthAction::send_plain) return answer(challenges);
  const auto reason = reason_of(challenges);
  if (replaceable_ && !replaced_) {
    replaced_ = true;
    replaceable_ = false;
    refused_token_ = token_;
    const bool was_basic = sent_ == AuthAction::send_basic;
    const auto action = answer(challenges);
    if (action != AuthAction::send_basic || !was_basic) return action;
  }
  if (sent_ == AuthAction::send_basic) return fail("the user name or password was refused");
  return fail(reason.empty() ? "the token was refused" : reason);
}

AuthAction AuthFlow::answer(const std::vector<Challenge>& challenges) {
  const auto* bearer = find_scheme(challenges, "bearer");
  const auto* basic = find_scheme(challenges, "basic");
  if (bearer != nullptr) {
    const auto action = answer_bearer(*bearer);
    if (action != AuthAction::fail || basic == nullptr || !credentials_.has_password()) return action;
  }
  if (basic != nullptr) {
    if (!credentials_.has_password()) return fail("no credentials for " + registry_.authority());
    answered_ = *basic;
    return sent_ = AuthAction::send_basic;
  }
  return fail("no challenge that we can answer");
}

AuthAction AuthFlow::answer_bearer(const Challenge& challenge) {
  if (!credentials_.registry_token.empty()) {
    if (token_ == credentials_.registry_token) return fail("the token was refused");
    answered_ = challenge;
    token_ = credentials_.registry_token;
    return sent_ = AuthAction::send_bearer;
  }
  const auto realm = challenge.parameter("realm");
  if (!realm) return fail("the Bearer challenge has no realm");
  try {
    auto url = Url::parse(*realm);
    if (registry_.tls && !url.origin().tls && !is_loopback_host(url.origin().host_port())) {
      return fail("the token service " + url.display() + " is not https, unlike the registry");
    }
    const std::string service(challenge.parameter("service").value_or(""));
    token_request_ = TokenRequest{std::move(url), service, scopes_of(challenge, repository_)};
  } catch (const Error& failure) {
    return fail("the Bearer challenge's realm: " + failure.message());
  }
  answered_ = challenge;
  return AuthAction::get_token;
}

}  // namespace lazypull
