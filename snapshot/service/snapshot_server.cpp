#include "snapshot/service/snapshot_server.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/service/snapshot_service.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <system_error>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace lazypull {

namespace {

namespace fs = std::filesystem;

/// Calls of one connection that wait or run at once; containerd has one connection, and its client lets
/// further calls wait.
constexpr int most_calls = 256;

sockaddr_un address_of(const fs::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto& text = socket.native();
  if (text.empty() || text.size() >= sizeof address.sun_path) {
    throw Error(Errc::invalid_argument, "\"" + text + "\" is too long for a socket, or empty");
  }
  std::memcpy(address.sun_path, text.c_str(), text.size());
  return address;
}

bool is_served(const fs::path& socket) {
  const auto address = address_of(socket);
  const UniqueFd file(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!file) throw_errno("socket");
  if (::connect(file.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno == EAGAIN;  // somebody listens, and is busy
}

/// Held as long as the socket is ours, so that of two processes that find a dead one's socket only one
/// replaces it.
UniqueFd claim(const fs::path& socket) {
  address_of(socket);
  std::error_code failure;
  if (socket.has_parent_path()) fs::create_directories(socket.parent_path(), failure);
  if (failure) {
    errno = failure.value();
    throw_errno("mkdir " + socket.parent_path().string());
  }
  const fs::path file = socket.string() + ".lock";
  auto lock = open_file(file, O_RDWR | O_CREAT, 0600);
  const bool ours = lock_file(lock, false, file);
  const auto status = stat_of(socket);
  if (status && !S_ISSOCK(status->st_mode)) {
    throw Error(Errc::failed_precondition, socket.string() + " is there and is no socket");
  }
  if (!ours || (status && is_served(socket))) {
    throw Error(Errc::failed_precondition, socket.string() + " is served by another process");
  }
  if (status && ::unlink(socket.c_str()) != 0) throw_errno("unlink " + socket.string());
  return lock;
}

/// What is made meanwhile is for its owner only.
class PrivateFiles {
 public:
  PrivateFiles() : before_(::umask(0177)) {}
  ~PrivateFiles() { ::umask(before_); }
  PrivateFiles(const PrivateFiles&) = delete;
  PrivateFiles& operator=(const PrivateFiles&) = delete;

 private:
  ::mode_t before_;
};

std::unique_ptr<grpc::Server> serve(SnapshotService& service, const fs::path& socket) {
  grpc::ServerBuilder builder;
  int bound = 0;
  builder.AddListeningPort("unix:" + fs::absolute(socket).string(), grpc::InsecureServerCredentials(),
                           &bound);
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(max_request_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, most_calls);
  std::unique_ptr<grpc::Server> server;
  {
    const PrivateFiles private_files;
    server = builder.BuildAndStart();
  }
  if (!server || bound == 0) throw Error(Errc::unavailable, socket.string() + " cannot be listened on");
  return server;
}

}  // namespace

struct SnapshotServer::Impl {
  Impl(SnapshotRoot& root, SnapshotServerOptions options)
      : socket(std::move(options.socket)),
        lock(claim(socket)),
        service(root, options.threads, std::move(options.log)),
        server(serve(service, socket)) {}
  ~Impl() { stop(std::chrono::milliseconds(0)); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void stop(std::chrono::milliseconds patience) {
    if (!server) return;
    server->Shutdown(std::chrono::system_clock::now() + patience);
    server->Wait();
    server.reset();
    ::unlink(socket.c_str());  // gRPC has done so already, unless it has been stopped early
  }

  fs::path socket;
  UniqueFd lock;
  SnapshotService service;
  std::unique_ptr<grpc::Server> server;
};

SnapshotServer::SnapshotServer(SnapshotRoot& root, SnapshotServerOptions options)
    : impl_(std::make_unique<Impl>(root, std::move(options))) {}

SnapshotServer::~SnapshotServer() = default;

void SnapshotServer::stop(std::chrono::milliseconds patience) {
  impl_->stop(patience);
}

}  // namespace lazypull
