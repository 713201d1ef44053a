#include "transport/containerd/client.hpp"

#include "engine/error.hpp"
#include "transport/grpc_event.hpp"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <unistd.h>

namespace lazypull {

namespace {

constexpr int max_message_bytes = 16 << 20;

std::string socket_path(std::string_view address) {
  constexpr std::string_view scheme = "unix:";
  std::string_view path = address;
  if (path.starts_with(scheme)) {
    path.remove_prefix(scheme.size());
    if (path.starts_with("//")) path.remove_prefix(2);
  }
  if (!path.starts_with('/') || path.find('\0') != std::string_view::npos) {
    throw Error(Errc::invalid_argument,
                "containerd's address " + std::string(address) + ": not the absolute path of a socket");
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    throw Error(Errc::invalid_argument,
                "containerd's address " + std::string(address) + ": too long for a socket");
  }
  return std::string(path);
}

// containerd's identifiers: words of letters and digits, joined by single '.', '_' or '-'; at most 76
// characters.
void check_namespace(std::string_view name) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  bool good = !name.empty() && name.size() <= 76 && is_word(name.back());
  bool after_word = false;
  for (const char c : name) {
    good = good && (is_word(c) || (after_word && (c == '.' || c == '_' || c == '-')));
    after_word = is_word(c);
  }
  if (!good) {
    throw Error(Errc::invalid_argument,
                "containerd namespace \"" + std::string(name) + "\": not an identifier");
  }
}

// gRPC would only say that it failed to connect to all addresses. A local socket answers at once.
void probe(const std::string& path) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int error = socket < 0 ? errno : 0;
  if (socket >= 0) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) error = errno;
    ::close(socket);
  }
  // EAGAIN: there is a daemon, with a full backlog.
  if (error == 0 || error == EAGAIN) return;
  const bool denied = error == EACCES || error == EPERM;
  std::string reason = std::generic_category().message(error);
  std::transform(reason.begin(), reason.begin() + 1, reason.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  throw Error(denied ? Errc::permission_denied : Errc::unavailable,
              "connect to containerd at " + path + ": " + reason);
}

std::shared_ptr<grpc::Channel> make_channel(const std::string& path) {
  keep_grpc_running();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_message_bytes);
  arguments.SetMaxSendMessageSize(max_message_bytes);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Whether a call may be made again is for us to say (steady_call.hpp); gRPC's retry buffers would copy what
  // we write.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

ContainerdClient ContainerdClient::open(ContainerdOptions options) {
  options.address = socket_path(options.address);
  check_namespace(options.name_space);
  probe(options.address);
  ContainerdClient client;
  client.channel_ = make_channel(options.address);
  client.contact_ = std::make_shared<DaemonContact>(DaemonContact{.answered = true});
  client.options_ = std::make_shared<const ContainerdOptions>(std::move(options));
  return client;
}

ContainerdClient ContainerdClient::with_lease(std::string lease) const {
  ContainerdClient leased = *this;
  leased.lease_ = std::move(lease);
  return leased;
}

CallOptions ContainerdClient::call(std::string name, std::chrono::milliseconds deadline) const {
  CallOptions options{std::move(name), deadline, {{"containerd-namespace", name_space()}}};
  if (!lease_.empty()) options.metadata.emplace_back("containerd-lease", lease_);
  return options;
}

}  // namespace lazypull
