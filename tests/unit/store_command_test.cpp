#include "tools/store_command.hpp"

#include "engine/error.hpp"
#include "tests/support/store_fixture.hpp"
#include "tests/support/stored_image.hpp"

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr const char* app_name = "registry.example.com/team/app:1";

struct StoreCommands : testing::Test {
  TempDir dir{"commands"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "default");
  std::string raw;  ///< what the last command wrote to standard output by itself

  static std::function<void(const std::filesystem::path&)> file(const std::string& name,
                                                                const std::string& text) {
    return [=](const std::filesystem::path& folder) { write_file(folder / name, text); };
  }

  StoredPart two_layers(const Platform& platform = Platform::host(), const std::string& salt = "") {
    return store_part(*store,
                      {{.blob = "lower" + salt, .fill = file("bin/tool", "tool")},
                       {.blob = "upper" + salt, .fill = file("etc/config", "config")}},
                      platform);
  }

  std::string run(StoreCommand command) {
    const int output = ::memfd_create("stdout", MFD_CLOEXEC);
    const auto text = run_store_command(command, *store, output);
    raw.resize(static_cast<std::size_t>(::lseek(output, 0, SEEK_END)));
    EXPECT_EQ(::pread(output, raw.data(), raw.size(), 0), static_cast<::ssize_t>(raw.size()));
    ::close(output);
    return text;
  }

  std::string run(StoreAction action, std::vector<std::string> names = {}) {
    StoreCommand command;
    command.action = action;
    command.names = std::move(names);
    return run(command);
  }

  json::object run_json(StoreAction action, std::vector<std::string> names = {}) {
    StoreCommand command;
    command.action = action;
    command.names = std::move(names);
    command.json = true;
    return json::parse(run(command)).as_object();
  }

  Errc failure(StoreAction action, std::vector<std::string> names = {}) {
    return failure_of([&] { run(action, std::move(names)); });
  }

  std::string run_quiet(StoreAction action) {
    StoreCommand command;
    command.action = action;
    command.quiet = true;
    return run(command);
  }
};

TEST_F(StoreCommands, AnEmptyStoreListsItsHeadingsOnly) {
  EXPECT_EQ(run(StoreAction::images_list), "REF TYPE DIGEST SIZE PLATFORMS LABELS\n");
  EXPECT_EQ(run(StoreAction::content_list), "DIGEST SIZE AGE LABELS\n");
  EXPECT_EQ(run(StoreAction::snapshots_list), "KEY PARENT KIND\n");
  EXPECT_EQ(run_quiet(StoreAction::images_list), "");
  EXPECT_TRUE(run_json(StoreAction::images_list).at("images").as_array().empty());
}

TEST_F(StoreCommands, ImagesAreListedWithTheSizeOfTheirHostsPlatform) {
  const auto part = two_layers();
  record_image(*store, app_name, part.manifest, {{"team", "a"}, {"b", "c"}});
  record_image(*store, "registry.example.com/team/bare:1", descriptor_of_content("not here"));
  const auto text = run(StoreAction::images_list);
  const auto size = part.manifest.size + part.config.size + 10;
  EXPECT_THAT(text, HasSubstr(std::string(app_name) + "  application/vnd.oci.image.manifest.v1+json " +
                              part.manifest.digest.str() + " " + std::to_string(size) + " B "));
  EXPECT_THAT(text, HasSubstr(Platform::host().str() + " b=c,team=a\n"));
  EXPECT_EQ(run_quiet(StoreAction::images_list),
            std::string(app_name) + "\nregistry.example.com/team/bare:1\n");
  const auto images = run_json(StoreAction::images_list).at("images").as_array();
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[0].as_object().at("size").as_int64(), static_cast<std::int64_t>(size));
}

TEST_F(StoreCommands, AnIndexListsThePlatformsThatItNames) {
  const auto here = two_layers();
  auto elsewhere = descriptor_of_content("another manifest");
  elsewhere.media_type = media_type::oci_manifest;
  elsewhere.platform =
      Platform{.os = "linux", .architecture = "riscv64", .variant = {}, .os_version = {}, .os_features = {}};
  record_image(*store, app_name, store_index(*store, {here}, {elsewhere}));
  EXPECT_THAT(run(StoreAction::images_list), HasSubstr(Platform::host().str() + ",linux/riscv64"));
}

