#include "tools/agent/agent_socket.hpp"

#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <system_error>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

namespace fs = std::filesystem;

constexpr int backlog = 128;
constexpr int first_inherited = 3;  // sd_listen_fds(3)

sockaddr_un address_of(const fs::path& path) {
  const auto& text = path.native();
  sockaddr_un address{};
  if (!path.is_absolute() || text.size() >= sizeof address.sun_path) {
    throw Error(Errc::invalid_argument,
                "socket \"" + text + "\": it is not absolute, or too long for a socket");
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, text.c_str(), text.size());
  return address;
}

bool is_served(const fs::path& path) {
  const auto address = address_of(path);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) throw_errno("socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno == EAGAIN;  // somebody listens, and is busy
}

bool is_trusted(::uid_t owner) {
  return owner == 0 || owner == ::geteuid();
}

/// Whoever may write to the folder may put a socket of his own there.
void check_folder(const fs::path& folder) {
  const auto status = stat_of(folder);
  if (!status || !S_ISDIR(status->st_mode)) {
    throw Error(Errc::failed_precondition, "socket: " + folder.string() + " is no folder");
  }
  const bool others_write = (status->st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool sticky = (status->st_mode & S_ISVTX) != 0;
  if (!is_trusted(status->st_uid) || (others_write && !sticky)) {
    throw Error(Errc::permission_denied,
                "socket: others than root and this user may write to the folder " + folder.string());
  }
}

void make_folder(const fs::path& folder) {
  if (fs::exists(folder)) return;
  std::error_code failure;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), failure);
  if (!failure) {
    // Another process may be at the same; then what it has made is checked as well.
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir " + folder.string());
    return;
  }
  errno = failure.value();
  throw_errno("mkdir " + folder.parent_path().string());
}

/// Held as long as the socket is ours, so that of two processes that find a dead one's socket only one
/// replaces it.
UniqueFd claim(const fs::path& path) {
  const fs::path file = path.string() + ".lock";
  auto lock = open_file(file, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  const bool ours = lock_file(lock, false, file);
  const auto status = stat_of(path);
  if (status && !S_ISSOCK(status->st_mode)) {
    throw Error(Errc::failed_precondition, path.string() + " is there and is no socket");
  }
  if (!ours || (status && is_served(path))) {
    throw Error(Errc::failed_precondition, path.string() + " is served by another process");
  }
  if (status && ::unlink(path.c_str()) != 0) throw_errno("unlink " + path.string());
  return lock;
}

/// Where the socket is bound to. Throws unless it is a Unix socket that is listened on.
fs::path bound_path(int listener) {
  int listening = 0;
  ::socklen_t size = sizeof listening;
  sockaddr_un address{};
  ::socklen_t length = sizeof address;
  const bool is_listener = ::getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 &&
                           listening != 0 &&
                           ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
                           address.sun_family == AF_UNIX && length > offsetof(sockaddr_un, sun_path);
  if (!is_listener || address.sun_path[0] == '\0') {
    throw Error(Errc::failed_precondition,
                "LISTEN_FDS: what was handed over is no Unix socket that is listened on");
  }
  return std::string(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
}

int number(const std::optional<std::string>& text) {
  int value = 0;
  if (!text) return 0;
  const char* end = text->data() + text->size();
  const auto [rest, failure] = std::from_chars(text->data(), end, value);
  return failure == std::errc{} && rest == end ? value : 0;
}

}  // namespace

AgentSocket AgentSocket::listen(const fs::path& path) {
  const auto address = address_of(path);
  make_folder(path.parent_path());
  check_folder(path.parent_path());
  auto lock = claim(path);
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) throw_errno("socket");
  // Nobody can connect before `listen`, so there is no moment at which others may.
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw_errno("bind " + path.string());
  }
  if (::chmod(path.c_str(), 0600) != 0) throw_errno("chmod " + path.string());
  if (::listen(listener.get(), backlog) != 0) throw_errno("listen " + path.string());
  return {path, std::move(lock), std::move(listener)};
}

std::optional<AgentSocket> AgentSocket::inherited(const Environment& environment) {
  const int count = number(environment("LISTEN_FDS"));
  if (count <= 0 || number(environment("LISTEN_PID")) != ::getpid()) return std::nullopt;
  if (count != 1) throw Error(Errc::failed_precondition, "LISTEN_FDS: more than one socket was handed over");
  UniqueFd listener(first_inherited);
  const auto path = bound_path(listener.get());
  const auto status = stat_of(path);
  if (!status || !S_ISSOCK(status->st_mode) || !is_trusted(status->st_uid) || (status->st_mode & 0077) != 0) {
    throw Error(Errc::permission_denied,
                path.string() + ": others than root may connect; its mode must be 0600");
  }
  if (::fcntl(listener.get(), F_SETFD, FD_CLOEXEC) != 0) throw_errno("fcntl " + path.string());
  const int flags = ::fcntl(listener.get(), F_GETFL);
  if (flags < 0 || ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    throw_errno("fcntl " + path.string());
  }
  return AgentSocket(path, UniqueFd(), std::move(listener));
}

AgentSocket::~AgentSocket() {
  if (lock_ && listener_) ::unlink(path_.c_str());
}

UniqueFd accept_connection(int listener, std::optional<::uid_t>& refused) {
  refused.reset();
  for (;;) {
    UniqueFd connection(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        throw Error(Errc::unavailable, "accept: " + std::generic_category().message(errno));
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return {};
    }
    ucred peer{};
    ::socklen_t size = sizeof peer;
    const bool known = ::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    if (known && is_trusted(peer.uid)) return connection;
    refused = peer.uid;
  }
}

}  // namespace lazypull
