#include "snapshot/unpack/streaming_applier.hpp"

#include "engine/error.hpp"
#include "engine/layer_steps.hpp"
#include "snapshot/unpack/layer_pipeline.hpp"
#include "snapshot/unpack/place_layer.hpp"
#include "snapshot/unpack/remove_tree.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::size_t stages_of_a_layer = 3;

UniqueFd make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    const int error = errno;
    const bool full = error == ENOSPC || error == EDQUOT;
    throw Error(full ? Errc::out_of_space : Errc::internal, "make " + path + ": " + std::strerror(error));
  }
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) throw Error(Errc::internal, "open " + path + ": " + std::strerror(errno));
  return folder;
}

bool is_writable_folder(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && ::access(path.c_str(), W_OK) == 0;
}

/// As far as it goes; the snapshotter removes the rest with the folder.
void empty_folder(const std::string& path) noexcept {
  try {
    const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return;
    for (const auto& name : names_in(folder.get(), path)) remove_tree(folder.get(), name, path);
  } catch (...) {  // NOLINT(bugprone-empty-catch): who removes the snapshot says what is wrong
  }
}

ExtractOptions extract_options(const StreamingOptions& options, bool lowest) {
  ExtractOptions extract;
  extract.whiteouts = lowest ? WhiteoutFormat::remove : WhiteoutFormat::overlay;
  extract.privileged = options.privileged;
  extract.user_xattr = !options.privileged;
  return extract;
}

}  // namespace

class StreamingApplier::Unpack final : public LayerUnpack {
 public:
  Unpack(StreamingApplier& owner, std::string folder, bool lowest, Permit permit,
         std::unique_ptr<LayerPipeline> pipeline)
      : owner_(owner),
        folder_(std::move(folder)),
        lowest_(lowest),
        permit_(std::move(permit)),
        pipeline_(std::move(pipeline)) {}

  Awaitable<void> write(std::span<const std::byte> bytes) override { return pipeline_->write(bytes); }

  Awaitable<AppliedLayer> finish() override {
    auto extracted = co_await pipeline_->finish();
    result_ = std::move(extracted.result);
    pipeline_.reset();
    permit_.release();
    co_return extracted.applied;
  }

  Awaitable<bool> place(const std::vector<Mount>& mounts) override {
    const auto place = snapshot_place(mounts);
    const bool fits = place && place->overlay == !lowest_ &&
                      (!place->overlay || place->user_xattr == !owner_.options_.privileged);
    if (!fits) co_return false;
    const bool placed = co_await owner_.files_->run(
        [&] { return place_layer(folder_, *place, result_.implicit_directories, result_.named_later); });
    co_return placed;
  }

 private:
  StreamingApplier& owner_;
  std::string folder_;
  bool lowest_;
  Permit permit_;
  std::unique_ptr<LayerPipeline> pipeline_;
  ExtractResult result_;
};

StreamingApplier::StreamingApplier(asio::any_io_executor home, Snapshotter& snapshotter, Applier* other,
                                   StreamingOptions options)
    : home_(std::move(home)),
      snapshotter_(snapshotter),
      other_(other),
      options_(options),
      layers_(options.layers_at_once) {}

StreamingApplier::~StreamingApplier() = default;

Awaitable<AppliedLayer> StreamingApplier::apply(const Descriptor& layer, const std::vector<Mount>& mounts) {
  if (other_ == nullptr || options_.required) {
    throw Error(Errc::unsupported,
                "layers cannot be unpacked directly into the mounts of snapshotter " + snapshotter_.name());
  }
  return other_->apply(layer, mounts);
}

Awaitable<std::unique_ptr<LayerUnpack>> StreamingApplier::start(const Descriptor& layer,
                                                                UnpackTraits traits) {
  if (!opened_) co_await opening_.run(0, [this] { return open_scratch(); });
  if (scratch_folder_.empty()) co_return nullptr;
  auto permit = co_await layers_.acquire();
  std::string folder = scratch_folder_ + "/" + std::to_string(next_folder_++);
  const UniqueFd root = co_await files_->run([&] { return make_folder(folder); });
  const StartThread start_thread = [this](std::function<void()> stage) { threads_->start(std::move(stage)); };
  auto pipeline = std::make_unique<LayerPipeline>(home_, start_thread, root.get(), layer, traits.verify,
                                                  extract_options(options_, traits.lowest));
  co_return std::make_unique<Unpack>(*this, std::move(folder), traits.lowest, std::move(permit),
                                     std::move(pipeline));
}

Awaitable<> StreamingApplier::open_scratch() {
  if (opened_) co_return;
  std::exception_ptr failure;
  try {
    co_await prepare_scratch();
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) rethrow_with_context(failure, "scratch snapshot " + scratch_key_);
  if (scratch_folder_.empty() && options_.required) {
    throw Error(Errc::unsupported, "the snapshots of " + snapshotter_.name() +
                                       " are no folders that this process can write to, so layers cannot be "
                                       "unpacked directly");
  }
  opened_ = true;
}

Awaitable<> StreamingApplier::prepare_scratch() {
  // An earlier try that was cancelled may have made its snapshot all the same.
  if (!scratch_key_.empty()) co_await snapshotter_.remove(scratch_key_);
  scratch_key_ = unique_snapshot_key("extract", "scratch");
  const auto outcome = co_await snapshotter_.prepare(scratch_key_, {}, {});
  const auto place = snapshot_place(outcome.mounts);
  threads_ = std::make_unique<StageThreads>(stages_of_a_layer * options_.layers_at_once);
  files_ = std::make_unique<BlockingPool>(1);
  if (!place || place->overlay) co_return;
  const bool usable = co_await files_->run([&] { return is_writable_folder(place->directory); });
  if (usable) scratch_folder_ = place->directory;
}

Awaitable<> StreamingApplier::close() {
  if (scratch_key_.empty()) co_return;
  if (threads_) co_await threads_->idle();
  // On a disk that a layer has filled, its record could not be removed before what it has filled it with.
  if (!scratch_folder_.empty()) co_await files_->run([this] { empty_folder(scratch_folder_); });
  co_await snapshotter_.remove(scratch_key_);
}

}  // namespace lazypull