TEST_F(StoreCommands, NamesThatCouldStirTheTerminalAreMadeHarmless) {
  record_image(*store, "evil\x1b[2Jname", descriptor_of_content("x"));
  EXPECT_THAT(run(StoreAction::images_list), Not(HasSubstr("\x1b")));
  EXPECT_THAT(run_quiet(StoreAction::images_list), Not(HasSubstr("\x1b")));
}

TEST_F(StoreCommands, RemovingAnImageRemovesWhatNothingElseLeadsTo) {
  const auto part = two_layers();
  const auto other = store_part(*store, {{.blob = "lower", .fill = {}}});
  record_image(*store, app_name, part.manifest);
  record_image(*store, "registry.example.com/team/other:1", other.manifest);
  EXPECT_EQ(run(StoreAction::images_remove, {app_name}), std::string(app_name) + "\n");
  EXPECT_FALSE(store->content().info(part.manifest.digest));
  EXPECT_FALSE(store->content().info(part.layers[1].digest));
  EXPECT_TRUE(store->content().info(part.layers[0].digest)) << "the other image has it too";
  EXPECT_TRUE(store->snapshots().stat(part.chain_ids[0]));
  EXPECT_FALSE(store->snapshots().stat(part.chain_ids[1]));
}

TEST_F(StoreCommands, AnImageIsFoundByTheShortFormOfItsName) {
  record_image(*store, "docker.io/library/alpine:latest", two_layers().manifest);
  EXPECT_THAT(run(StoreAction::images_inspect, {"alpine"}), StartsWith("docker.io/library/alpine:latest\n"));
  EXPECT_EQ(run(StoreAction::images_remove, {"alpine"}), "docker.io/library/alpine:latest\n");
}

TEST_F(StoreCommands, RemovingGoesOnAfterANameThatIsNotThereAndFails) {
  record_image(*store, app_name, two_layers().manifest);
  EXPECT_EQ(failure(StoreAction::images_remove, {"nothing", app_name}), Errc::not_found);
  EXPECT_THAT(store->images().list(), IsEmpty());
}

TEST_F(StoreCommands, InspectTellsWhatIsThere) {
  const auto part = two_layers();
  record_image(*store, app_name, part.manifest);
  store->content().remove(part.layers[0].digest);
  const auto text = run(StoreAction::images_inspect, {app_name});
  EXPECT_THAT(text, HasSubstr("layer    " + part.layers[0].digest.str() + " 5 B   absent "));
  EXPECT_THAT(text, HasSubstr("layer    " + part.layers[1].digest.str() + " 5 B   present "));
  EXPECT_THAT(text, HasSubstr("snapshot " + part.chain_ids[1] + " -     unpacked"));
  const auto manifests = run_json(StoreAction::images_inspect, {app_name}).at("manifests").as_array();
  ASSERT_EQ(manifests.size(), 1U);
  const auto& only = manifests[0].as_object();
  EXPECT_EQ(only.at("platform").as_string(), Platform::host().str());
  EXPECT_EQ(only.at("chain_id").as_string(), part.chain_ids[1]);
  EXPECT_TRUE(only.at("unpacked").as_bool());
  EXPECT_FALSE(only.at("layers").as_array()[0].as_object().at("present").as_bool());
  EXPECT_EQ(failure(StoreAction::images_inspect, {"nothing"}), Errc::not_found);
}

TEST_F(StoreCommands, ContentIsListedGotAndRemoved) {
  const auto digest = add_content(*store, "some bytes", {{"a", "b"}});
  EXPECT_THAT(run(StoreAction::content_list), HasSubstr(digest.str() + " 10 B "));
  EXPECT_EQ(run_quiet(StoreAction::content_list), digest.str() + "\n");
  const auto listed = run_json(StoreAction::content_list).at("content").as_array();
  EXPECT_EQ(listed.at(0).as_object().at("labels").as_object().at("a").as_string(), "b");
  EXPECT_EQ(run(StoreAction::content_get, {digest.str()}), "");
  EXPECT_EQ(raw, "some bytes");
  EXPECT_EQ(run(StoreAction::content_remove, {digest.str()}), digest.str() + "\n");
  EXPECT_EQ(failure(StoreAction::content_get, {digest.str()}), Errc::not_found);
  EXPECT_EQ(failure(StoreAction::content_remove, {digest.str()}), Errc::not_found);
  EXPECT_EQ(failure(StoreAction::content_remove, {"no digest"}), Errc::invalid_argument);
  EXPECT_EQ(entries_in(store->layout().blobs() / "sha256"), 0U);
}

