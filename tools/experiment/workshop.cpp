#include "tools/experiment/workshop.hpp"

#include "engine/error.hpp"
#include "tools/experiment/child.hpp"
#include "tools/experiment/node.hpp"
#include "tools/experiment/registry.hpp"

#include <algorithm>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes step_limit{30};

/// Runs one of the programs that prepare images.
class Tool {
 public:
  explicit Tool(fs::path folder) : folder_(std::move(folder)) { fs::create_directories(folder_); }
  void run(std::vector<std::string> argv) const {
    run_to_end(std::move(argv), folder_ / "tool.out", folder_ / "tool.err", step_limit);
  }
  const fs::path& folder() const noexcept { return folder_; }

 private:
  fs::path folder_;
};

/// A layout of the same image with eStargz layers.
fs::path convert_to_estargz(const Programs& programs, const ServedImage& image, const fs::path& folder) {
  const Tool tool(folder);
  const Node node({programs, folder / "node", SnapshotterKind::overlayfs, {}});
  const auto archive = (folder / "image.tar").string();
  const auto converted = folder / "converted";
  const std::string base = "converted.example.com/" + image.repository;
  const std::vector<std::string> ctr = {programs.ctr, "--address", node.address()};
  const auto with = [](std::vector<std::string> argv, std::initializer_list<std::string> more) {
    argv.insert(argv.end(), more);
    return argv;
  };
  tool.run({"tar", "-C", image.layout.string(), "-cf", archive, "."});
  tool.run(with(ctr, {"images", "import", "--no-unpack", "--base-name", base, archive}));
  tool.run({programs.ctr_remote, "--address", node.address(), "images", "convert", "--estargz", "--oci",
            base + ":latest", base + ":estargz"});
  tool.run(with(ctr, {"images", "export", archive, base + ":estargz"}));
  fs::create_directories(converted);
  tool.run({"tar", "-C", converted.string(), "-xf", archive});
  fs::remove(archive);
  return converted;
}

/// Puts layers into the storage by way of an embedded store, which is thrown away.
void publish(const Spec& spec, const Prepared& prepared, const fs::path& folder) {
  const Tool tool(folder / "publish");
  const ExperimentRegistry registry(spec.programs, prepared.layouts(), {{"direct", {}}}, tool.folder());
  const auto store = (tool.folder() / "store").string();
  for (const auto& [name, forms] : prepared.images) {
    const auto reference = registry.reference("direct", forms.plain);
    tool.run({spec.programs.lazypull, "--store", store, "pull", "--quiet", reference});
    std::vector<std::string> command = {
        spec.programs.lazypull,         "--store", store, "layers", "publish", reference, "--to",
        prepared.layer_storage.string()};
    if (spec.publish_layers != 0) {
      command.emplace_back("--layers");
      command.push_back(std::to_string(std::min(spec.publish_layers, forms.plain.layers)));
    }
    tool.run(std::move(command));
  }
  remove_with_mounts(tool.folder());
}

bool has(const std::vector<SnapshotterKind>& kinds, SnapshotterKind kind) {
  return std::ranges::find(kinds, kind) != kinds.end();
}

}  // namespace

std::vector<fs::path> Prepared::layouts() const {
  std::vector<fs::path> all;
  for (const auto& [name, forms] : images) {
    for (const auto* image : {&forms.plain, &forms.plain_base, &forms.estargz, &forms.estargz_base}) {
      if (!image->layout.empty()) all.push_back(image->layout);
    }
  }
  return all;
}

Prepared prepare_images(const Spec& spec, const fs::path& folder) {
  Prepared prepared;
  const bool stargz = has(spec.snapshotters, SnapshotterKind::stargz);
  for (const auto& image : spec.images) {
    auto& forms = prepared.images[image.name];
    const auto served = folder / "served";
    forms.plain = serve_image(image.layout, served / image.name);
    const auto base = [&](const ServedImage& whole) {
      if (image.base_layers > whole.layers) {
        throw Error(Errc::invalid_argument, "image " + image.name + ": base_layers is " +
                                                std::to_string(image.base_layers) + ", but there are only " +
                                                std::to_string(whole.layers) + " layers");
      }
      return serve_image(whole.layout, served / (whole.repository + "-base"), image.base_layers,
                         whole.layout);
    };
    if (image.base_layers != 0) forms.plain_base = base(forms.plain);
    if (!stargz) continue;
    const auto scratch = folder / "convert";
    auto source = image.estargz;
    if (source.empty()) source = convert_to_estargz(spec.programs, forms.plain, scratch);
    forms.estargz = serve_image(source, served / (image.name + "-estargz"));
    remove_with_mounts(scratch);
    if (image.base_layers != 0) forms.estargz_base = base(forms.estargz);
  }
  if (has(spec.snapshotters, SnapshotterKind::lazypull)) {
    prepared.layer_storage = folder / "layers";
    fs::create_directories(prepared.layer_storage);
    publish(spec, prepared, folder);
  }
  return prepared;
}

}  // namespace lazypull::experiment
