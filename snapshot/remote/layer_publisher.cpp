#include "snapshot/remote/layer_publisher.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/layer_image.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/remote/layer_staging.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "snapshot/remote/tree_survey.hpp"
#include "snapshot/unpack/place_layer.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <chrono>
#include <exception>
#include <fcntl.h>
#include <linux/openat2.h>
#include <optional>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::size_t stages_of_a_layer = 3;
constexpr std::chrono::seconds end_of_stages{30};

/// As a snapshot's directory is made.
UniqueFd make_root(const std::filesystem::path& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0) throw_errno("mkdir " + folder.string());
  if (::chmod(folder.c_str(), 0755) != 0) throw_errno("chmod " + folder.string());
  return open_file(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

void check_privilege() {
  if (::geteuid() != 0) {
    throw Error(Errc::permission_denied, "publishing layers needs root, since files keep their owners");
  }
}

std::filesystem::path made_storage(const std::filesystem::path& storage) {
  check_privilege();
  make_storage(storage);
  return publishing_folder(storage);
}

void check_diff_id(const Digest& actual, const Digest& expected) {
  if (actual == expected) return;
  throw Error(Errc::digest_mismatch,
              "its files are " + actual.str() + ", but the image's config says " + expected.str());
}

std::array<::timespec, 2> times_of(std::int64_t seconds) {
  const ::timespec time{.tv_sec = seconds, .tv_nsec = 0};
  return {time, time};
}

void set_times(int root, const std::vector<std::string>& directories, std::int64_t seconds) {
  const auto times = times_of(seconds);
  for (const auto& path : directories) {
    ::open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const UniqueFd directory(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
    if (!directory) throw_errno("open " + path);
    const auto name = "/proc/self/fd/" + std::to_string(directory.get());
    if (::utimensat(AT_FDCWD, name.c_str(), times.data(), 0) != 0) throw_errno("set the time of " + path);
  }
}

/// What no entry of the archive gives a time gets the latest that one does, so that the same layer is the
/// same whenever it is unpacked.
TreeSurvey survey_and_date(const std::filesystem::path& tree, const std::vector<std::string>& unnamed,
                           bool contents) {
  const auto root = open_file(tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  set_times(root.get(), unnamed, 0);
  auto survey = survey_tree(root.get(), tree.string(),
                            {.contents = contents && unnamed.empty(), .settle_whiteouts = true});
  const auto times = times_of(survey.newest);
  set_times(root.get(), unnamed, survey.newest);
  if (::futimens(root.get(), times.data()) != 0) throw_errno("set the time of " + tree.string());
  if (contents && !unnamed.empty()) survey = survey_tree(root.get(), tree.string());
  return survey;
}

}  // namespace

/// A layer's files, unpacked.
struct LayerPublisher::Tree {
  std::filesystem::path path;
  bool takes_from_below = false;  ///< something of them is as the layers below have it
  TreeSurvey survey;
};

LayerPublisher::LayerPublisher(asio::any_io_executor home, ContentStore& content, PublishOptions options)
    : home_(std::move(home)),
      content_(content),
      options_(std::move(options)),
      staging_(made_storage(options_.storage)),
      threads_(stages_of_a_layer) {
  const bool elsewhere = !options_.work.empty() && options_.format != LayerFormat::directory;
  if (elsewhere) apart_ = std::make_unique<WorkFolder>(options_.work);
}

Awaitable<PublishedLayer> LayerPublisher::publish(const LayerChain& chain, std::size_t index) {
  std::exception_ptr failure;
  try {
    co_return co_await make(chain, index);
  } catch (...) {
    failure = std::current_exception();
  }
  rethrow_with_context(failure, "layer " + chain.layers.at(index).digest.str());
}

Awaitable<PublishedLayer> LayerPublisher::make(const LayerChain& chain, std::size_t index) {
  const Descriptor& layer = chain.layers.at(index);
  const Digest& diff_id = chain.diff_ids.at(index);
  const bool lowest = index == 0;
  if (!media_type::is_layer(layer.media_type)) {
    throw Error(Errc::unsupported, "media type " + layer.media_type + " is no file system layer");
  }
  auto there = co_await pool_.run([&] { return sound_layer(options_.storage, layer.digest, diff_id); });
  if (there) {
    if (there->record.format == LayerFormat::directory) files_[index] = there->data;
    co_return PublishedLayer{std::move(there->record), true};
  }

  auto tree = co_await unpack(chain, index, WhiteoutFormat::overlay);
  // Nothing is below that a whiteout could hide, and overlayfs would list it as a file in the lowest layer.
  const bool bare = lowest && tree.survey.overlay_marks;
  if (bare) tree = co_await unpack(chain, index, WhiteoutFormat::remove);

  LayerRecord record;
  record.digest = layer.digest;
  record.diff_id = diff_id;
  record.size = layer.size;
  record.format = options_.format;
  record.attributes = tree.survey.attributes;
  if (bare || tree.takes_from_below) record.below = lowest ? Digest() : chain.chain_ids.at(index - 1);
  const auto folder = new_folder(staging_);
  co_await finish_data(tree, record, folder);

  const auto discarded = new_folder(staging_);
  const bool placed = co_await pool_.run([&] {
    ::rmdir(discarded.c_str());
    return place_published(options_.storage, record, folder, discarded);
  });
  if (record.format == LayerFormat::directory) {
    files_[index] = layer_folder(options_.storage, layer.digest) / layer_data_name(record.format);
  } else if (keep_files_) {
    files_[index] = tree.path;
  } else {
    co_await pool_.run([&] { delete_tree(tree.path.parent_path()); });
  }
  co_return PublishedLayer{std::move(record), !placed};
}

Awaitable<> LayerPublisher::finish_data(Tree& tree, LayerRecord& record, std::filesystem::path folder) {
  const auto data = folder / layer_data_name(record.format);
  if (record.format == LayerFormat::directory) {
    record.tree_digest = tree.survey.digest;
    co_await pool_.run([&] { std::filesystem::rename(tree.path, data); });
    co_return;
  }
  const auto& work = apart_ ? *apart_ : staging_;
  co_await make_layer_image(record.format, tree.path, data, record.digest, tree.survey, work.lock().get());
  auto facts = co_await pool_.run([&] {
    if (::chmod(data.c_str(), 0644) != 0) throw_errno("chmod " + data.string());
    return facts_of_file(data);
  });
  record.image_size = facts.size;
  record.image_digest = std::move(facts.digest);
}

std::filesystem::path LayerPublisher::new_folder(const WorkFolder& in) {
  auto folder = in.path() / std::to_string(next_folder_++);
  if (::mkdir(folder.c_str(), 0700) != 0) throw_errno("mkdir " + folder.string());
  return folder;
}

Awaitable<LayerPublisher::Tree> LayerPublisher::unpack(const LayerChain& chain, std::size_t index,
                                                       WhiteoutFormat whiteouts) {
  const auto folder = new_folder(apart_ ? *apart_ : staging_);
  auto extracted = co_await extract(chain.layers.at(index), folder / "extracted", whiteouts);
  check_diff_id(extracted.applied.diff_id, chain.diff_ids.at(index));
  Tree tree;
  tree.path = folder / "fs";
  const auto& unnamed = extracted.result.implicit_directories;
  const auto& named_later = extracted.result.named_later;
  tree.takes_from_below = !unnamed.empty() || !named_later.empty();
  SnapshotPlace place;
  place.directory = tree.path;
  place.overlay = true;
  if (tree.takes_from_below) {
    for (std::size_t below = index; below > 0; --below) {
      const auto files = co_await files_of(chain, below - 1);
      place.lower.push_back(files.string());
    }
  }
  const bool contents = options_.format == LayerFormat::directory;
  co_await pool_.run([&] {
    make_root(tree.path);
    if (!place_layer(folder / "extracted", place, unnamed, named_later)) {
      throw Error(Errc::internal, "the files cannot be moved to " + tree.path.string());
    }
    tree.survey = survey_and_date(tree.path, unnamed, contents);
  });
  co_return tree;
}

/// Of a layer that is published already, perhaps as an image, or that never is. They are only looked into.
Awaitable<std::filesystem::path> LayerPublisher::files_of(const LayerChain& chain, std::size_t index) {
  const auto known = files_.find(index);
  if (known != files_.end()) co_return known->second;
  // A second layer will want them too.
  keep_files_ = true;
  auto tree = co_await unpack(chain, index, WhiteoutFormat::overlay);
  files_[index] = tree.path;
  co_return tree.path;
}

Awaitable<ExtractedLayer> LayerPublisher::extract(Descriptor layer, std::filesystem::path folder,
                                                  WhiteoutFormat whiteouts) {
  const UniqueFd root = co_await pool_.run([&] { return make_root(folder); });
  std::exception_ptr failure;
  try {
    co_return co_await stream(std::move(layer), root.get(), whiteouts);
  } catch (...) {
    failure = std::current_exception();
  }
  // The folder must not be removed while the threads still write to it.
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await run_cleanup(threads_.idle(), end_of_stages, "the end of an extraction");
  std::rethrow_exception(failure);
}

Awaitable<ExtractedLayer> LayerPublisher::stream(Descriptor layer, int root, WhiteoutFormat whiteouts) {
  const auto present = co_await content_.info(layer.digest);
  if (!present) {
    throw Error(
        Errc::not_found,
        "its blob is not in the content store (a pull does not download what the snapshotter provides, "
        "and can discard what it has unpacked); 'lazypull fetch' the image, then publish it");
  }
  const auto reader = co_await content_.open(layer.digest);
  const StartThread start_thread = [this](std::function<void()> stage) { threads_.start(std::move(stage)); };
  ExtractOptions options;
  options.whiteouts = whiteouts;
  LayerPipeline pipeline(home_, start_thread, root, layer, true, options);
  for (;;) {
    const auto bytes = co_await reader->read();
    if (bytes.empty()) break;
    co_await pipeline.write(bytes);
  }
  auto extracted = co_await pipeline.finish();
  co_return extracted;
}

}  // namespace lazypull
