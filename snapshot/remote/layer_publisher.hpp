#pragma once

#include "engine/awaitable.hpp"
#include "engine/offload.hpp"
#include "engine/ports.hpp"
#include "snapshot/remote/remote_layers.hpp"
#include "snapshot/remote/work_folder.hpp"
#include "snapshot/unpack/extractor.hpp"
#include "snapshot/unpack/layer_pipeline.hpp"
#include "snapshot/unpack/stage_threads.hpp"

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lazypull {

/// The layers of one image, lowest first.
struct LayerChain {
  std::vector<Descriptor> layers;
  std::vector<Digest> diff_ids;
  std::vector<Digest> chain_ids;
};

struct PublishOptions {
  std::filesystem::path storage;
  LayerFormat format = LayerFormat::directory;
  /// Where layers are unpacked that become images; in the storage if empty. Must be a file system with
  /// trusted.* attributes.
  std::filesystem::path work;
};

struct PublishedLayer {
  LayerRecord record;
  bool already_there = false;  ///< in whatever format
};

/// Puts layers of an image, whose blobs are in a content store, into a storage. A layer appears there whole
/// or not at all, whenever the process dies and however many do it at once, and is safe from a power failure
/// when `publish` returns. Needs root, since files keep their owners. For the home thread.
class LayerPublisher {
 public:
  /// Makes the storage if there is none, and removes what killed publishers have left in it. Blocks.
  LayerPublisher(asio::any_io_executor home, ContentStore& content, PublishOptions options);

  /// One layer of the chain. Layers of one image are published lowest first. A layer that the storage has is
  /// left alone; one whose record or data is not sound is replaced. Throws not_found for a blob that is not
  /// in the content store, digest_mismatch where blob or files are not what manifest and config say, and what
  /// extracting and make_layer_image throw; each names the layer.
  Awaitable<PublishedLayer> publish(const LayerChain& chain, std::size_t index);

 private:
  struct Tree;

  Awaitable<PublishedLayer> make(const LayerChain& chain, std::size_t index);
  Awaitable<Tree> unpack(const LayerChain& chain, std::size_t index, WhiteoutFormat whiteouts);
  Awaitable<ExtractedLayer> extract(Descriptor layer, std::filesystem::path folder, WhiteoutFormat whiteouts);
  Awaitable<ExtractedLayer> stream(Descriptor layer, int root, WhiteoutFormat whiteouts);
  Awaitable<std::filesystem::path> files_of(const LayerChain& chain, std::size_t index);
  Awaitable<> finish_data(Tree& tree, LayerRecord& record, std::filesystem::path folder);
  std::filesystem::path new_folder(const WorkFolder& in);

  asio::any_io_executor home_;
  ContentStore& content_;
  PublishOptions options_;
  WorkFolder staging_;                 ///< in the storage: what is renamed into place comes from here
  std::unique_ptr<WorkFolder> apart_;  ///< where layers are unpacked, if not there
  std::size_t next_folder_ = 0;
  bool keep_files_ = false;
  std::map<std::size_t, std::filesystem::path> files_;  ///< of layers of the chain, to look something up in
  StageThreads threads_;
  BlockingPool pool_{1};
};

}  // namespace lazypull
