#include "transport/grpc_status.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace lazypull {

namespace {

bool contains(std::string_view text, std::string_view part) noexcept {
  return text.find(part) != std::string_view::npos;
}

bool says_full(std::string_view message) noexcept {
  constexpr std::array<std::string_view, 3> phrases{"no space left on device", "disk quota exceeded",
                                                    "No space left on device"};
  return std::any_of(phrases.begin(), phrases.end(),
                     [&](std::string_view phrase) { return contains(message, phrase); });
}

std::string_view name_of(grpc::StatusCode code) noexcept {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "cancelled";
    case grpc::StatusCode::UNKNOWN:
      return "unknown error";
    case grpc::StatusCode::INVALID_ARGUMENT:
      return "invalid argument";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "deadline exceeded";
    case grpc::StatusCode::NOT_FOUND:
      return "not found";
    case grpc::StatusCode::ALREADY_EXISTS:
      return "already exists";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "permission denied";
    case grpc::StatusCode::UNAUTHENTICATED:
      return "unauthenticated";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "resource exhausted";
    case grpc::StatusCode::FAILED_PRECONDITION:
      return "failed precondition";
    case grpc::StatusCode::ABORTED:
      return "aborted";
    case grpc::StatusCode::OUT_OF_RANGE:
      return "out of range";
    case grpc::StatusCode::UNIMPLEMENTED:
      return "not implemented";
    case grpc::StatusCode::INTERNAL:
      return "internal error";
    case grpc::StatusCode::UNAVAILABLE:
      return "unavailable";
    case grpc::StatusCode::DATA_LOSS:
      return "data loss";
    case grpc::StatusCode::DO_NOT_USE:
      break;
  }
  return "unknown error";
}

}  // namespace

Errc errc_of(grpc::StatusCode code, std::string_view message) noexcept {
  if (says_full(message)) return Errc::out_of_space;
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return Errc::cancelled;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return Errc::invalid_argument;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Errc::timed_out;
    case grpc::StatusCode::NOT_FOUND:
      return Errc::not_found;
    case grpc::StatusCode::ALREADY_EXISTS:
      return Errc::already_exists;
    case grpc::StatusCode::PERMISSION_DENIED:
      return Errc::permission_denied;
    case grpc::StatusCode::UNAUTHENTICATED:
      return Errc::unauthorized;
    // gRPC itself uses this code for a message over the limit, which trying again does not make smaller.
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return contains(message, "larger than max") ? Errc::bad_response : Errc::out_of_space;
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE:
      return Errc::failed_precondition;
    case grpc::StatusCode::UNIMPLEMENTED:
      return Errc::unsupported;
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::UNAVAILABLE:
      return Errc::unavailable;
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::DATA_LOSS:
    case grpc::StatusCode::OK:
    case grpc::StatusCode::DO_NOT_USE:
      break;
  }
  return Errc::server_error;
}

grpc::StatusCode code_of(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Errc::not_found:
    case Errc::platform_not_found:
      return grpc::StatusCode::NOT_FOUND;
    case Errc::already_exists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Errc::unauthorized:
      return grpc::StatusCode::UNAUTHENTICATED;
    case Errc::forbidden:
    case Errc::permission_denied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Errc::failed_precondition:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Errc::out_of_space:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Errc::unsupported:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Errc::unavailable:
    case Errc::locked:
    case Errc::too_many_requests:
    case Errc::host_not_found:
    case Errc::tls_failure:
      return grpc::StatusCode::UNAVAILABLE;
    case Errc::timed_out:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Errc::cancelled:
      return grpc::StatusCode::CANCELLED;
    case Errc::digest_mismatch:
    case Errc::size_mismatch:
      return grpc::StatusCode::DATA_LOSS;
    case Errc::server_error:
    case Errc::bad_response:
    case Errc::invalid_image:
    case Errc::internal:
      break;
  }
  return grpc::StatusCode::INTERNAL;
}

std::string bounded_message(std::string text) {
  constexpr std::size_t longest = 2048;
  if (text.size() <= longest) return text;
  auto end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  text.resize(end);
  return text.append("...");
}

Error error_of(const grpc::Status& status, std::string_view name) {
  const std::string& detail = status.error_message();
  std::string text(name);
  text += ": ";
  text += detail.empty() ? name_of(status.error_code()) : std::string_view(detail);
  return Error(errc_of(status.error_code(), detail), std::move(text));
}

void require_ok(const grpc::Status& status, std::string_view name) {
  if (!status.ok()) throw error_of(status, name);
}

}  // namespace lazypull
