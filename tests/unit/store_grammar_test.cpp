#include "tools/store_command.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace lazypull::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct StoreGrammar : testing::Test {
  struct Parsed {
    StoreCommand command;
    int chosen = 0;
    std::string store;
  };

  static Parsed parse(std::vector<std::string> words) {
    Parsed parsed;
    CLI::App app;
    app.add_option("--store", parsed.store);
    app.require_subcommand(1);
    add_store_commands(app, parsed.command, [&] { ++parsed.chosen; });
    std::ranges::reverse(words);
    app.parse(std::move(words));
    return parsed;
  }

  static StoreAction action(const std::vector<std::string>& words) {
    const auto parsed = parse(words);
    EXPECT_EQ(parsed.chosen, 1);
    return parsed.command.action;
  }
};

TEST_F(StoreGrammar, CommandsHaveTheAliasesThatCtrHas) {
  for (const auto* group : {"images", "image", "i"}) {
    EXPECT_EQ(action({group, "ls"}), StoreAction::images_list);
    EXPECT_EQ(action({group, "list"}), StoreAction::images_list);
    for (const auto* remove : {"rm", "remove", "delete", "del"}) {
      EXPECT_EQ(action({group, remove, "app"}), StoreAction::images_remove);
    }
    EXPECT_EQ(action({group, "inspect", "app"}), StoreAction::images_inspect);
  }
  for (const auto* group : {"content", "c"}) {
    EXPECT_EQ(action({group, "ls"}), StoreAction::content_list);
    EXPECT_EQ(action({group, "list"}), StoreAction::content_list);
    EXPECT_EQ(action({group, "get", "sha256:aa"}), StoreAction::content_get);
    EXPECT_EQ(action({group, "rm", "sha256:aa"}), StoreAction::content_remove);
    EXPECT_EQ(action({group, "delete", "sha256:aa"}), StoreAction::content_remove);
  }
  for (const auto* group : {"snapshots", "snapshot"}) {
    EXPECT_EQ(action({group, "ls"}), StoreAction::snapshots_list);
    EXPECT_EQ(action({group, "mounts", "/mnt", "key"}), StoreAction::snapshots_mounts);
  }
  EXPECT_EQ(action({"mount", "app", "/mnt"}), StoreAction::mount);
  EXPECT_EQ(action({"unmount", "/mnt"}), StoreAction::unmount);
  EXPECT_EQ(action({"export", "app", "-"}), StoreAction::export_image);
  EXPECT_EQ(action({"gc"}), StoreAction::collect_garbage);
}

TEST_F(StoreGrammar, SeveralImagesAreRemovedAtOnceAndSyncIsAccepted) {
  EXPECT_THAT(parse({"images", "rm", "--sync", "one", "two"}).command.names, ElementsAre("one", "two"));
}

TEST_F(StoreGrammar, MountTakesImageAndDirectory) {
  const auto plain = parse({"mount", "app:1", "/mnt"}).command;
  EXPECT_THAT(plain.names, ElementsAre("app:1"));
  EXPECT_EQ(plain.directory, "/mnt");
  EXPECT_FALSE(plain.writable);
  EXPECT_FALSE(plain.copy);
  EXPECT_THAT(plain.platforms, IsEmpty());
  const auto more = parse({"mount", "--rw", "--copy", "--platform", "linux/arm64", "app:1", "/mnt"}).command;
  EXPECT_TRUE(more.writable);
  EXPECT_TRUE(more.copy);
  EXPECT_THAT(more.platforms, ElementsAre("linux/arm64"));
  EXPECT_EQ(more.directory, "/mnt");
}

TEST_F(StoreGrammar, ExportTakesImageAndFileAndAnyNumberOfPlatforms) {
  const auto command = parse({"export", "app:1", "--platform", "linux/amd64,linux/arm64", "--platform",
                              "linux/arm/v7", "out.tar"})
                           .command;
  EXPECT_THAT(command.names, ElementsAre("app:1"));
  EXPECT_EQ(command.file, "out.tar");
  EXPECT_THAT(command.platforms, ElementsAre("linux/amd64", "linux/arm64", "linux/arm/v7"));
}

TEST_F(StoreGrammar, SnapshotsMountsTakesTargetBeforeKeyAsCtrDoes) {
  const auto command = parse({"snapshots", "mounts", "/mnt", "key"}).command;
  EXPECT_EQ(command.directory, "/mnt");
  EXPECT_THAT(command.names, ElementsAre("key"));
}

TEST_F(StoreGrammar, OutputIsTextOrJson) {
  EXPECT_FALSE(parse({"images", "ls"}).command.json);
  EXPECT_FALSE(parse({"images", "ls", "--output", "text"}).command.json);
  EXPECT_TRUE(parse({"images", "ls", "--output", "json"}).command.json);
  EXPECT_TRUE(parse({"gc", "--output=json"}).command.json);
  EXPECT_THROW(parse({"gc", "--output", "yaml"}), CLI::ParseError);
}

TEST_F(StoreGrammar, QuietHasAShortForm) {
  EXPECT_TRUE(parse({"images", "ls", "-q"}).command.quiet);
  EXPECT_TRUE(parse({"content", "ls", "--quiet"}).command.quiet);
  EXPECT_TRUE(parse({"snapshots", "ls", "-q"}).command.quiet);
}

TEST_F(StoreGrammar, FlagsOfEveryCommandAreAcceptedAfterThemToo) {
  EXPECT_EQ(parse({"images", "ls", "--store", "/a"}).store, "/a");
  EXPECT_EQ(parse({"--store", "/a", "gc"}).store, "/a");
  EXPECT_EQ(parse({"mount", "app", "/mnt", "--store", "/a"}).store, "/a");
}

TEST_F(StoreGrammar, WhatIsMissingOrTooMuchIsAnError) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"images"},
           {"content"},
           {"snapshots"},
           {"images", "nothing"},
           {"images", "rm"},
           {"images", "inspect"},
           {"content", "get"},
           {"snapshots", "mounts", "/mnt"},
           {"mount", "app"},
           {"unmount"},
           {"export", "app"},
           {"gc", "more"},
           {"unmount", "/a", "/b"},
           {"images", "inspect", "a", "b"},
       }) {
    EXPECT_THROW(parse(words), CLI::ParseError) << testing::PrintToString(words);
  }
}

}  // namespace
}  // namespace lazypull::test
