#include "tests/integration/support/token_server.hpp"

#include "tests/integration/support/peer_program.hpp"

#include <boost/json.hpp>

#include <ostream>
#include <sstream>

namespace lazypull::test {

namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, const char* member) {
  return std::string(object.at(member).as_string());
}

TokenRequest parse_line(const std::string& line) {
  const auto object = json::parse(line).as_object();
  TokenRequest request{.method = text_of(object, "method"),
                       .grant_type = text_of(object, "grant_type"),
                       .user = text_of(object, "user"),
                       .service = text_of(object, "service"),
                       .scopes = {},
                       .client_id = text_of(object, "client_id"),
                       .user_agent = text_of(object, "user_agent"),
                       .status = static_cast<int>(object.at("status").as_int64())};
  if (const auto* scopes = object.at("scopes").if_array()) {
    for (const auto& scope : *scopes) request.scopes.emplace_back(scope.as_string());
  }
  return request;
}

std::string flag(const char* name, const std::string& value) {
  return std::string("-") + name + "=" + value;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const TokenRequest& request) {
  out << request.method << ' ' << request.status << " user \"" << request.user << "\" service \""
      << request.service << '"';
  if (!request.grant_type.empty()) out << " grant " << request.grant_type;
  for (const auto& scope : request.scopes) out << ' ' << scope;
  return out << " (" << request.user_agent << ')';
}

TokenServer::TokenServer(TokenServerOptions options)
    : options_(std::move(options)), certificate_(folder_ / "certificate.pem") {
  process_.emplace(Argv{peer_program("tokenserver"), flag("certificate", certificate_.string()),
                        flag("issuer", issuer), flag("user", options_.account.user),
                        flag("password", options_.account.password),
                        flag("refresh-token", options_.refresh_token), flag("public", options_.public_prefix),
                        flag("expires-in", std::to_string(options_.expires_in)),
                        flag("oauth", options_.oauth ? "true" : "false"),
                        flag("access-token", options_.access_token_field ? "true" : "false")});
  std::string first_line;
  wait_until(
      [&] {
        if (!process_->running()) throw std::runtime_error("token server ended: " + process_->err());
        first_line = process_->out();
        return first_line.ends_with('\n');
      },
      "the token server to listen");
  log_start_ = first_line.size();
  first_line.pop_back();
  realm_ = "http://" + first_line + "/token";
}

std::vector<TokenRequest> TokenServer::requests() const {
  std::vector<TokenRequest> result;
  std::istringstream lines(process_->out(log_start_));
  for (std::string line; std::getline(lines, line);) result.push_back(parse_line(line));
  return result;
}

void TokenServer::reset_log() {
  log_start_ = process_->out().size();
}

}  // namespace lazypull::test