TEST_F(StoreCommands, SnapshotsAreListedWithTheirKinds) {
  add_snapshot(*store, "bottom");
  store->snapshots().prepare("active", "bottom", {}, {});
  store->snapshots().view("view", "bottom", {}, {});
  EXPECT_EQ(run(StoreAction::snapshots_list),
            "KEY    PARENT KIND\n"
            "active bottom Active\n"
            "bottom -      Committed\n"
            "view   bottom View\n");
  EXPECT_EQ(run_quiet(StoreAction::snapshots_list), "active\nbottom\nview\n");
  EXPECT_EQ(run_json(StoreAction::snapshots_list).at("snapshots").as_array().size(), 3U);
}

TEST_F(StoreCommands, SnapshotMountsArePrintedAsCommands) {
  add_snapshot(*store, "bottom");
  store->snapshots().view("view", "bottom", {}, {});
  StoreCommand command;
  command.action = StoreAction::snapshots_mounts;
  command.names = {"view"};
  command.directory = "/mnt";
  const auto folder = store->snapshots().layers("bottom").front().string();
  EXPECT_EQ(run(command), "mount -t bind " + folder + " /mnt -o ro,rbind\n");
  command.json = true;
  const auto mounts = json::parse(run(command)).as_object().at("mounts").as_array();
  EXPECT_EQ(mounts.at(0).as_object().at("source").as_string(), folder);
}

TEST_F(StoreCommands, GarbageCollectionTellsWhatItHasRemoved) {
  add_content(*store, "garbage");
  add_snapshot(*store, "garbage");
  EXPECT_THAT(run(StoreAction::collect_garbage),
              StartsWith("removed 1 content, 1 snapshot, 0 ingests, 0 leases; "));
  const auto garbage = run_json(StoreAction::collect_garbage).at("garbage").as_object();
  EXPECT_EQ(garbage.at("contents").as_int64(), 0);
}

TEST_F(StoreCommands, EveryKindOfFailureHasAnExitCode) {
  EXPECT_EQ(store_exit_code(Errc::not_found), ExitCode::not_found);
  EXPECT_EQ(store_exit_code(Errc::platform_not_found), ExitCode::not_found);
  EXPECT_EQ(store_exit_code(Errc::invalid_argument), ExitCode::usage);
  EXPECT_EQ(store_exit_code(Errc::digest_mismatch), ExitCode::content);
  EXPECT_EQ(store_exit_code(Errc::out_of_space), ExitCode::out_of_space);
  EXPECT_EQ(store_exit_code(Errc::failed_precondition), ExitCode::failure);
}

struct Exporting : StoreCommands {
  std::string export_app(std::vector<std::string> platforms = {}, bool all = false) {
    StoreCommand command;
    command.action = StoreAction::export_image;
    command.names = {app_name};
    command.file = "-";
    command.platforms = std::move(platforms);
    command.all_platforms = all;
    run(command);
    return raw;
  }

  /// The files of an archive in their order; directories end in a slash.
  static std::vector<std::pair<std::string, std::string>> files_of(const std::string& archive) {
    std::vector<std::pair<std::string, std::string>> files;
    std::size_t at = 0;
    while (at + 512 <= archive.size() && archive[at] != '\0') {
      const auto header = archive.substr(at, 512);
      const std::string name(header.c_str());
      const auto size = std::stoul(header.substr(124, 11), nullptr, 8);
      EXPECT_EQ(header.substr(257, 8), std::string("ustar\00000", 8));
      files.emplace_back(name, archive.substr(at + 512, size));
      at += 512 + (size + 511) / 512 * 512;
    }
    EXPECT_EQ(archive.size(), at + 1024) << "two empty blocks end an archive";
    return files;
  }

  static std::map<std::string, std::string> contents(const std::string& archive) {
    const auto files = files_of(archive);
    return {files.begin(), files.end()};
  }

  static std::string blob(const Descriptor& descriptor) {
    return "blobs/sha256/" + std::string(descriptor.digest.hex());
  }
};

