#pragma once

#include "snapshot/unpack/unique_fd.hpp"
#include "transport/docker_config.hpp"

#include <sys/types.h>

#include <filesystem>
#include <optional>

namespace lazypull {

/// A Unix socket that is listened on. Only its owner may connect: who may talk to the agent can put images
/// onto the node with the node's credentials, and take them away.
class AgentSocket {
 public:
  /// Makes the socket, with the mode 0600, and its folder, if that is missing, with the mode 0700. A socket
  /// that a dead process has left is replaced. Throws Error that names the path: {invalid_argument} for a
  /// path that is too long or not absolute; {failed_precondition} where somebody serves it or something else
  /// is there; {permission_denied} where others than root and this user may write to the folder.
  static AgentSocket listen(const std::filesystem::path& path);
  /// The socket that a service manager has handed over ($LISTEN_FDS, sd_listen_fds(3)); nothing where none
  /// was. Throws Error{failed_precondition} for more than one and for anything but a listening Unix socket,
  /// and {permission_denied} where others than its owner may connect.
  static std::optional<AgentSocket> inherited(const Environment& environment);

  AgentSocket(AgentSocket&&) noexcept = default;
  AgentSocket& operator=(AgentSocket&&) = delete;
  /// Removes the socket, unless it is the service manager's.
  ~AgentSocket();

  int fd() const noexcept { return listener_.get(); }
  const std::filesystem::path& path() const noexcept { return path_; }
  bool is_inherited() const noexcept { return !lock_; }

 private:
  AgentSocket(std::filesystem::path path, UniqueFd lock, UniqueFd listener)
      : path_(std::move(path)), lock_(std::move(lock)), listener_(std::move(listener)) {}

  std::filesystem::path path_;
  UniqueFd lock_;
  UniqueFd listener_;
};

/// The next connection, not blocking; empty where there is none any more. Connections of other users than
/// root and this one are closed, and `refused` is set to their uid. Throws Error{unavailable} where this
/// process has no descriptor left.
UniqueFd accept_connection(int listener, std::optional<::uid_t>& refused);

}  // namespace lazypull
