#include "transport/token_flow.hpp"

#include "engine/error.hpp"
#include "transport/base64.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>

namespace lazypull {

namespace json = boost::json;

namespace {

constexpr std::chrono::seconds least_lifetime{60};
constexpr std::chrono::seconds most_lifetime{std::chrono::hours{24}};
constexpr std::string_view client_id = "lazypull";

void add_pair(std::string& form, std::string_view name, std::string_view value) {
  if (!form.empty()) form += '&';
  form += percent_encode(name) + "=" + percent_encode(value);
}

std::string make_form(TokenStep step, const TokenRequest& request, const Credentials& credentials) {
  std::string scopes;
  for (const auto& scope : request.scopes) scopes += scopes.empty() ? scope : " " + scope;
  std::string form;
  const bool refresh = step == TokenStep::post_refresh_token;
  add_pair(form, "grant_type", refresh ? "refresh_token" : "password");
  add_pair(form, "client_id", client_id);
  if (!request.service.empty()) add_pair(form, "service", request.service);
  add_pair(form, "scope", scopes);
  if (refresh) {
    add_pair(form, "refresh_token", credentials.identity_token);
  } else {
    add_pair(form, "username", credentials.username);
    add_pair(form, "password", credentials.password);
  }
  return form;
}

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::chrono::seconds lifetime_of(const json::object& object) {
  const auto* value = object.if_contains("expires_in");
  if (value == nullptr || !value->is_number()) return least_lifetime;
  const double seconds = value->to_number<double>();
  if (!(seconds > static_cast<double>(least_lifetime.count()))) return least_lifetime;
  if (seconds > static_cast<double>(most_lifetime.count())) return most_lifetime;
  return std::chrono::seconds(static_cast<std::int64_t>(seconds));
}

}  // namespace

std::string_view to_string(TokenStep step) noexcept {
  switch (step) {
    case TokenStep::get_anonymous:
      return "get_anonymous";
    case TokenStep::get_basic:
      return "get_basic";
    case TokenStep::post_password:
      return "post_password";
    case TokenStep::post_refresh_token:
      return "post_refresh_token";
    case TokenStep::accept:
      return "accept";
    case TokenStep::fail:
      return "fail";
  }
  return "?";
}

TokenStep TokenFlow::begin() {
  asked_ = TokenStep::get_anonymous;
  if (credentials_.has_password()) asked_ = TokenStep::post_password;
  if (!credentials_.identity_token.empty()) asked_ = TokenStep::post_refresh_token;
  return asked_;
}

TokenStep TokenFlow::on_status(int status) {
  if (status == 200) return TokenStep::accept;
  const bool posted = asked_ == TokenStep::post_password || asked_ == TokenStep::post_refresh_token;
  const bool no_post =
      status == 400 || status == 401 || status == 404 || status == 405 || (status >= 300 && status < 400);
  asked_ = posted && no_post && credentials_.has_password() ? TokenStep::get_basic : TokenStep::fail;
  return asked_;
}

HttpRequest make_token_request(TokenStep step, const TokenRequest& request, const Credentials& credentials) {
  if (step == TokenStep::post_password || step == TokenStep::post_refresh_token) {
    HttpRequest post("POST", request.realm);
    post.fields.add("Accept", "application/json");
    post.fields.add("Content-Type", "application/x-www-form-urlencoded");
    post.body = make_form(step, request, credentials);
    return post;
  }
  auto url = request.realm;
  if (!request.service.empty()) url = url.with_parameter("service", request.service);
  for (const auto& scope : request.scopes) url = url.with_parameter("scope", scope);
  HttpRequest get("GET", std::move(url));
  get.fields.add("Accept", "application/json");
  if (step == TokenStep::get_basic) get.fields.add("Authorization", basic_authorization(credentials));
  return get;
}

Token parse_token(std::string_view body) {
  boost::system::error_code failure;
  const auto value = json::parse(json::string_view(body.data(), body.size()), failure);
  if (failure || !value.is_object()) throw Error(Errc::bad_response, "the token is not in a JSON object");
  const auto& object = value.get_object();
  Token token;
  token.value = text_of(object, "token");
  if (token.value.empty()) token.value = text_of(object, "access_token");
  if (token.value.empty()) throw Error(Errc::bad_response, "there is no token in the response");
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (!std::all_of(token.value.begin(), token.value.end(), printable)) {
    throw Error(Errc::bad_response, "the token has characters that no token may have");
  }
  token.lifetime = lifetime_of(object);
  return token;
}

std::string basic_authorization(const Credentials& credentials) {
  return "Basic " + base64_encode(credentials.username + ":" + credentials.password);
}

std::string bearer_authorization(std::string_view token) {
  return "Bearer " + std::string(token);
}

}  // namespace lazypull