TEST_F(Exporting, AnArchiveIsAnOciLayoutWithOnlyThatImage) {
  const auto part = two_layers();
  record_image(*store, app_name, part.manifest);
  add_content(*store, "something else");
  const auto files = contents(export_app());
  EXPECT_EQ(files.size(), 8U);
  EXPECT_EQ(files.at("oci-layout"), R"({"imageLayoutVersion":"1.0.0"})");
  for (const auto& descriptor : {part.manifest, part.config, part.layers[0], part.layers[1]}) {
    EXPECT_EQ(Digest::sha256_of(files.at(blob(descriptor))), descriptor.digest);
  }
  const auto manifests = json::parse(files.at("index.json")).as_object().at("manifests").as_array();
  ASSERT_EQ(manifests.size(), 1U);
  const auto& annotations = manifests[0].as_object().at("annotations").as_object();
  EXPECT_EQ(annotations.at("io.containerd.image.name").as_string(), app_name);
  EXPECT_EQ(annotations.at("org.opencontainers.image.ref.name").as_string(), "1");
}

TEST_F(Exporting, TwoExportsAreTheSameBytesInTheOrderOfNames) {
  record_image(*store, app_name, two_layers().manifest);
  const auto first = export_app();
  EXPECT_EQ(export_app(), first);
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files_of(first)) names.push_back(name);
  EXPECT_TRUE(std::ranges::is_sorted(names)) << testing::PrintToString(names);
}

TEST_F(Exporting, TarReadsIt) {
  record_image(*store, app_name, two_layers().manifest);
  const auto archive = dir / "out.tar";
  StoreCommand command;
  command.action = StoreAction::export_image;
  command.names = {app_name};
  command.file = archive.string();
  EXPECT_EQ(run(command), "");
  std::filesystem::create_directories(dir / "unpacked");
  const auto unpack = "tar -xf " + archive.string() + " -C " + (dir / "unpacked").string();
  ASSERT_EQ(std::system(unpack.c_str()), 0);
  EXPECT_EQ(read_file(dir / "unpacked/oci-layout"), R"({"imageLayoutVersion":"1.0.0"})");
  EXPECT_EQ(read_file(archive), export_app());
}

TEST_F(Exporting, AnExportThatFailsLeavesNoFile) {
  const auto part = two_layers();
  record_image(*store, app_name, part.manifest);
  std::filesystem::remove(store->layout().blob(part.layers[1].digest));
  write_file(store->layout().blob(part.layers[1].digest), "UPPER");
  StoreCommand command;
  command.action = StoreAction::export_image;
  command.names = {app_name};
  command.file = (dir / "out.tar").string();
  EXPECT_EQ(failure_of([&] { run(command); }), Errc::digest_mismatch);
  EXPECT_EQ(entries_in(dir.path()), 1U);
}

TEST_F(Exporting, WhatIsMissingIsSaid) {
  const auto part = two_layers();
  record_image(*store, app_name, part.manifest);
  store->content().remove(part.layers[1].digest);
  try {
    export_app();
    FAIL() << "it was exported";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::not_found);
    EXPECT_THAT(error.message(), HasSubstr(app_name));
    EXPECT_THAT(error.message(), HasSubstr(part.layers[1].digest.str()));
  }
}

TEST_F(Exporting, OfAnIndexThePlatformsThatAreThereOrThoseThatAreNamed) {
  const auto amd = two_layers(Platform::parse("linux/amd64"), "amd64");
  const auto arm = two_layers(Platform::parse("linux/arm64"), "arm64");
  auto elsewhere = descriptor_of_content("another manifest");
  elsewhere.media_type = media_type::oci_manifest;
  elsewhere.platform = Platform::parse("linux/riscv64");
  const auto index = store_index(*store, {amd, arm}, {elsewhere});
  record_image(*store, app_name, index);
  const auto whole = contents(export_app());
  EXPECT_TRUE(whole.contains(blob(index)));
  EXPECT_TRUE(whole.contains(blob(amd.manifest)));
  EXPECT_TRUE(whole.contains(blob(arm.layers[0])));

  const auto one = contents(export_app({"linux/arm64"}));
  EXPECT_TRUE(one.contains(blob(index)));
  EXPECT_FALSE(one.contains(blob(amd.manifest)));
  EXPECT_FALSE(one.contains(blob(amd.layers[0])));
  EXPECT_TRUE(one.contains(blob(arm.layers[0])));

  EXPECT_EQ(failure_of([&] { export_app({"linux/s390x"}); }), Errc::platform_not_found);
  EXPECT_EQ(failure_of([&] { export_app({}, true); }), Errc::not_found);
  EXPECT_EQ(failure_of([&] { export_app({"linux/arm64"}, true); }), Errc::invalid_argument);
}

