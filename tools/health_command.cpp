#include "tools/health_command.hpp"

#include "engine/error.hpp"

#include <CLI/App.hpp>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <future>
#include <string_view>
#include <utility>
#include <vector>

namespace lazypull {
namespace {

/// HealthCheckResponse{status: SERVING}: field 1, a number, 1. The request is empty: the server as a whole.
constexpr std::string_view serving("\x08\x01", 2);

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const auto& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

grpc::Status check(const std::string& socket, std::chrono::milliseconds limit, grpc::ByteBuffer& answer) {
  grpc::GenericStub stub(grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + limit);
  const grpc::Slice nothing(std::string{});
  const grpc::ByteBuffer request(&nothing, 1);
  std::promise<grpc::Status> ended;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &answer,
                 [&](grpc::Status status) { ended.set_value(std::move(status)); });
  return ended.get_future().get();
}

}  // namespace

void add_health_command(CLI::App& app, HealthCommand& command, std::function<void()> chosen) {
  auto* health = app.add_subcommand("health", "Ask an agent whether it serves; ends with 0 if it does");
  health->add_option("SOCKET", command.socket, "The agent's socket")->type_name("")->capture_default_str();
  health->parse_complete_callback(std::move(chosen));
}

void run_health_command(const HealthCommand& command, std::chrono::milliseconds limit) {
  grpc::ByteBuffer answer;
  const auto status = check(command.socket, limit, answer);
  if (status.ok()) {
    if (bytes_of(answer) == serving) return;
    throw Error(Errc::unavailable, command.socket + ": does not serve");
  }
  const auto message = command.socket + ": " + status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNIMPLEMENTED:
      throw Error(Errc::not_found, message);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      throw Error(Errc::timed_out, message);
    default:
      throw Error(Errc::unavailable, message);
  }
}

}  // namespace lazypull
