#include "tools/connect.hpp"

#include "engine/deadline.hpp"
#include "snapshot/containerd_backend.hpp"
#include "snapshot/embedded_backend.hpp"
#include "tools/store_directory.hpp"
#include "tools/text.hpp"

#include <cstdio>

namespace lazypull {
namespace {

/// Called by any thread, so it is one write.
void warn(const std::string& message) {
  std::fputs(("lazypull: " + printable(message) + "\n").c_str(), stderr);
}

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

Awaitable<Backend> connect(const Options& options) {
  Backend backend;
  const auto directory = store_directory(options, process_environment());
  if (directory) {
    auto embedded = std::make_unique<EmbeddedBackend>(*directory, options.containerd_namespace);
    if (!options.remotes.empty()) {
      embedded->use_storages({options.remotes.begin(), options.remotes.end()}, warn);
      backend.local_snapshotter = false;
    }
    backend.leases = std::move(embedded);
    backend.folders = {*directory};
    co_return backend;
  }
  if (options.remotes_given) {
    throw Error(Errc::invalid_argument,
                "--remote is for the embedded store; containerd gets layers from there by 'lazypull "
                "snapshotter serve --remote'");
  }
  auto containerd = co_await within_connect_timeout(
      options, ContainerdBackend::connect(containerd_options(options), options.snapshotter, options.unpack));
  backend.local_snapshotter = !containerd->snapshotter_info().is_proxy();
  if (const auto& root = containerd->snapshotter_info().root; !root.empty()) backend.folders = {root};
  backend.leases = std::move(containerd);
  co_return backend;
}

Awaitable<ServerVersion> ask_version(const Options& options) {
  return within_connect_timeout(options, open_and_ask(containerd_options(options)));
}

}  // namespace lazypull
