#include "transport/credential_helper.hpp"

#include "engine/error.hpp"
#include "transport/child_process.hpp"
#include "transport/http_message.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>

namespace lazypull {

namespace json = boost::json;

namespace {

constexpr std::size_t max_answer_bytes = 256U << 10U;
// In the Username of a helper's answer this says that the secret is an OAuth2 refresh token.
constexpr std::string_view token_user = "<token>";
constexpr std::string_view not_found = "credentials not found in native keychain";

bool is_plain_name(std::string_view name) {
  const auto plain = [](char c) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= 200 && std::all_of(name.begin(), name.end(), plain);
}

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

// A helper that fails says why on its standard output.
Error refusal(const ProgramOutput& output) {
  const auto said = sanitise(std::string_view(output.out).substr(0, output.out.find('\n')), 300);
  return {Errc::unauthorized,
          "it ended with exit code " + std::to_string(output.exit_code) + (said.empty() ? "" : ": " + said)};
}

}  // namespace

Credentials parse_helper_answer(std::string_view text) {
  boost::system::error_code failure;
  const auto value = json::parse(json::string_view(text.data(), text.size()), failure);
  if (failure || !value.is_object()) throw Error(Errc::bad_response, "its answer is no JSON object");
  const auto& object = value.get_object();
  Credentials credentials;
  credentials.username = text_of(object, "Username");
  const auto secret = text_of(object, "Secret");
  if (credentials.username.empty() || secret.empty()) {
    throw Error(Errc::bad_response, "its answer has no Username or no Secret");
  }
  if (credentials.username == token_user) {
    credentials.username.clear();
    credentials.identity_token = secret;
  } else {
    credentials.password = secret;
  }
  return credentials;
}

Awaitable<Credentials> ask_credential_helper(std::string name, std::string server,
                                             std::chrono::milliseconds limit) {
  if (!is_plain_name(name)) {
    throw Error(Errc::invalid_argument,
                "the credential helper's name \"" + sanitise(name, 100) + "\" is not a plain file name");
  }
  const std::string program = "docker-credential-" + name;
  const auto context = "credential helper " + program + " for " + server;
  try {
    const std::vector<std::string> argv = {program, "get"};
    const auto output = co_await run_program(argv, server, max_answer_bytes, limit);
    if (output.exit_code == 0) co_return parse_helper_answer(output.out);
    if (output.out.find(not_found) != std::string::npos) co_return Credentials();
    throw refusal(output);
  } catch (const Error& error) {
    const bool unusable = error.code() == Errc::not_found || error.code() == Errc::permission_denied;
    throw Error(unusable ? Errc::invalid_argument : error.code(), context + ": " + error.message());
  }
}

}  // namespace lazypull
