#pragma once

#include "engine/descriptor.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// How a layer got (or would get) to where the image needs it.
enum class LayerDecision {
  undecided,
  exists,    ///< its snapshot was there before
  remote,    ///< the snapshotter provides it; its content was not downloaded
  staged,    ///< the snapshotter had filled the prepared snapshot already
  present,   ///< its content was in the store already and was (or will be) unpacked from there
  download,  ///< its content was (or must be) downloaded
};

enum class LayerState { waiting, asking, queued, downloading, downloaded, unpacking, done };

std::string_view to_string(LayerDecision decision) noexcept;
std::string_view to_string(LayerState state) noexcept;

/// One layer of one image: live state while the pull runs, the result afterwards.
struct LayerReport {
  Digest digest;
  std::string media_type;
  std::uint64_t size = 0;  ///< compressed bytes, as the manifest says
  Digest diff_id;
  Digest chain_id;
  LayerState state = LayerState::waiting;
  LayerDecision decision = LayerDecision::undecided;
  bool remote_hint = false;           ///< an annotation says that a snapshotter may mount it
  std::uint64_t bytes_done = 0;       ///< of `size`, those that are in the content store
  std::uint64_t bytes_fetched = 0;    ///< read from the network by this pull
  std::chrono::nanoseconds ask{0};    ///< Stat, Prepare and Commit
  std::chrono::nanoseconds queue{0};  ///< waited for a download permit
  std::chrono::nanoseconds fetch{0};
  std::chrono::nanoseconds unpack{0};
};

struct ImageReport {
  Platform platform;
  Digest manifest;
  Digest config;
  std::optional<Digest> chain_id;  ///< of the top layer; none for an image without layers
  bool already_there = false;      ///< the top snapshot existed, so no layer was looked at
  std::vector<LayerReport> layers;
};

struct PhaseReport {
  std::string name;  ///< resolve, metadata, layers, record
  std::chrono::nanoseconds duration{0};
};

/// What a pull is doing and, in the end, what came of it. Written by the pull and read on the home thread
/// only.
struct PullReport {
  std::string reference;
  Descriptor target;
  std::string snapshotter;
  std::string phase;
  std::deque<ImageReport> images;  ///< stable addresses: layers in progress are referred to
  std::vector<PhaseReport> phases;
  std::chrono::nanoseconds total{0};
  std::uint64_t metadata_bytes = 0;  ///< manifests, indexes and configs read from the network

  /// Network bytes of layers; each blob counts once however many layers share it.
  std::uint64_t fetched_bytes() const;
  /// Compressed bytes of the distinct layers that did not have to be downloaded.
  std::uint64_t avoided_bytes() const;
};

}  // namespace lazypull