TEST_F(Exporting, ALongDigestGetsAPaxHeader) {
  const std::string bytes = "config";
  Hasher hasher("sha512");
  hasher.update(bytes_of(bytes));
  const auto digest = hasher.finish();
  const auto ingest = store->content().ingest("long", {.digest = digest, .size = bytes.size()}, {});
  ingest->write(bytes_of(bytes));
  ingest->commit(digest, {});
  const std::string manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.example","digest":")" +
      digest.str() + R"(","size":6},"layers":[]})";
  add_content(*store, manifest);
  auto target = descriptor_of_content(manifest);
  target.media_type = media_type::oci_manifest;
  record_image(*store, app_name, target);
  write_file(dir / "out.tar", export_app());
  std::filesystem::create_directories(dir / "unpacked");
  const auto unpack = "tar -xf " + (dir / "out.tar").string() + " -C " + (dir / "unpacked").string();
  ASSERT_EQ(std::system(unpack.c_str()), 0);
  EXPECT_EQ(read_file(dir / "unpacked/blobs/sha512" / std::string(digest.hex())), bytes);
}

struct Mounting : StoreCommands {
  std::filesystem::path target = dir.path() / "mnt";

  std::string mount(bool writable = false, bool copy = false, std::vector<std::string> platforms = {}) {
    StoreCommand command;
    command.action = StoreAction::mount;
    command.names = {app_name};
    command.directory = target.string();
    command.writable = writable;
    command.copy = copy;
    command.platforms = std::move(platforms);
    return run(command);
  }
  std::string unmount() {
    StoreCommand command;
    command.action = StoreAction::unmount;
    command.directory = target.string();
    return run(command);
  }
  std::size_t rows() {
    return store->metadata().read([](Rows& rows) { return rows.mounts.list().size(); });
  }
};

TEST_F(Mounting, ACopyHasTheFilesAndGoesAgain) {
  record_image(*store, app_name, two_layers().manifest);
  EXPECT_EQ(mount(false, true), target.string() + "\n");
  EXPECT_EQ(read_file(target / "bin/tool"), "tool");
  EXPECT_EQ(read_file(target / "etc/config"), "config");
  write_file(target / "etc/config", "changed");
  EXPECT_EQ(unmount(), target.string() + "\n");
  EXPECT_EQ(entries_in(target), 0U);
  EXPECT_EQ(rows(), 0U);
  EXPECT_EQ(store->snapshots().list().size(), 2U);
}

TEST_F(Mounting, ACopyDoesNotHoldTheImage) {
  record_image(*store, app_name, two_layers().manifest);
  mount(false, true);
  run(StoreAction::images_remove, {app_name});
  EXPECT_THAT(store->snapshots().list(), IsEmpty());
  EXPECT_EQ(read_file(target / "bin/tool"), "tool");
  unmount();
}

TEST_F(Mounting, ADirectoryWithFilesIsNotCopiedIntoNorEmptied) {
  record_image(*store, app_name, two_layers().manifest);
  write_file(target / "precious", "precious");
  EXPECT_EQ(failure_of([&] { mount(false, true); }), Errc::failed_precondition);
  EXPECT_EQ(rows(), 0U);
  EXPECT_EQ(failure_of([&] { unmount(); }), Errc::not_found);
  EXPECT_EQ(read_file(target / "precious"), "precious");
}

TEST_F(Mounting, WhatLazypullHasNotMountedIsNotUnmounted) {
  write_file(target / "file", "");
  EXPECT_EQ(failure_of([&] { unmount(); }), Errc::not_found);
  EXPECT_TRUE(std::filesystem::exists(target / "file"));
}

TEST_F(Mounting, ADirectoryIsUsedOnce) {
  record_image(*store, app_name, two_layers().manifest);
  mount(false, true);
  EXPECT_EQ(failure_of([&] { mount(false, true); }), Errc::failed_precondition);
  EXPECT_EQ(read_file(target / "bin/tool"), "tool");
  unmount();
}

TEST_F(Mounting, AnImageThatIsNotUnpackedOrNotForThePlatformIsNotMounted) {
  const auto part = two_layers();
  record_image(*store, app_name, store_index(*store, {part}));
  EXPECT_EQ(failure_of([&] { mount(false, true, {"linux/s390x"}); }), Errc::platform_not_found);
  store->snapshots().remove(part.chain_ids[1]);
  EXPECT_EQ(failure_of([&] { mount(false, true); }), Errc::not_found);
  EXPECT_EQ(rows(), 0U);
}

