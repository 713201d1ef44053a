#include "tools/store_command.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include <initializer_list>
#include <utility>

namespace lazypull {

namespace {

/// Declares commands that all fill in one StoreCommand.
class StoreGrammar {
 public:
  StoreGrammar(CLI::App& app, StoreCommand& command, std::function<void()> chosen)
      : app_(app), command_(command), chosen_(std::move(chosen)) {}

  void add_all() {
    add_images();
    add_content();
    add_snapshots();
    add_mounts();
    add_export();
    add_leaf(app_, StoreAction::collect_garbage, "gc", {},
             "Remove what no image of the embedded store leads to");
  }

 private:
  CLI::App& add_group(const char* name, std::initializer_list<const char*> aliases, const char* help) {
    auto* group = app_.add_subcommand(name, help);
    for (const auto* alias : aliases) group->alias(alias);
    group->require_subcommand(1);
    group->fallthrough();
    return *group;
  }

  CLI::App& add_leaf(CLI::App& parent, StoreAction action, const char* name,
                     std::initializer_list<const char*> aliases, const char* help) {
    auto* leaf = parent.add_subcommand(name, help);
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
        ->check(CLI::IsMember({"text", "json"}, CLI::ignore_case));
    return *leaf;
  }

  void add_quiet(CLI::App& leaf, const char* help) { leaf.add_flag("-q,--quiet", command_.quiet, help); }

  void add_names(CLI::App& leaf, const char* name, const char* help) {
    leaf.add_option(name, command_.names, help)->type_name("")->required()->take_all();
  }

  void add_name(CLI::App& leaf, const char* name, const char* help) {
    leaf.add_option_function<std::string>(
            name, [this_command = &command_](const std::string& word) { this_command->names = {word}; }, help)
        ->type_name("")
        ->required();
  }

  void add_platform(CLI::App& leaf, const char* help, bool several) {
    auto* platform = leaf.add_option("--platform", command_.platforms, help)
                         ->type_name("PLATFORM")
                         ->expected(1)
                         ->allow_extra_args(false);
    if (several) platform->take_all()->delimiter(',');
  }

  void add_images() {
    auto& images = add_group("images", {"image", "i"}, "Images of the embedded store");
    auto& list = add_leaf(images, StoreAction::images_list, "ls", {"list"}, "List the images");
    add_quiet(list, "Names only");
    auto& remove = add_leaf(images, StoreAction::images_remove, "rm", {"remove", "delete", "del"},
                            "Remove images, and what nothing else leads to");
    add_names(remove, "IMAGE", "Name of an image; may be repeated");
    remove.add_flag("--sync")->description("Accepted as ctr has it: what is removed is always gone at once");
    auto& inspect = add_leaf(images, StoreAction::images_inspect, "inspect", {},
                             "Show what an image is made of, and what of it is there");
    add_name(inspect, "IMAGE", "Name of an image");
  }

  void add_content() {
    auto& content = add_group("content", {"c"}, "Content of the embedded store");
    auto& list = add_leaf(content, StoreAction::content_list, "ls", {"list"}, "List the content");
    add_quiet(list, "Digests only");
    auto& get = add_leaf(content, StoreAction::content_get, "get", {}, "Write content to standard output");
    add_names(get, "DIGEST", "Digest; may be repeated");
    auto& remove = add_leaf(content, StoreAction::content_remove, "rm", {"remove", "delete", "del"},
                            "Remove content, whatever leads to it");
    add_names(remove, "DIGEST", "Digest; may be repeated");
    auto& verify = add_leaf(content, StoreAction::content_verify, "verify", {},
                            "Read all content, follow all references, and look for what is left over");
    add_quiet(verify, "Say nothing unless something is wrong");
  }

  void add_snapshots() {
    auto& snapshots = add_group("snapshots", {"snapshot"}, "Snapshots of the embedded store");
    auto& list = add_leaf(snapshots, StoreAction::snapshots_list, "ls", {"list"}, "List the snapshots");
    add_quiet(list, "Keys only");
    auto& mounts = add_leaf(snapshots, StoreAction::snapshots_mounts, "mounts", {"m", "mount"},
                            "Print the commands that would mount an active snapshot or a view");
    mounts.add_option("TARGET", command_.directory, "Where it would be mounted")->type_name("")->required();
    add_name(mounts, "KEY", "Key of the snapshot");
  }

  void add_mounts() {
    auto& mount = add_leaf(app_, StoreAction::mount, "mount", {},
                           "Mount an image of the embedded store; without root, copy its files");
    mount.footer(
        "Read-only, unless --rw is given. Files are copied with shared blocks where the file system can do "
        "that.\nWhat is mounted stays in the store until it is unmounted.");
    add_name(mount, "IMAGE", "Name of an image");
    mount.add_option("DIR", command_.directory, "Directory; is made if there is none")
        ->type_name("")
        ->required();
    mount.add_flag("--rw", command_.writable, "Changes are possible; unmounting drops them");
    mount.add_flag("--copy", command_.copy, "Copy the files even as root");
    add_platform(mount, "Platform; the host's if not given", false);
    auto& unmount = add_leaf(app_, StoreAction::unmount, "unmount", {"umount"},
                             "Undo a mount, or remove the copy that mount has made");
    unmount.add_option("DIR", command_.directory, "Directory")->type_name("")->required();
  }

  void add_export() {
    auto& leaf = add_leaf(app_, StoreAction::export_image, "export", {},
                          "Write an image of the embedded store to an archive (oci-archive)");
    add_name(leaf, "IMAGE", "Name of an image");
    leaf.add_option("FILE", command_.file, "Archive to write; '-' is standard output")
        ->type_name("")
        ->required();
    add_platform(leaf, "Only these; whatever is there if not given; may be repeated or comma-separated",
                 true);
    leaf.add_flag("--all-platforms", command_.all_platforms, "Fail unless every platform is there");
  }

  CLI::App& app_;
  StoreCommand& command_;
  std::function<void()> chosen_;
};

}  // namespace

void add_store_commands(CLI::App& app, StoreCommand& command, std::function<void()> chosen) {
  StoreGrammar(app, command, std::move(chosen)).add_all();
}

}  // namespace lazypull
