// `lazypull layers …`: the command line, and what is done to a storage.

#include "tools/layers_command.hpp"

#include "engine/error.hpp"
#include "snapshot/remote/layer_storage.hpp"
#include "tests/support/published_layer.hpp"
#include "tests/support/store_fixture.hpp"
#include "tools/options.hpp"

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <unistd.h>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

ParsedCommandLine parse(std::vector<std::string> words) {
  words.insert(words.begin(), "layers");
  return parse_command_line(words, [](std::string_view) { return std::nullopt; });
}

LayersCommand parsed(std::vector<std::string> words) {
  const auto result = parse(std::move(words));
  if (const auto* exit = std::get_if<ParseExit>(&result)) throw std::runtime_error(exit->text);
  EXPECT_EQ(std::get<Options>(result).command, Command::layers);
  return std::get<Options>(result).layers_command;
}

ExitCode refusal(std::vector<std::string> words) {
  return std::get<ParseExit>(parse(std::move(words))).code;
}

TEST(LayersGrammar, PublishTakesAnImageAndAStorage) {
  const auto command = parsed({"publish", "registry.example.com/app:1", "--to", "/srv/layers"});
  EXPECT_EQ(command.action, LayersAction::publish);
  EXPECT_EQ(command.image, "registry.example.com/app:1");
  EXPECT_EQ(command.storage, "/srv/layers");
  EXPECT_EQ(command.format, "dir");
  EXPECT_FALSE(command.count);
  EXPECT_FALSE(command.json);
}

TEST(LayersGrammar, PublishTakesItsFlags) {
  const auto command = parsed({"publish", "app", "--to", "d", "--format=erofs", "--layers", "6", "--platform",
                               "linux/arm64", "--work", "/tmp", "--json"});
  EXPECT_EQ(command.format, "erofs");
  EXPECT_EQ(command.count, 6U);
  EXPECT_EQ(command.platform, "linux/arm64");
  EXPECT_EQ(command.work, "/tmp");
  EXPECT_TRUE(command.json);
}

TEST(LayersGrammar, GlobalFlagsMayComeAfterwards) {
  const auto result = parse({"publish", "app", "--to", "d", "--store", "s", "--output", "json"});
  EXPECT_EQ(std::get<Options>(result).store, "s");
  EXPECT_EQ(std::get<Options>(result).output, OutputFormat::json);
}

TEST(LayersGrammar, TheOthersTakeAStorageAndDigests) {
  EXPECT_EQ(parsed({"ls", "d", "-q"}).action, LayersAction::list);
  EXPECT_TRUE(parsed({"ls", "d", "-q"}).quiet);
  EXPECT_THAT(parsed({"verify", "d"}).digests, IsEmpty());
  EXPECT_THAT(parsed({"verify", "d", "a", "b"}).digests, ElementsAre("a", "b"));
  const auto remove = parsed({"rm", "d", "a"});
  EXPECT_EQ(remove.action, LayersAction::remove);
  EXPECT_EQ(remove.storage, "d");
}

TEST(LayersGrammar, WhatIsMissingOrUnknownIsAUsageError) {
  EXPECT_EQ(refusal({}), ExitCode::usage);
  EXPECT_EQ(refusal({"publish", "app"}), ExitCode::usage);
  EXPECT_EQ(refusal({"publish", "--to", "d"}), ExitCode::usage);
  EXPECT_EQ(refusal({"publish", "app", "--to", "d", "--format", "zip"}), ExitCode::usage);
  EXPECT_EQ(refusal({"publish", "app", "--to", "d", "--layers", "0"}), ExitCode::usage);
  EXPECT_EQ(refusal({"publish", "app", "--to", "d", "--layers", "-1"}), ExitCode::usage);
  EXPECT_EQ(refusal({"ls"}), ExitCode::usage);
  EXPECT_EQ(refusal({"rm", "d"}), ExitCode::usage);
}

class LayersCommands : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::geteuid(), 0U) << "these tests need root"; }

  LayersOutput run(std::vector<std::string> words) { return run_layers_command(parsed(std::move(words))); }
  json::value run_json(std::vector<std::string> words) {
    words.emplace_back("--json");
    return json::parse(run(std::move(words)).text);
  }
  std::string storage() const { return folder / "storage"; }

  TempDir folder{"layers"};
  RemoteLayer directory = publish_layer(folder / "storage", "one", LayerFormat::directory);
  RemoteLayer image = publish_layer(folder / "storage", "two", LayerFormat::erofs);
  std::string first = directory.record.digest.str();
  std::string second = image.record.digest.str();
};

TEST_F(LayersCommands, LsShowsFormatsAndSizes) {
  const auto output = run({"ls", storage()});
  EXPECT_EQ(output.exit, ExitCode::ok);
  EXPECT_THAT(output.text,
              AllOf(HasSubstr("DIGEST"), HasSubstr(first + " dir"), HasSubstr(second + " erofs")));
  const auto quiet = run({"ls", storage(), "-q"}).text;
  EXPECT_THAT(quiet, AllOf(HasSubstr(first + "\n"), HasSubstr(second + "\n")));
}

