#include "tools/layers_command.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include <initializer_list>
#include <utility>

namespace lazypull {
namespace {

class LayersGrammar {
 public:
  LayersGrammar(CLI::App& app, LayersCommand& command, std::function<void()> chosen)
      : command_(command), chosen_(std::move(chosen)) {
    group_ =
        app.add_subcommand("layers", "Unpacked layers in shared storage, to be mounted instead of pulled");
    group_->alias("layer");
    group_->require_subcommand(1);
    group_->fallthrough();
  }

  void add_publish() {
    auto& leaf =
        add_leaf(LayersAction::publish, "publish", {}, "Put the layers of a pulled image into a storage");
    leaf.footer(
        "Layers that are there are left alone. Needs root; erofs and squashfs need mkfs.erofs or "
        "mksquashfs.\n"
        "The flags that 'lazypull --help' lists are accepted here too.");
    leaf.add_option("IMAGE", command_.image, "Name of an image in containerd or in the embedded store")
        ->type_name("")
        ->required();
    leaf.add_option("--to", command_.storage, "Directory of the storage; is made if there is none")
        ->type_name("DIR")
        ->required();
    leaf.add_option(
            "--format", command_.format,
            "dir: a directory; erofs or squashfs: an image, which also carries over file systems that "
            "lack extended attributes")
        ->type_name("FORMAT")
        ->default_str(command_.format)
        ->check(CLI::IsMember({"dir", "erofs", "squashfs"}));
    leaf.add_option("--layers", command_.count, "Only so many of the lowest layers")
        ->type_name("NUMBER")
        ->check(CLI::PositiveNumber);
    leaf.add_option("--platform", command_.platform, "Platform; the host's if not given")
        ->type_name("PLATFORM");
    leaf.add_option("--work", command_.work,
                    "Local directory to unpack in before images are made; in the storage if not given")
        ->type_name("DIR");
  }

  void add_others() {
    auto& list = add_leaf(LayersAction::list, "ls", {"list"}, "List the layers of a storage");
    add_storage(list);
    list.add_flag("-q,--quiet", command_.quiet, "Digests only");
    auto& verify = add_leaf(LayersAction::verify, "verify", {},
                            "Read layers of a storage and compare them with their records");
    add_storage(verify);
    add_digests(verify, "Digest of a layer; may be repeated; all layers if not given");
    auto& remove = add_leaf(LayersAction::remove, "rm", {"remove", "delete", "del"},
                            "Remove layers from a storage, which no node may be using");
    add_storage(remove);
    add_digests(remove, "Digest of a layer; may be repeated")->required();
  }

 private:
  CLI::App& add_leaf(LayersAction action, const char* name, std::initializer_list<const char*> aliases,
                     const char* help) {
    auto* leaf = group_->add_subcommand(name, help);
    for (const auto* alias : aliases) leaf->alias(alias);
    leaf->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    leaf->fallthrough();
    leaf->footer("The flags that 'lazypull --help' lists are accepted here too.");
    leaf->parse_complete_callback([this_command = &command_, chosen = chosen_, action] {
      this_command->action = action;
      chosen();
    });
    leaf->add_option_function<std::string>(
            "--output",
            [this_command = &command_](const std::string& word) { this_command->json = word == "json"; },
            "text, or json: one object on standard output")
        ->type_name("FORMAT")
        ->default_str("text")
        ->check(CLI::IsMember({"text", "json"}));
    leaf->add_flag_callback(
        "--json", [this_command = &command_] { this_command->json = true; }, "The same as --output json");
    return *leaf;
  }

  void add_storage(CLI::App& leaf) {
    leaf.add_option("DIR", command_.storage, "Directory of the storage")->type_name("")->required();
  }

  CLI::Option* add_digests(CLI::App& leaf, const char* help) {
    return leaf.add_option("DIGEST", command_.digests, help)->type_name("")->take_all();
  }

  LayersCommand& command_;
  std::function<void()> chosen_;
  CLI::App* group_;
};

}  // namespace

void add_layers_commands(CLI::App& app, LayersCommand& command, std::function<void()> chosen) {
  LayersGrammar grammar(app, command, std::move(chosen));
  grammar.add_publish();
  grammar.add_others();
}

}  // namespace lazypull
