#include "transport/registry_error.hpp"

#include "transport/retrying_client.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>

namespace lazypull {

namespace json = boost::json;

namespace {

constexpr std::size_t max_text_bytes = 500;
constexpr std::size_t max_errors = 3;

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  if (value == nullptr || !value->is_string()) return {};
  return sanitise({value->get_string().data(), value->get_string().size()}, max_text_bytes);
}

std::string join(std::string first, std::string_view separator, const std::string& second) {
  if (first.empty() || second.empty()) return first + second;
  return first.append(separator).append(second);
}

// {"errors": [{"code": "DENIED", "message": "…"}]}
std::string describe_errors(const json::array& errors) {
  std::string text;
  for (std::size_t i = 0; i < std::min(errors.size(), max_errors); ++i) {
    if (!errors[i].is_object()) continue;
    const auto& error = errors[i].get_object();
    text = join(std::move(text), "; ", join(text_of(error, "code"), ": ", text_of(error, "message")));
  }
  return text;
}

}  // namespace

Errc errc_of_status(int status) noexcept {
  switch (status) {
    case 401:
    case 407:
      return Errc::unauthorized;
    case 403:
    case 451:
      return Errc::forbidden;
    case 404:
    case 410:
      return Errc::not_found;
    case 408:
      return Errc::timed_out;
    case 429:
      return Errc::too_many_requests;
    default:
      return status >= 500 && status < 600 ? Errc::server_error : Errc::bad_response;
  }
}

std::string describe_error_body(std::string_view body) {
  boost::system::error_code failure;
  const auto value = json::parse(json::string_view(body.data(), body.size()), failure);
  if (failure || !value.is_object()) return {};
  const auto& object = value.get_object();
  const auto* errors = object.if_contains("errors");
  if (errors != nullptr && errors->is_array()) {
    auto text = describe_errors(errors->get_array());
    if (!text.empty()) return sanitise(text, max_text_bytes);
  }
  auto text = join(text_of(object, "error"), ": ", text_of(object, "error_description"));
  for (const std::string_view key : {"message", "details"}) {
    if (text.empty()) text = text_of(object, key);
  }
  return text;
}

Awaitable<Error> failure_of(HttpResponse& response, std::string what) {
  const auto body = co_await response.read_what_is_there(max_error_body_bytes);
  const auto said = describe_error_body(body);
  auto message = what + ": " + response.head().status_line();
  if (!said.empty()) message += ": " + said;
  co_return Error(errc_of_status(response.status()), std::move(message));
}

}  // namespace lazypull