TEST_F(LayersCommands, LsGivesTheRecordsAsJson) {
  const auto output = run_json({"ls", storage()});
  const auto& layers = output.at("layers").as_array();
  ASSERT_EQ(layers.size(), 2U);
  for (const auto& layer : layers) {
    EXPECT_EQ(layer.at("state").as_string(), "ok");
    const bool is_image = layer.at("digest").as_string() == second;
    EXPECT_EQ(layer.at("format").as_string(), is_image ? "erofs" : "dir");
    EXPECT_EQ(layer.as_object().contains("image_digest"), is_image);
    EXPECT_EQ(layer.as_object().contains("tree_digest"), !is_image);
  }
}

TEST_F(LayersCommands, LsShowsWhatIsNotSoundToo) {
  write_file(directory.data.parent_path() / "layer.json", "{}");
  const auto output = run({"ls", storage()});
  EXPECT_THAT(output.text, HasSubstr("layer.json.version"));
  EXPECT_EQ(output.exit, ExitCode::ok);
}

TEST_F(LayersCommands, AStorageThatIsNotThereIsNotFound) {
  for (const std::string action : {"ls", "verify"}) {
    EXPECT_EQ(failure_of([&] { run({action, folder / "other"}); }), Errc::not_found);
  }
  EXPECT_EQ(failure_of([&] { run({"rm", folder / "other", first}); }), Errc::not_found);
  EXPECT_FALSE(fs::exists(folder / "other"));
}

TEST_F(LayersCommands, VerifyFindsNothingWrong) {
  const auto output = run({"verify", storage()});
  EXPECT_EQ(output.exit, ExitCode::ok);
  EXPECT_THAT(output.text, AllOf(HasSubstr(first + " ok\n"), HasSubstr(second + " ok\n")));
}

TEST_F(LayersCommands, VerifyFindsAChangedByteOfAnImage) {
  auto bytes = read_file(image.data);
  bytes.back() = static_cast<char>(bytes.back() + 1);
  write_file(image.data, bytes);
  const auto output = run({"verify", storage()});
  EXPECT_EQ(output.exit, ExitCode::content);
  EXPECT_THAT(output.text,
              AllOf(HasSubstr(first + " ok\n"), HasSubstr(second + " "), HasSubstr("layer.erofs is")));
}

TEST_F(LayersCommands, VerifyFindsWhateverChangesInADirectory) {
  const auto file = directory.data / "file";
  const auto damaged = [&] { return run({"verify", storage(), first}).exit == ExitCode::content; };
  const auto text = read_file(file);
  const auto time = fs::last_write_time(file);
  EXPECT_FALSE(damaged());
  write_file(file, std::string(text.size(), 'x'));
  fs::last_write_time(file, time);
  EXPECT_TRUE(damaged()) << "content";
  write_file(file, text);
  EXPECT_TRUE(damaged() || fs::last_write_time(file) - time < std::chrono::seconds(2)) << "time";
  fs::last_write_time(file, time);
  EXPECT_FALSE(damaged());
  fs::permissions(file, fs::perms::owner_all);
  EXPECT_TRUE(damaged()) << "mode";
  fs::permissions(file, fs::perms{0644});
  EXPECT_FALSE(damaged());
  ASSERT_EQ(::chown(file.c_str(), 1, 0), 0);
  EXPECT_TRUE(damaged()) << "owner";
  ASSERT_EQ(::chown(file.c_str(), 0, 0), 0);
  fs::create_symlink("file", directory.data / "link");
  EXPECT_TRUE(damaged()) << "a further file";
  fs::remove(directory.data / "link");
  EXPECT_FALSE(damaged());
}

TEST_F(LayersCommands, VerifyTellsOfLayersThatAreNotThere) {
  const auto other = Digest::sha256_of("three").str();
  const auto output = run({"verify", storage(), first, other});
  EXPECT_EQ(output.exit, ExitCode::not_found);
  EXPECT_THAT(output.text, HasSubstr(other + " it is not in the storage"));
  const auto object = run_json({"verify", storage(), other});
  EXPECT_EQ(object.at("layers").at(0).at("state").as_string(), "missing");
  EXPECT_EQ(failure_of([&] { run({"verify", storage(), "nonsense"}); }), Errc::invalid_argument);
}

TEST_F(LayersCommands, RmTakesALayerOut) {
  const auto output = run({"rm", storage(), first});
  EXPECT_EQ(output.exit, ExitCode::ok);
  EXPECT_EQ(output.text, first + "\n");
  EXPECT_THAT(list_layers(storage()), UnorderedElementsAre(image.record.digest));
  EXPECT_FALSE(fs::exists(directory.data));
}

TEST_F(LayersCommands, RmTakesOutWhatIsThereAndTellsOfTheRest) {
  const auto other = Digest::sha256_of("three").str();
  const auto output = run({"rm", storage(), other, second});
  EXPECT_EQ(output.exit, ExitCode::not_found);
  EXPECT_THAT(output.text, AllOf(HasSubstr(other + " is not"), HasSubstr(second + "\n")));
  EXPECT_THAT(list_layers(storage()), UnorderedElementsAre(directory.record.digest));
}

TEST_F(LayersCommands, RmOfWhatIsNoDigestRemovesNothing) {
  EXPECT_EQ(failure_of([&] { run({"rm", storage(), first, "nonsense"}); }), Errc::invalid_argument);
  EXPECT_EQ(list_layers(storage()).size(), 2U);
}

}  // namespace
}  // namespace lazypull::test
