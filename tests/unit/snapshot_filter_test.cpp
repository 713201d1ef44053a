#include "snapshot/snapshot_filter.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace lazypull {
namespace {

const SnapshotInfo busy{.name = "default/7/sha256:abc",
                        .parent = "default/3/base",
                        .kind = SnapshotKind::active,
                        .labels = {{"containerd.io/gc.root", "now"},
                                   {"l", "2"},
                                   {"a.b", "dotted"},
                                   {"path", "/usr/share/doc"},
                                   {"umlaut", "größe"},
                                   {"odd \"key\"", "quoted"}}};
const SnapshotInfo lone{.name = "p", .parent = "", .kind = SnapshotKind::committed, .labels = {}};

bool matches(std::initializer_list<std::string> filters, const SnapshotInfo& snapshot = busy) {
  return SnapshotFilter::parse(std::vector<std::string>(filters)).matches(snapshot);
}

void expect_refused(const std::string& filter) {
  try {
    SnapshotFilter::parse(std::vector<std::string>{filter});
    ADD_FAILURE() << "accepted: " << filter;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument) << filter;
  }
}

TEST(SnapshotFilter, NoFilterAndAnEmptyOneMatchEverything) {
  EXPECT_TRUE(matches({}));
  EXPECT_TRUE(matches({""}));
  EXPECT_TRUE(matches({"name==nobody", ""}));
}

TEST(SnapshotFilter, KnowsNameParentAndKind) {
  EXPECT_TRUE(matches({"name==default/7/sha256:abc"}));
  EXPECT_FALSE(matches({"name==default/7"}));
  EXPECT_TRUE(matches({"parent==default/3/base"}));
  EXPECT_TRUE(matches({"kind==active"}));
  EXPECT_TRUE(matches({"kind==committed"}, lone));
  EXPECT_FALSE(matches({"kind==view"}));
  EXPECT_FALSE(matches({"size==0"})) << "a field that snapshots do not have";
  EXPECT_TRUE(matches({"size!=0"}));
}

TEST(SnapshotFilter, AFieldWithoutOperatorMustBeThere) {
  EXPECT_TRUE(matches({"labels.l"}));
  EXPECT_FALSE(matches({"labels.m"}));
  EXPECT_FALSE(matches({"labels.l"}, lone));
  EXPECT_TRUE(matches({"parent"}, lone)) << "it is there, although empty";
}

