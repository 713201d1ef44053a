#include "transport/containerd/server_info.hpp"

#include "transport/containerd/convert.hpp"
#include "transport/grpc_bridge.hpp"

#include <containerd/services/introspection.grpc.pb.h>
#include <containerd/services/namespaces.grpc.pb.h>
#include <containerd/services/version.grpc.pb.h>

#include <algorithm>

namespace lazypull {

namespace {

namespace introspection = ::containerd::services::introspection::v1;
namespace namespaces = ::containerd::services::namespaces::v1;
namespace version = ::containerd::services::version::v1;

SnapshotterInfo info_of(const introspection::Plugin& plugin) {
  SnapshotterInfo info;
  info.name = plugin.id();
  info.exports = labels_of(plugin.exports());
  if (const auto address = info.exports.find("address"); address != info.exports.end())
    info.address = address->second;
  if (const auto root = info.exports.find("root"); root != info.exports.end()) info.root = root->second;
  info.capabilities.insert(plugin.capabilities().begin(), plugin.capabilities().end());
  if (plugin.has_init_err()) {
    info.error = plugin.init_err().message().empty() ? "failed to load" : plugin.init_err().message();
  }
  return info;
}

}  // namespace

Awaitable<ServerVersion> server_version(ContainerdClient client) {
  const auto stub = version::Version::NewStub(client.channel());
  const CallOptions options = client.call("Version/Version");
  const auto reply =
      co_await unary_call(stub->async(), &version::Version::StubInterface::async_interface::Version,
                          google::protobuf::Empty(), options);
  require_ok(reply.status, options.name);
  ServerVersion found;
  found.version = reply.message.version();
  found.revision = reply.message.revision();
  co_return found;
}

Awaitable<std::vector<std::string>> list_namespaces(ContainerdClient client) {
  const auto stub = namespaces::Namespaces::NewStub(client.channel());
  const CallOptions options = client.call("Namespaces/List");
  const auto reply =
      co_await unary_call(stub->async(), &namespaces::Namespaces::StubInterface::async_interface::List,
                          namespaces::ListNamespacesRequest(), options);
  require_ok(reply.status, options.name);
  std::vector<std::string> names;
  for (const auto& found : reply.message.namespaces()) names.push_back(found.name());
  co_return names;
}

Awaitable<std::vector<SnapshotterInfo>> list_snapshotters(ContainerdClient client) {
  const auto stub = introspection::Introspection::NewStub(client.channel());
  introspection::PluginsRequest request;
  request.add_filters("type==io.containerd.snapshotter.v1");
  const CallOptions options = client.call("Introspection/Plugins");
  const auto reply = co_await unary_call(
      stub->async(), &introspection::Introspection::StubInterface::async_interface::Plugins, request,
      options);
  require_ok(reply.status, options.name);
  std::vector<SnapshotterInfo> all;
  for (const auto& plugin : reply.message.plugins()) all.push_back(info_of(plugin));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  co_return all;
}

const SnapshotterInfo& find_snapshotter(const std::vector<SnapshotterInfo>& all, const std::string& name) {
  std::string usable;
  for (const auto& candidate : all) {
    if (candidate.name == name && candidate.usable()) return candidate;
    if (candidate.name == name) {
      throw Error(Errc::failed_precondition,
                  "snapshotter " + name + ": containerd could not load it: " + candidate.error);
    }
    if (candidate.usable()) usable += (usable.empty() ? "" : ", ") + candidate.name;
  }
  throw Error(Errc::invalid_argument, "snapshotter " + name + ": containerd has none of this name; it has " +
                                          (usable.empty() ? "none" : usable));
}

}  // namespace lazypull
