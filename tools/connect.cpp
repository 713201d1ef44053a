#include "tools/connect.hpp"

#include "engine/deadline.hpp"
#include "snapshot/containerd_backend.hpp"

namespace lazypull {
namespace {

ContainerdOptions containerd_options(const Options& options) {
  ContainerdOptions containerd;
  containerd.address = options.address;
  containerd.name_space = options.containerd_namespace;
  return containerd;
}

template <class T>
Awaitable<T> within_connect_timeout(const Options& options, Awaitable<T> operation) {
  if (options.connect_timeout.count() == 0) return operation;
  return with_deadline(std::move(operation), options.connect_timeout,
                       "connect to containerd at " + options.address);
}

Awaitable<ServerVersion> open_and_ask(ContainerdOptions options) {
  const auto client = ContainerdClient::open(std::move(options));
  auto version = co_await server_version(client);
  co_return version;
}

}  // namespace

Awaitable<std::unique_ptr<ContainerdBackend>> connect(const Options& options) {
  return within_connect_timeout(options,
                                ContainerdBackend::connect(containerd_options(options), options.snapshotter));
}

Awaitable<ServerVersion> ask_version(const Options& options) {
  return within_connect_timeout(options, open_and_ask(containerd_options(options)));
}

}  // namespace lazypull
