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

constexpr std::string_view snapshotter_type = "io.containerd.snapshotter.v1";
constexpr std::string_view content_type = "io.containerd.content.v1";

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

Awaitable<ServerPlugins> list_plugins(ContainerdClient client) {
  const auto stub = introspection::Introspection::NewStub(client.channel());
  introspection::PluginsRequest request;
  request.add_filters("type==" + std::string(snapshotter_type));
  request.add_filters("type==" + std::string(content_type));
  const CallOptions options = client.call("Introspection/Plugins");
  const auto reply = co_await unary_call(
      stub->async(), &introspection::Introspection::StubInterface::async_interface::Plugins, request,
      options);
  require_ok(reply.status, options.name);
  ServerPlugins found;
  for (const auto& plugin : reply.message.plugins()) {
    auto info = info_of(plugin);
    if (plugin.type() == snapshotter_type) found.snapshotters.push_back(std::move(info));
    // A content store that is itself a proxy has no folder of containerd's form.
    else if (plugin.id() == "content" && !info.is_proxy())
      found.content_root = std::move(info.root);
  }
  std::sort(found.snapshotters.begin(), found.snapshotters.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  co_return found;
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
