#pragma once

#include "transport/containerd/daemon_wait.hpp"
#include "transport/grpc_call.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace grpc {
class Channel;
}

namespace lazypull {

/// How long containerd may take. A remote snapshotter does network work in Prepare and Commit.
struct ContainerdDeadlines {
  std::chrono::milliseconds connect{10'000};      ///< the first call
  std::chrono::milliseconds call{10'000};         ///< what touches only containerd's database
  std::chrono::milliseconds collect{120'000};     ///< waiting for a garbage collection
  std::chrono::milliseconds stream_step{60'000};  ///< one message of a blob, read or written
  std::chrono::milliseconds ingest{120'000};      ///< opening (what is there is hashed) and committing a blob
  std::chrono::milliseconds snapshot{600'000};    ///< Prepare, Commit and Remove
  std::chrono::milliseconds apply{600'000};       ///< extracting a layer
  std::chrono::milliseconds reconnect{15'000};    ///< for a daemon that has gone away to come back
};

struct ContainerdOptions {
  std::string address = "/run/containerd/containerd.sock";  ///< a path, with or without "unix://"
  std::string name_space = "default";
  ContainerdDeadlines deadlines;
};

/// A connection to containerd, the namespace and perhaps the lease that calls are made in. A value: copies
/// share the connection, which reconnects by itself.
class ContainerdClient {
 public:
  /// Throws Error{invalid_argument} for an address or namespace that cannot be one, and unless the socket
  /// takes a connection right now: Error{unavailable} or Error{permission_denied}, "connect to containerd at
  /// /run/…: …".
  static ContainerdClient open(ContainerdOptions options);

  ContainerdClient with_lease(std::string lease) const;

  const std::string& address() const noexcept { return options_->address; }  ///< the path
  const std::string& name_space() const noexcept { return options_->name_space; }
  const std::string& lease() const noexcept { return lease_; }
  const ContainerdDeadlines& deadlines() const noexcept { return options_->deadlines; }

  /// For the clients of the single services.
  const std::shared_ptr<grpc::Channel>& channel() const noexcept { return channel_; }
  const std::shared_ptr<DaemonContact>& contact() const noexcept { return contact_; }
  CallOptions call(std::string name, std::chrono::milliseconds deadline) const;
  CallOptions call(std::string name) const { return call(std::move(name), deadlines().call); }

 private:
  ContainerdClient() = default;
  std::shared_ptr<const ContainerdOptions> options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<DaemonContact> contact_;
  std::string lease_;
};

}  // namespace lazypull
