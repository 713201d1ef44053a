#include "tests/support/published_layer.hpp"

#include "snapshot/embedded/files.hpp"
#include "snapshot/remote/layer_image.hpp"
#include "snapshot/remote/layer_staging.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "snapshot/remote/tree_survey.hpp"
#include "snapshot/remote/work_folder.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"

#include <sys/mount.h>
#include <system_error>

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace lazypull::test {

namespace {

TreeSurvey survey(const std::filesystem::path& tree) {
  const auto root = open_file(tree, O_RDONLY | O_DIRECTORY);
  return survey_tree(root.get(), tree.string());
}

}  // namespace

RemoteLayer publish_layer(const std::filesystem::path& storage, const std::string& blob, LayerFormat format,
                          const FillFolder& fill) {
  make_storage(storage);
  const WorkFolder work(publishing_folder(storage));
  const auto tree = work.path() / "tree";
  const auto folder = work.path() / "layer";
  std::filesystem::create_directory(tree);
  std::filesystem::create_directory(folder);
  if (fill) {
    fill(tree);
  } else {
    write_file(tree / "file", "from " + blob);
  }
  const auto found = survey(tree);
  RemoteLayer layer;
  layer.record.digest = Digest::sha256_of(blob);
  layer.record.diff_id = Digest::sha256_of("tar:" + blob);
  layer.record.size = blob.size();
  layer.record.format = format;
  layer.record.attributes = found.attributes;
  const auto data = folder / layer_data_name(format);
  if (format == LayerFormat::directory) {
    layer.record.tree_digest = found.digest;
    std::filesystem::rename(tree, data);
  } else {
    run(make_layer_image(format, tree, data, layer.record.digest, found, -1));
    auto facts = facts_of_file(data);
    layer.record.image_size = facts.size;
    layer.record.image_digest = std::move(facts.digest);
  }
  place_published(storage, layer.record, folder, work.path() / "discarded");
  layer.data = layer_folder(storage, layer.record.digest) / layer_data_name(format);
  return layer;
}

HangingMount::HangingMount(std::filesystem::path directory)
    : directory_(std::move(directory)), connection_(::open("/dev/fuse", O_RDWR | O_CLOEXEC)) {
  if (connection_ < 0) throw std::system_error(errno, std::generic_category(), "open /dev/fuse");
  // Nobody reads the requests that come out of the connection, not even the first.
  const auto options = "fd=" + std::to_string(connection_) + ",rootmode=40000,user_id=0,group_id=0";
  if (::mount("hanging", directory_.c_str(), "fuse", MS_NODEV | MS_NOSUID, options.c_str()) != 0) {
    throw std::system_error(errno, std::generic_category(), "mount on " + directory_.string());
  }
}

void HangingMount::revive() noexcept {
  if (connection_ < 0) return;
  ::close(std::exchange(connection_, -1));
  ::umount2(directory_.c_str(), MNT_DETACH);
}

}  // namespace lazypull::test