struct MountingAsRoot : Mounting {
  void SetUp() override { ASSERT_EQ(::geteuid(), 0U) << "needs root"; }
};

TEST_F(MountingAsRoot, SeveralLayersAreAReadOnlyOverlay) {
  record_image(*store, app_name, two_layers().manifest);
  mount();
  EXPECT_EQ(read_file(target / "bin/tool"), "tool");
  EXPECT_EQ(read_file(target / "etc/config"), "config");
  EXPECT_THROW(write_file(target / "new", ""), std::runtime_error);
  unmount();
  EXPECT_EQ(entries_in(target), 0U);
  EXPECT_EQ(store->snapshots().list().size(), 2U);
}

TEST_F(MountingAsRoot, OneLayerIsAReadOnlyBindMount) {
  record_image(*store, app_name, store_part(*store, {{.blob = "only", .fill = file("a", "b")}}).manifest);
  mount();
  EXPECT_EQ(read_file(target / "a"), "b");
  EXPECT_THROW(write_file(target / "new", ""), std::runtime_error);
  unmount();
  EXPECT_EQ(entries_in(target), 0U);
}

TEST_F(MountingAsRoot, WhatIsWrittenIsNotWrittenToTheLayers) {
  const auto part = two_layers();
  record_image(*store, app_name, part.manifest);
  mount(true);
  write_file(target / "etc/config", "changed");
  EXPECT_EQ(read_file(target / "etc/config"), "changed");
  EXPECT_EQ(read_file(store->snapshots().layers(part.chain_ids[1]).front() / "etc/config"), "config");
  unmount();
  EXPECT_EQ(store->snapshots().list().size(), 2U);
}

TEST_F(MountingAsRoot, AMountedImageIsNotCollectedBeforeItIsUnmounted) {
  record_image(*store, app_name, two_layers().manifest);
  mount();
  run(StoreAction::images_remove, {app_name});
  EXPECT_EQ(read_file(target / "bin/tool"), "tool");
  unmount();
  run(StoreAction::collect_garbage);
  EXPECT_THAT(store->snapshots().list(), IsEmpty());
}

TEST_F(MountingAsRoot, ABusyMountStaysAndSaysSo) {
  record_image(*store, app_name, two_layers().manifest);
  mount();
  const int open = ::open((target / "bin/tool").c_str(), O_RDONLY);
  EXPECT_EQ(failure_of([&] { unmount(); }), Errc::failed_precondition);
  EXPECT_EQ(rows(), 1U);
  ::close(open);
  unmount();
}

TEST_F(MountingAsRoot, AMountThatIsGoneCanStillBeUnmounted) {
  record_image(*store, app_name, two_layers().manifest);
  mount();
  ASSERT_EQ(::umount2(target.c_str(), 0), 0);
  unmount();
  EXPECT_EQ(rows(), 0U);
}

TEST_F(MountingAsRoot, AnImageOfVeryManyLayersIsMounted) {
  std::vector<StoredLayer> layers;
  for (int i = 0; i < 300; ++i) {
    const auto name = std::to_string(i);
    layers.push_back({.blob = name, .fill = file("file" + name, name)});
  }
  record_image(*store, app_name, store_part(*store, layers).manifest);
  mount();
  EXPECT_EQ(read_file(target / "file0"), "0");
  EXPECT_EQ(read_file(target / "file299"), "299");
  unmount();
}

TEST_F(MountingAsRoot, WhatSomebodyHasMountedInsideACopyIsNotDeleted) {
  record_image(*store, app_name, two_layers().manifest);
  mount(false, true);
  write_file(dir / "host/precious", "precious");
  // Of the same file system, so that only the mount itself tells.
  ASSERT_EQ(::mount((dir / "host").c_str(), (target / "etc").c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_EQ(failure_of([&] { unmount(); }), Errc::failed_precondition);
  EXPECT_EQ(read_file(dir / "host/precious"), "precious");
  ASSERT_EQ(::umount2((target / "etc").c_str(), 0), 0);
  unmount();
  EXPECT_EQ(entries_in(target), 0U);
}

}  // namespace
}  // namespace lazypull::test
