// Lists of images as YAML: what is understood, and that nothing else is.

#include "tools/prewarm_yaml.hpp"

#include "tests/support/temp_dir.hpp"
#include "tools/prewarm_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

std::vector<std::string> names(const std::vector<PrewarmItem>& items) {
  std::vector<std::string> result;
  for (const auto& item : items) result.push_back(item.reference.name());
  return result;
}

std::string refusal(const std::string& text) {
  try {
    parse_prewarm_yaml(text, "list.yaml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.message();
  }
  ADD_FAILURE() << "accepted: " << text.substr(0, 200);
  return {};
}

TEST(PrewarmYaml, AnImageIsAReferenceOrAMappingWithMore) {
  const auto items = parse_prewarm_yaml(
      "# nightly\n"
      "images:\n"
      "  - alpine\n"
      "  - reference: registry.example.com/app:1\n"
      "    priority: -7\n"
      "    platforms: [linux/arm64, linux/amd64, linux/arm64]\n"
      "  - {reference: \"b\", platform: linux/riscv64}\n",
      "list.yaml");
  EXPECT_THAT(names(items), ElementsAre("docker.io/library/alpine:latest", "registry.example.com/app:1",
                                        "docker.io/library/b:latest"));
  EXPECT_EQ(items[0].priority, 0);
  EXPECT_THAT(items[0].platforms, IsEmpty());
  EXPECT_EQ(items[1].priority, -7);
  EXPECT_THAT(items[1].platforms,
              ElementsAre(Platform::parse("linux/arm64"), Platform::parse("linux/amd64")));
  EXPECT_THAT(items[2].platforms, ElementsAre(Platform::parse("linux/riscv64")));
}

TEST(PrewarmYaml, DefaultsHoldForWhatAnImageDoesNotSayWhereverTheyStand) {
  const std::string images = "images: [a, {reference: b, priority: 0, platforms: [linux/arm64]}]\n";
  const std::string defaults = "defaults: {priority: 5, platforms: [linux/amd64]}\n";
  for (const auto& text : {defaults + images, images + defaults}) {
    const auto items = parse_prewarm_yaml(text, "list.yaml");
    ASSERT_THAT(items, SizeIs(2)) << text;
    EXPECT_EQ(items[0].priority, 5);
    EXPECT_THAT(items[0].platforms, ElementsAre(Platform::parse("linux/amd64")));
    EXPECT_EQ(items[1].priority, 0);
    EXPECT_THAT(items[1].platforms, ElementsAre(Platform::parse("linux/arm64")));
  }
}

TEST(PrewarmYaml, JsonIsYaml) {
  const auto items = parse_prewarm_yaml(
      R"({"defaults": {"priority": 1}, "images": [{"reference": "a", "priority": 2}, "b"]})", "list.yaml");
  EXPECT_THAT(names(items), ElementsAre("docker.io/library/a:latest", "docker.io/library/b:latest"));
  EXPECT_EQ(items[0].priority, 2);
  EXPECT_EQ(items[1].priority, 1);
}

TEST(PrewarmYaml, AMistakeIsNamedWithFileAndLine) {
  EXPECT_EQ(refusal("images:\n- a\n- reference: b\n  prio: 3\n"), "list.yaml:4: 'prio' is no key here");
  EXPECT_EQ(refusal("images: []\nimage: []\n"), "list.yaml:2: 'image' is no key here");
  EXPECT_EQ(refusal("defaults: {reference: a}\n"), "list.yaml:1: 'reference' is no key here");
  EXPECT_EQ(refusal("images:\n- {reference: a, priority: high}\n"),
            "list.yaml:2: priority: 'high' is not a number from -1000 to 1000");
  EXPECT_EQ(refusal("images:\n- {priority: 1}\n"), "list.yaml:2: 'reference' is missing");
  EXPECT_THAT(refusal("images:\n- a\n- UPPER:case:x\n"), StartsWith("list.yaml:3: "));
  EXPECT_THAT(refusal("images:\n- {reference: a, platform: nonsense/}\n"), StartsWith("list.yaml:2: "));
  EXPECT_THAT(refusal("images: [a\n"), StartsWith("list.yaml:"));
  EXPECT_THAT(refusal("images: [\"\x1b[2J\"]\n"), testing::Not(HasSubstr("\x1b")));
}

TEST(PrewarmYaml, WhatIsThereTwiceIsAMistake) {
  EXPECT_THAT(refusal("images: [a]\nimages: [b]\n"), HasSubstr("'images' is there twice"));
  EXPECT_THAT(refusal("defaults: {}\ndefaults: {}\n"), HasSubstr("'defaults' is there twice"));
  EXPECT_THAT(refusal("images: [{reference: a, reference: b}]"), HasSubstr("'reference' is there twice"));
  EXPECT_THAT(refusal("images: [{reference: a, platform: linux/amd64, platforms: [linux/arm64]}]"),
              HasSubstr("'platforms' is there twice"));
  EXPECT_THAT(refusal("images: [a]\n---\nimages: [b]\n"), HasSubstr("second document"));
}

TEST(PrewarmYaml, EachThingIsToHaveItsKind) {
  EXPECT_THAT(refusal(""), HasSubstr("'images' is missing"));
  EXPECT_THAT(refusal("defaults: {}\n"), HasSubstr("'images' is missing"));
  EXPECT_THAT(refusal("images\n"), HasSubstr("mapping"));
  EXPECT_THAT(refusal("- a\n- b\n"), HasSubstr("list"));
  EXPECT_THAT(refusal("images: a\n"), HasSubstr("'images' "));
  EXPECT_THAT(refusal("images:\n"), HasSubstr("'images' has no value"));
  EXPECT_THAT(refusal("images: {a: b}\n"), HasSubstr("'images' "));
  EXPECT_THAT(refusal("images: [[a]]\n"), HasSubstr("list"));
  EXPECT_THAT(refusal("images: [{reference: [a]}]\n"), HasSubstr("'reference' "));
  EXPECT_THAT(refusal("images: [{reference: a, platforms: {a: b}}]\n"), HasSubstr("'platforms' "));
  EXPECT_THAT(refusal("images: [{reference: a, platforms: [[a]]}]\n"), HasSubstr("list"));
  EXPECT_THAT(refusal("? [a]\n: b\n"), HasSubstr("list"));
  EXPECT_THAT(refusal("images: [~]\n"), HasSubstr("no value"));
}

TEST(PrewarmYaml, NeitherAliasesNorAnchorsNorTagsAreUnderstood) {
  EXPECT_THAT(refusal("images: [&x a, *x]\n"), HasSubstr("anchors"));
  EXPECT_THAT(refusal("images: &x [a]\n"), HasSubstr("anchors"));
  EXPECT_THAT(refusal("defaults: &d {priority: 1}\n"), HasSubstr("anchors"));
  EXPECT_THAT(refusal("images: [*x]\n"), StartsWith("list.yaml:1: "));
  EXPECT_THAT(refusal("images: [!!str a]\n"), HasSubstr("tags"));
  EXPECT_THAT(refusal("images: [!mine a]\n"), HasSubstr("tags"));
  EXPECT_THAT(refusal("images:\n- <<: {reference: a}\n"), HasSubstr("'<<' is no key here"));
}

TEST(PrewarmYaml, HostileDocumentsEndWithARefusal) {
  constexpr std::size_t much = 1U << 18U;
  for (const auto* piece :
       {"[",           "{",     "? ",   "- ", "&a ",  "*a ",  "!a ",  "a: ",      "'",  "\"", "|\n ",
        "%YAML 1.2\n", "---\n", "{a: ", "\t", "[a, ", "- - ", "# \n", "\xff\xfe", ", ", ": "}) {
    std::string many;
    while (many.size() < much) many += piece;
    refusal(many);
    refusal("images: " + many);
    refusal("images:\n- reference: " + many);
  }
  refusal(std::string(much, '\0'));
  refusal("images: [" + std::string(5000, 'a') + "]");
}

TEST(PrewarmYaml, BracketsThatAreNotClosedDoNotReachTheParser) {
  EXPECT_EQ(refusal("images:\n- " + std::string(33, '[')), "list.yaml:2: is nested too deeply");
  EXPECT_THAT(parse_prewarm_yaml("images: [a] # " + std::string(100, '[') + "\n", "list.yaml"), SizeIs(1));
}

TEST(PrewarmYaml, ThereAreAtMostSoManyImages) {
  std::string text = "images:\n";
  for (int i = 0; i < 100'000; ++i) text += "- a\n";
  EXPECT_THAT(parse_prewarm_yaml(text, "list.yaml"), SizeIs(100'000));
  EXPECT_EQ(refusal(text + "- a\n"), "list.yaml:100002: there are more than 100000 images");
}

TEST(PrewarmLists, AreYamlByTheirNameOrTheFlag) {
  const test::TempDir folder("lists");
  const auto write = [&](const char* name, const char* text) {
    const auto path = (folder / name).string();
    std::ofstream(path) << text;
    return path;
  };
  const auto yaml = write("a.yaml", "images: [a]\n");
  const auto yml = write("b.yml", "images: [b, a]\n");
  const auto lines = write("c.txt", "c priority=2\n");
  const auto unnamed = write("d", "images: [d]\n");
  EXPECT_THAT(
      names(read_prewarm_lists({yaml, yml, lines}, {})),
      ElementsAre("docker.io/library/a:latest", "docker.io/library/b:latest", "docker.io/library/c:latest"));
  EXPECT_THAT(names(read_prewarm_lists({unnamed}, {}, PrewarmFormat::yaml)),
              ElementsAre("docker.io/library/d:latest"));
  EXPECT_THROW(read_prewarm_lists({unnamed}, {}), Error);
  EXPECT_THROW(read_prewarm_lists({yaml}, {}, PrewarmFormat::lines), Error);
}

TEST(PrewarmLists, AYamlFileHasAtMostFourMebibytes) {
  const test::TempDir folder("lists");
  const auto path = (folder / "large.yaml").string();
  std::ofstream(path) << "images: [a]\n" << std::string(4U << 20U, '#');
  try {
    read_prewarm_lists({path}, {});
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), path + ": is larger than 4 MiB");
  }
}

}  // namespace
}  // namespace lazypull
