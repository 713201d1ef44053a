#pragma once

#include "engine/descriptor.hpp"
#include "transport/host_trial.hpp"
#include "transport/interrupted_blobs.hpp"
#include "transport/registry_hosts.hpp"
#include "transport/registry_transport.hpp"

#include <memory>
#include <set>
#include <string>

namespace lazypull {

/// What all requests of a RegistryClient share. Readers keep it alive.
struct RegistryCore {
  RegistryCore(asio::any_io_executor home_executor, RegistryOptions registry_options);
  RegistryCore(const RegistryCore&) = delete;
  RegistryCore& operator=(const RegistryCore&) = delete;

  /// A request to `path` below the repository at one host, with that host's credentials. If it is not the
  /// last host that can be asked, the request is not patient.
  Awaitable<RegistryCall> make_call(RegistryHost host, Reference reference, std::string method,
                                    std::string path, bool is_last);

  asio::any_io_executor home;
  RegistryOptions options;
  RegistryTransport transport;
  RegistryHosts hosts;
  HostHealth health;
  InterruptedBlobs interrupted;
  std::set<Origin> rangeless;  ///< hosts that do not answer requests for ranges as they should
};

}  // namespace lazypull
