#include "snapshot/remote/layer_image.hpp"

#include "engine/error.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "snapshot/remote/run_program.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lazypull {
namespace {

struct Recipe {
  std::vector<std::string> arguments;
  const char* package = "";  ///< of Debian
};

/// A file system's identity that is the layer's.
std::string uuid_of(const Digest& layer) {
  auto text = std::string(layer.hex().substr(0, 32));
  for (const std::size_t at : {20U, 16U, 12U, 8U}) text.insert(at, "-");
  return text;
}

Recipe recipe_of(LayerFormat format, const std::string& tree, const std::string& image, const Digest& layer) {
  if (format == LayerFormat::erofs) {
    return {{"mkfs.erofs", "--quiet", "-zlz4hc", "-U" + uuid_of(layer), image, tree}, "erofs-utils"};
  }
  return {{"mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-comp", "zstd", "-xattrs",
           "-exit-on-error"},
          "squashfs-tools"};
}

/// squashfs has no access control lists, and mksquashfs only says so.
void check_representable(LayerFormat format, const TreeSurvey& survey) {
  if (format == LayerFormat::squashfs && survey.access_list) {
    throw Error(Errc::unsupported, "squashfs cannot hold the access control list of " + *survey.access_list +
                                       "; publish the layer as erofs or dir");
  }
}

}  // namespace

Awaitable<> make_layer_image(LayerFormat format, std::filesystem::path tree, std::filesystem::path image,
                             Digest layer, TreeSurvey survey, int inherit) {
  check_representable(format, survey);
  auto recipe = recipe_of(format, tree, image, layer);
  // The time of the image itself. Later times of files would be cut to it, so none is later.
  std::map<std::string, std::string> environment{{"SOURCE_DATE_EPOCH", std::to_string(survey.newest + 1)}};
  const auto program = recipe.arguments.front();
  ProgramRun run;
  try {
    run = co_await run_program(std::move(recipe.arguments), std::move(environment), inherit);
  } catch (const Error& error) {
    if (error.code() != Errc::not_found) throw;
    throw Error(Errc::failed_precondition,
                program + " is needed to publish layers as " + std::string(to_string(format)) +
                    " and is not installed; Debian has it in the package " + recipe.package);
  }
  if (run.exit_code == 0) co_return;
  const bool full = run.output.find("No space left") != std::string::npos;
  throw Error(full ? Errc::out_of_space : Errc::internal,
              program + " ended with " + std::to_string(run.exit_code) + ": " + run.output);
}

}  // namespace lazypull