TEST(SnapshotFilter, LabelsAreFoundByQuotedAndDottedKeys) {
  EXPECT_TRUE(matches({R"(labels."containerd.io/gc.root"==now)"}));
  EXPECT_TRUE(matches({"labels.a.b==dotted"}));
  EXPECT_TRUE(matches({R"(labels."a.b"==dotted)"}));
  EXPECT_TRUE(matches({R"(labels."odd \"key\""==quoted)"}));
}

TEST(SnapshotFilter, CommasAreAndSeveralFiltersAreOr) {
  EXPECT_TRUE(matches({"kind==active,labels.l==2"}));
  EXPECT_FALSE(matches({"kind==active,labels.l==3"}));
  EXPECT_TRUE(matches({"kind==view", "labels.l==2"}));
  EXPECT_FALSE(matches({"kind==view", "labels.l==3"}));
}

TEST(SnapshotFilter, WhatIsNotThereDiffersFromEverything) {
  EXPECT_TRUE(matches({"labels.m!=x"}));
  EXPECT_FALSE(matches({R"(labels.m=="")"})) << "equality needs the field";
  EXPECT_FALSE(matches({R"(labels.m!="")"})) << "its value counts as empty";
  EXPECT_TRUE(matches({R"(parent!="")"}));
  EXPECT_FALSE(matches({R"(parent!="")"}, lone));
  EXPECT_TRUE(matches({R"(parent=="")"}, lone));
}

TEST(SnapshotFilter, RegularExpressionsMatchAnywhere) {
  EXPECT_TRUE(matches({"name~=sha256"}));
  EXPECT_FALSE(matches({"name~=^sha256"}));
  EXPECT_TRUE(matches({"labels.path~=^/usr/.*doc$"}));
  EXPECT_TRUE(matches({"labels.l~=[0-9]+"}));
  EXPECT_FALSE(matches({"labels.m~=x"}));
  EXPECT_TRUE(matches({"labels.m~=^$"})) << "what is not there is matched as an empty text";
}

TEST(SnapshotFilter, RegularExpressionsMayBeInSlashesOrBars) {
  EXPECT_TRUE(matches({R"(labels.path~=/^\/usr/)"}));
  EXPECT_TRUE(matches({"labels.path~=|^/usr|"}));
  EXPECT_TRUE(matches({R"(labels.l~=/^\\d{1,3}$/)"})) << "escapes are those of a Go string";
  EXPECT_TRUE(matches({R"(labels.l~="^2$",kind==active)"}));
  expect_refused("name==/p/");
  expect_refused("labels.|x|==1");
}

TEST(SnapshotFilter, AnExpressionThatCannotBeCompiledMatchesNothing) {
  EXPECT_FALSE(matches({"name~=("}));
  EXPECT_FALSE(matches({R"(name~="a{2000}")"}));
  EXPECT_FALSE(matches({R"(name~="(((x{100}){100}){100}){100}")"})) << "it would take gigabytes";
}

TEST(SnapshotFilter, AnExpressionThatBacktracksElsewhereEnds) {
  auto snapshot = lone;
  snapshot.labels["x"] = std::string(4000, 'a');
  EXPECT_FALSE(matches({R"(labels.x~="^(a*)*b$")"}, snapshot));
  EXPECT_TRUE(matches({R"(labels.x~="^(a|aa)+$")"}, snapshot));
}

TEST(SnapshotFilter, AcceptsTheFilterOfContainerdsMetadataLayer) {
  SnapshotInfo remote{
      .name = "sha256:11", .parent = "default/1/sha256:00", .kind = SnapshotKind::committed, .labels = {}};
  remote.labels["containerd.io/snapshot.ref"] = "sha256:11";
  const std::string filter =
      R"(labels."containerd.io/snapshot.ref"==sha256:11,parent=="default/1/sha256:00")";
  EXPECT_TRUE(matches({filter}, remote));
  remote.parent = "other/2/sha256:00";
  EXPECT_FALSE(matches({filter}, remote));
}

TEST(SnapshotFilter, BlanksMayStandBeforeATokenOnly) {
  EXPECT_TRUE(matches({"kind == active"}));
  EXPECT_TRUE(matches({" kind==active, labels.l == 2"}));
  EXPECT_TRUE(matches({"labels. l==2"}));
  expect_refused("kind==active ");
  expect_refused("labels .l==2");
  expect_refused(" ");
}

TEST(SnapshotFilter, ValuesGoToTheNextCommaOrBlank) {
  auto snapshot = lone;
  snapshot.labels["x"] = R"(a=b"c"/d|e!~f)";
  EXPECT_TRUE(matches({R"(labels.x==a=b"c"/d|e!~f)"}, snapshot));
  EXPECT_TRUE(matches({"labels.umlaut==größe"}));
  expect_refused("name==a\x01");
  expect_refused("name==a\xC2\xAD");  // a soft hyphen is no graphic character
}

TEST(SnapshotFilter, QuotedTextHasTheEscapesOfGo) {
  auto snapshot = lone;
  snapshot.labels["x"] = "a\"\\\n\t\x7f\xff\u00e9\U0001F600";
  EXPECT_TRUE(matches({R"(labels.x=="a\"\\\n\t\177\xff\u00e9\U0001F600")"}, snapshot));
  snapshot.labels["x"] = "\uFFFD";
  EXPECT_TRUE(matches({R"(labels.x=="\ud800")"}, snapshot)) << "half a surrogate";
  for (const auto* escape :
       {R"(\q)", R"(\')", R"(\400)", R"(\18)", R"(\xg0)", R"(\x1)", R"(\u12)", R"(\U00110000)"}) {
    expect_refused(std::string("name==\"") + escape + "\"");
  }
}

TEST(SnapshotFilter, RefusesWhatDoesNotFollowTheGrammar) {
  for (const auto* filter : {",",
                             "name,",
                             "name==",
                             "==x",
                             "name=x",
                             "name===x",
                             "name=~x",
                             "name<x",
                             ".name",
                             "name.",
                             "name..x",
                             "labels.foo-bar",
                             "name==x,,kind==view",
                             "name==.x",
                             "name== =x",
                             R"(name=="x)",
                             R"(name=="x"y)",
                             "name==\"a\nb\"",
                             "'name'==x",
                             "naïve==x",
                             "name==\xff",
                             "name==a\xc0\x80"}) {
    expect_refused(filter);
  }
  expect_refused(std::string("name==a\0b", 9));
  expect_refused("name==\xEF\xBF\xBD");
}

TEST(SnapshotFilter, SaysWhereAFilterIsWrong) {
  try {
    SnapshotFilter::parse(std::vector<std::string>{"kind==active,name=x"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("[kind==active,name=x]: at byte 17"), std::string::npos)
        << error.message();
  }
}

TEST(SnapshotFilter, IsBounded) {
  expect_refused(std::string(100'000, 'a'));
  std::string many = "a";
  for (int i = 0; i < 2000; ++i) many += ",a";
  expect_refused(many);
  EXPECT_THROW(SnapshotFilter::parse(std::vector<std::string>(257, "name")), Error);
  EXPECT_THROW(SnapshotFilter::parse(std::vector<std::string>(65, "name~=x")), Error);
  EXPECT_NO_THROW(SnapshotFilter::parse(std::vector<std::string>(64, "name~=x")));
}

}  // namespace
}  // namespace lazypull
