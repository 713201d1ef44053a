#include "tools/faults/response_head.hpp"

#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>
#include <vector>

namespace lazypull {
namespace {

using Field = HttpFields::Field;

std::string status_line(int status) {
  namespace http = boost::beast::http;
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason.data(), reason.size()) + "\r\n";
}

std::uint64_t wrong_length(std::uint64_t length, std::uint64_t variant) {
  switch (variant % 4) {
    case 0:
      return length + 1;
    case 1:
      return length / 2;
    case 2:
      return length > 0 ? length - 1 : 7;
    default:
      return length + (std::uint64_t{1} << 40U);
  }
}

/// "bytes 5-9/10" with another number in it; nothing is said of it at all in one way.
std::optional<std::string> wrong_range(std::string_view value, std::uint64_t variant) {
  switch (variant % 5) {
    case 0:
      return std::nullopt;
    case 1:
      return "bytes */" + std::string(value.substr(value.rfind('/') + 1));
    case 2:
      return std::string(value) + "0";
    case 3:
      return "bytes 0-" + std::string(value.substr(std::min(value.size(), value.find('-') + 1)));
    default:
      return "bytes 18446744073709551615-18446744073709551616/18446744073709551617";
  }
}

/// Head after head that no client should take for what the registry has said.
std::string garbage_head(const std::string& head, std::uint64_t variant) {
  const auto line_end = head.find("\r\n") + 2;
  const auto with_line = [&](const std::string& line) {
    return head.substr(0, line_end) + line + "\r\n" + head.substr(line_end);
  };
  switch (variant % 8) {
    case 0:
      return with_line("this line has no colon");
    case 1:
      return with_line(std::string("X-Control: a\0b\x1b[2J", 18));
    case 2:
      return with_line("X-Long: " + std::string(100'000, 'x'));
    case 3:
      return "HTTP/9.9 banana\r\n" + head.substr(line_end);
    case 4:
      return with_line("Content-Length: 1\r\nContent-Length: 2");
    case 5:
      return with_line("Transfer-Encoding: gzip, banana");
    case 6:
      return std::string("\x16\x03\x01\x02", 4) + std::string(64, '\xff');
    default: {
      std::string many;
      for (int i = 0; i < 20'000; ++i) many += "A: b\r\n";
      return with_line(many + "A: b");
    }
  }
}

std::vector<Field> passed_on(const HttpHead& answer, const FaultDecision& decision) {
  std::vector<Field> fields;
  for (const auto& field : answer.fields) {
    if (is_connection_field(field.name) || iequals(field.name, "Content-Length")) continue;
    if (decision.is(FaultKind::range) && answer.status == 206 && iequals(field.name, "Content-Range")) {
      const auto wrong = wrong_range(field.value, decision.variant);
      if (wrong) fields.push_back({field.name, *wrong});
      continue;
    }
    fields.push_back(field);
  }
  return fields;
}

}  // namespace

bool is_connection_field(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 8> names{
      "Connection", "Keep-Alive",        "Proxy-Connection", "TE",
      "Trailer",    "Transfer-Encoding", "Upgrade",          "Proxy-Authorization"};
  return std::any_of(names.begin(), names.end(), [&](auto known) { return iequals(known, name); });
}

FaultyHead make_faulty_head(const HttpHead& answer, std::optional<std::uint64_t> body_bytes,
                            const FaultDecision& decision) {
  FaultyHead head;
  head.status = answer.status;
  head.bytes = status_line(answer.status);
  for (const auto& field : passed_on(answer, decision)) {
    head.bytes.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  const bool bodiless = answer.status == 204 || answer.status == 304;
  head.chunked = !bodiless && (!body_bytes || decision.is(FaultKind::chunks));
  if (head.chunked) {
    head.bytes += "Transfer-Encoding: chunked\r\n";
  } else if (body_bytes && !bodiless) {
    const bool wrong = decision.is(FaultKind::length);
    head.close = wrong;
    const auto length = wrong ? wrong_length(*body_bytes, decision.variant) : *body_bytes;
    head.bytes += "Content-Length: " + std::to_string(length) + "\r\n";
  }
  head.bytes += "\r\n";
  if (decision.is(FaultKind::garbage)) {
    head.bytes = garbage_head(head.bytes, decision.variant);
    head.close = true;
  }
  return head;
}

std::string make_status_response(const FaultRule& rule, bool with_body) {
  const std::string body = R"({"errors":[{"code":"UNAVAILABLE","message":"a fault was injected"}]})";
  auto response = status_line(rule.status);
  if (rule.retry_after) response += "Retry-After: " + std::to_string(rule.retry_after->count()) + "\r\n";
  const bool bodiless = rule.status == 204 || rule.status == 304;
  if (!bodiless) {
    response += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  response += "\r\n";
  return with_body && !bodiless ? response + body : response;
}

}  // namespace lazypull
