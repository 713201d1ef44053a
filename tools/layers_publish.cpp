#include "tools/layers_publish.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "snapshot/embedded/store.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "tools/layers_chain.hpp"
#include "tools/layers_text.hpp"
#include "tools/store_directory.hpp"
#include "transport/containerd/content.hpp"
#include "transport/containerd/images.hpp"
#include "transport/containerd/server_info.hpp"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

namespace lazypull {
namespace {

/// Where the image is.
struct ImageSource {
  std::unique_ptr<ContentStore> content;
  std::unique_ptr<ImageStore> images;
};

Awaitable<ImageSource> open_containerd(const Options& options) {
  ContainerdOptions containerd;
  containerd.address = options.address;
  containerd.name_space = options.containerd_namespace;
  const auto client = ContainerdClient::open(std::move(containerd));
  // Whether anybody answers is to be known before anything else.
  const auto limit = options.connect_timeout.count() == 0 ? std::chrono::hours(24) : options.connect_timeout;
  co_await with_deadline(server_version(client), limit, "connect to containerd at " + options.address);
  ImageSource source;
  source.content = std::make_unique<ContainerdContent>(client);
  source.images = std::make_unique<ContainerdImages>(client);
  co_return source;
}

Awaitable<ImageSource> open_source(const Options& options) {
  const auto directory = store_directory(options, process_environment());
  if (!directory) {
    auto source = co_await open_containerd(options);
    co_return source;
  }
  const auto store = EmbeddedStore::open(*directory, options.containerd_namespace);
  ImageSource source;
  source.content = store->content_port();
  source.images = store->image_port();
  co_return source;
}

PublishOptions publish_options(const LayersCommand& command) {
  const auto format = parse_layer_format(command.format);
  if (!format) throw Error(Errc::invalid_argument, "--format: '" + command.format + "' is not known");
  return {.storage = command.storage, .format = *format, .work = command.work};
}

Awaitable<> publish_layers(const LayersCommand& command, ImageSource& source, PublishRun& run) {
  const auto home = co_await asio::this_coro::executor;
  std::optional<Platform> platform;
  if (!command.platform.empty()) platform = Platform::parse(command.platform);
  auto settings = publish_options(command);
  const auto record = co_await find_image_record(*source.images, command.image);
  run.image = record.name;
  const auto chain = co_await load_layer_chain(*source.content, record, platform);
  LayerPublisher publisher(home, *source.content, std::move(settings));
  const auto count = std::min(command.count.value_or(chain.layers.size()), chain.layers.size());
  for (std::size_t i = 0; i < count; ++i) {
    auto layer = co_await publisher.publish(chain, i);
    run.layers.push_back(std::move(layer));
    if (run.tell) run.tell(run.layers.back());
  }
}

}  // namespace

Awaitable<> run_layers_publish(const Options& options, PublishRun& run) {
  std::exception_ptr failure;
  try {
    run.failure_source = FailureSource::set_up;
    auto source = co_await open_source(options);
    run.failure_source = FailureSource::other;
    co_await publish_layers(options.layers_command, source, run);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  run.failure = as_error(failure).code();
  std::rethrow_exception(failure);
}

std::string publish_json(const Options& options, const PublishRun& run) {
  boost::json::array layers;
  for (const auto& layer : run.layers) layers.push_back(published_json(layer));
  boost::json::object object;
  object["image"] = run.image;
  object["storage"] = options.layers_command.storage;
  object["layers"] = std::move(layers);
  return boost::json::serialize(object) + "\n";
}

}  // namespace lazypull
