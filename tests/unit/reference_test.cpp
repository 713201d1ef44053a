#include "engine/reference.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lazypull {
namespace {

const std::string hex64 = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
const std::string sha256 = "sha256:" + std::string(64, 'f');
const std::string sha512 = "sha512:" + std::string(128, 'f');

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

std::string refusal_of(const std::string& text) {
  try {
    const auto reference = Reference::parse(text);
    ADD_FAILURE() << text << " was taken for " << reference.name();
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument) << text;
    return error.message();
  }
}

struct NameCase {
  std::string input;
  std::string name;
};

TEST(Reference, DockersShorthandBecomesTheFullName) {
  const std::vector<NameCase> cases{
      {"busybox", "docker.io/library/busybox:latest"},
      {"busybox:latest", "docker.io/library/busybox:latest"},
      {"busybox:1.36", "docker.io/library/busybox:1.36"},
      {"busybox@" + sha256, "docker.io/library/busybox@" + sha256},
      {"busybox:1.36@" + sha256, "docker.io/library/busybox:1.36@" + sha256},
      {"library/busybox", "docker.io/library/busybox:latest"},
      {"library/busybox:latest", "docker.io/library/busybox:latest"},
      {"docker.io/busybox", "docker.io/library/busybox:latest"},
      {"docker.io/busybox:latest", "docker.io/library/busybox:latest"},
      {"docker.io/library/busybox", "docker.io/library/busybox:latest"},
      {"docker.io/library/busybox:latest", "docker.io/library/busybox:latest"},
      {"index.docker.io/busybox", "docker.io/library/busybox:latest"},
      {"index.docker.io/library/busybox", "docker.io/library/busybox:latest"},
      {"index.docker.io/user/app:2", "docker.io/user/app:2"},
      {"user/app", "docker.io/user/app:latest"},
      {"user/app:tag", "docker.io/user/app:tag"},
      {"user/app@" + sha256, "docker.io/user/app@" + sha256},
      {"docker.io/user/app", "docker.io/user/app:latest"},
      {"fooo/bar", "docker.io/fooo/bar:latest"},
      {"other/library", "docker.io/other/library:latest"},
      {"nonlibrary/ubuntu", "docker.io/nonlibrary/ubuntu:latest"},
      {"library/foo/bar", "docker.io/library/foo/bar:latest"},
      {"store/foo/bar", "docker.io/store/foo/bar:latest"},
      {"docker.io/library/foo/bar", "docker.io/library/foo/bar:latest"},
      {"ubuntu-12.04-base", "docker.io/library/ubuntu-12.04-base:latest"},
      {"lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"},
      {"a", "docker.io/library/a:latest"},
      {"d/docker", "docker.io/d/docker:latest"},
      {"jess/t", "docker.io/jess/t:latest"},
      {"a/a/a/a", "docker.io/a/a/a/a:latest"},
      {"dbcc1c", "docker.io/library/dbcc1c:latest"},
      {hex64.substr(1), "docker.io/library/" + hex64.substr(1) + ":latest"},
      {"docker.io/" + hex64, "docker.io/library/" + hex64 + ":latest"},
      {"user/" + hex64, "docker.io/user/" + hex64 + ":latest"},
      {hex64 + ":tag", "docker.io/library/" + hex64 + ":tag"},
      {"thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
       "docker.io/library/thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev:latest"},
  };
  for (const auto& test : cases) EXPECT_EQ(Reference::parse(test.input).name(), test.name) << test.input;
}

TEST(Reference, SeparatorsMayJoinLettersAndDigits) {
  const std::vector<std::string> paths{
      "test_com",
      "foo_bar.com",
      "dock__er",
      "docker---rules/docker",
      "docker-rules/docker",
      "a.b.c-d_e__f",
      "project--id.module--name.ver---sion--name",
      "0/1/2",
      "aa/aa/bb/bb/bb",
      "aa-a/a",
      "foo/foo_bar.com",
  };
  for (const auto& path : paths) {
    EXPECT_EQ(Reference::parse("registry.example.com/" + path).repository(), path) << path;
  }
}

struct SplitCase {
  std::string input;
  std::string domain;
  std::string repository;
  std::string object;
};

TEST(Reference, SplitsHostRepositoryAndTag) {
  const std::vector<SplitCase> cases{
      {"test.com/foo", "test.com", "foo", "latest"},
      {"test.com/repo:tag", "test.com", "repo", "tag"},
      {"test_com/foo", "docker.io", "test_com/foo", "latest"},
      {"docker/migrator", "docker.io", "docker/migrator", "latest"},
      {"test:5000/repo", "test:5000", "repo", "latest"},
      {"test:5000/repo:tag", "test:5000", "repo", "tag"},
      {"test:5000/repo@" + sha256, "test:5000", "repo", sha256},
      {"test:5000/repo:tag@" + sha256, "test:5000", "repo", sha256},
      {"test.com:8080/foo", "test.com:8080", "foo", "latest"},
      {"test-com:8080/foo", "test-com:8080", "foo", "latest"},
      {"test.com:5000", "docker.io", "library/test.com", "5000"},
      {"test.com:tag", "docker.io", "library/test.com", "tag"},
      {"foo.com", "docker.io", "library/foo.com", "latest"},
      {"foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080"},
      {"foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080"},
      {"localhost", "docker.io", "library/localhost", "latest"},
      {"localhost:8080", "docker.io", "library/localhost", "8080"},
      {"localhost/foo", "localhost", "foo", "latest"},
      {"localhost/foo/bar:1", "localhost", "foo/bar", "1"},
      {"localhost:8080/bar", "localhost:8080", "bar", "latest"},
      {"localhost:8080/name@" + sha256, "localhost:8080", "name", sha256},
      {"localhost:5000/library/alpine", "localhost:5000", "library/alpine", "latest"},
      {"127.0.0.1:5000/docker/docker", "127.0.0.1:5000", "docker/docker", "latest"},
      {"127.0.0.1:5000/debian", "127.0.0.1:5000", "debian", "latest"},
      {"127.0.0.1/a", "127.0.0.1", "a", "latest"},
      {"[::1]:5000/a/b", "[::1]:5000", "a/b", "latest"},
      {"[::1]/a", "[::1]", "a", "latest"},
      {"[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", "tag"},
      {"[2001:DB8:3:4::192.0.2.33]/repo", "[2001:DB8:3:4::192.0.2.33]", "repo", "latest"},
      {"[fd00:1:2::3]/repo@" + sha256, "[fd00:1:2::3]", "repo", sha256},
      {"Uppercase/lowercase:tag", "Uppercase", "lowercase", "tag"},
      {"Asdf.com/foo/bar", "Asdf.com", "foo/bar", "latest"},
      {"FOO/bar", "FOO", "bar", "latest"},
      {"xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com"},
      {"xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo", "latest"},
      {"xn--7o8h.com/myimage:x@" + sha512, "xn--7o8h.com", "myimage", sha512},
      {"example.com/xn--7o8h.com/myimage", "example.com", "xn--7o8h.com/myimage", "latest"},
      {"sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com", "bar/baz/quux", "some-long-tag"},
      {"b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io", "test.example.com/my-app",
       "test.example.com"},
      {"example.com/some_separator__underscore/myimage", "example.com", "some_separator__underscore/myimage",
       "latest"},
      {"0101.com/a", "0101.com", "a", "latest"},
      {"ab.c-om:443/a", "ab.c-om:443", "a", "latest"},
      {"a.b:65535/c", "a.b:65535", "c", "latest"},
      {"gcr.io/library/busybox:latest@" + sha256, "gcr.io", "library/busybox", sha256},
  };
  for (const auto& test : cases) {
    const auto reference = Reference::parse(test.input);
    EXPECT_EQ(reference.domain(), test.domain) << test.input;
    EXPECT_EQ(reference.repository(), test.repository) << test.input;
    EXPECT_EQ(reference.object(), test.object) << test.input;
    EXPECT_EQ(reference.locator(), test.domain + "/" + test.repository) << test.input;
  }
}

TEST(Reference, ParsingItsNameGivesTheSameReference) {
  for (const std::string& text : {std::string("alpine"), std::string("user/app:1"), "user/app@" + sha256,
                                  "a.b:5000/c:d@" + sha256, std::string("[::1]:5000/a/b")}) {
    const auto reference = Reference::parse(text);
    EXPECT_EQ(Reference::parse(reference.name()), reference) << text;
  }
}

TEST(Reference, TagAndDigestAreBothKeptAndTheDigestDecides) {
  const auto reference = Reference::parse("registry.example.com/app:1.2@" + sha256);
  EXPECT_EQ(reference.tag(), "1.2");
  EXPECT_EQ(reference.digest(), Digest::parse(sha256));
  EXPECT_EQ(reference.name(), "registry.example.com/app:1.2@" + sha256);
  EXPECT_EQ(reference.object(), sha256);
}

TEST(Reference, LatestIsAssumedOnlyWithoutTagAndDigest) {
  EXPECT_EQ(Reference::parse("a").tag(), "latest");
  EXPECT_EQ(Reference::parse("a@" + sha256).tag(), std::nullopt);
  EXPECT_EQ(Reference::parse("a"), Reference::parse("docker.io/library/a:latest"));
}

TEST(Reference, DockersRegistryAnswersAtAHostOfItsOwn) {
  EXPECT_EQ(Reference::parse("alpine").api_host(), "registry-1.docker.io");
  EXPECT_EQ(Reference::parse("index.docker.io/user/app").api_host(), "registry-1.docker.io");
  EXPECT_EQ(Reference::parse("registry.example.com:5000/app").api_host(), "registry.example.com:5000");
}

TEST(Reference, RefusesMalformedOnes) {
  const std::vector<std::string> bad{
      "",
      " ",
      ":",
      "/",
      "@",
      ":justtag",
      "@" + sha256,
      sha256,
      "repo@",
      "repo@sha256:ffffffffffffffffffffffffffffffffff",
      "repo@sha256:" + std::string(64, 'F'),
      "repo@" + sha256 + "@" + sha256,
      "repo@" + sha256 + ":tag",
      "validname@invaliddigest:" + std::string(64, 'f'),
      "registry.com:8080/myapp@sha256:badbadbadbad",
      "registry.com:8080/myapp@bad",
      "registry.com:8080/myapp@2bad",
      "registry.com:8080/myapp:invalid~tag",
      "repo:",
      "repo:-tag",
      "repo:.tag",
      "repo:a:b",
      "repo:tag/more",
      "repo:" + std::string(129, 't'),
      "Uppercase:tag",
      "test:5000/Uppercase/lowercase:tag",
      "docker/Docker",
      "docker.io/docker/Docker",
      "Foo/FarB",
      "aa/asdf$$^/aa",
      "a^a",
      "asdf$$^/aa",
      "a b",
      "a\tb",
      "a\n",
      "\xc3\xa4",
      std::string("a\0b", 3),
      "a//a/a",
      "a/a/a/a/",
      "docker/",
      "docker///docker",
      "docker.io/docker///docker",
      "foo.com/",
      "docker.io/",
      "/foo",
      "foo.com:http/bar",
      "localhost:http/name@" + sha256,
      "foo.com:/bar",
      "foo.com:0/bar",
      "foo.com:65536/bar",
      "foo.com:99999999999999999999/bar",
      "foo.com:-1/bar",
      "foo.com:80:80/bar",
      "a-/a/a/a",
      "foo.com/a-/a/a",
      "-foo",
      "-foo/bar",
      "foo/bar-",
      "foo-/bar",
      "foo/-bar",
      "_foo/bar",
      "____/____",
      "_docker/_docker",
      "docker_/docker_",
      "dock..er/docker",
      "dock_.er/docker",
      "dock-.er/docker",
      "dock___er/docker",
      "example.com/__underscore/myimage",
      "example.com/..dots/myimage",
      "example.com/.dots/myimage",
      "example.com/../myimage",
      "example.com/nodouble..dots/myimage",
      "docker./docker",
      ".docker/docker",
      "do..cker/docker",
      "do__cker:8080/docker",
      "bad_hostname.com:8080/myapp:tag",
      "-docker.io/docker/docker",
      "-ab.com/a",
      "ab-.com/a",
      "ab.-com/a",
      "ab.com-/a",
      "[::1/a",
      "::1/a",
      "[::1]5000/a",
      "[::1]:/a",
      "[]/a",
      "[:::]/a",
      "[fe80::1%eth0]/a",
      "[127.0.0.1]/a",
      "[2001:db8::1::2]/a",
      "https://github.com/docker/docker",
      "http://localhost:5000/a",
      "docker://alpine",
      hex64,
      repeated("a/", 128) + "a:tag",
      std::string(256, 'a'),
  };
  for (const auto& text : bad) EXPECT_NE(refusal_of(text), "") << text;
}

TEST(Reference, NamesMayHave255Characters) {
  const std::string domain = "registry.example.com/";
  EXPECT_NO_THROW(
      Reference::parse(domain + std::string(255 - domain.size(), 'a') + ":" + std::string(128, 't')));
  EXPECT_NE(refusal_of(domain + std::string(256 - domain.size(), 'a')).find("255"), std::string::npos);
}

TEST(Reference, SaysWhatIsWrong) {
  EXPECT_NE(refusal_of("").find("empty"), std::string::npos);
  EXPECT_NE(refusal_of("docker/Docker").find("lower-case"), std::string::npos);
  EXPECT_NE(refusal_of("https://example.com/a").find("scheme"), std::string::npos);
  EXPECT_NE(refusal_of(hex64).find("image's ID"), std::string::npos);
  EXPECT_NE(refusal_of("repo:-x").find("tag"), std::string::npos);
  EXPECT_NE(refusal_of("repo@sha256:0").find("digest"), std::string::npos);
  EXPECT_NE(refusal_of("a.b:x/c").find("host"), std::string::npos);
  EXPECT_NE(refusal_of("docker.io/").find("no repository"), std::string::npos);
  EXPECT_NE(refusal_of("a//b").find("\"a//b\""), std::string::npos);
}

TEST(Reference, MessagesNeverShowAPassword) {
  const std::vector<std::string> with_password{
      "https://user:hunter2@registry.example.com/app",
      "https://user:hunter2@registry.example.com",
      "user:hunter2@registry.example.com/app",
      "user:hunter2@registry.example.com",
      "registry.example.com/user:hunter2@registry.example.com/app",
      "https://user:hunter2@registry.example.com/app@sha256:0",
      "user:hunter2@registry.example.com/app@sha256:0",
      "https://user:p@hunter2@registry.example.com/app",
      "https://user:p/hunter2@registry.example.com/app",
  };
  for (const auto& text : with_password) {
    const auto message = refusal_of(text);
    EXPECT_EQ(message.find("hunter2"), std::string::npos) << message;
    EXPECT_NE(message.find("***"), std::string::npos) << message;
  }
  EXPECT_NE(refusal_of("name:tag@sha256:0").find("name:tag@sha256:0"), std::string::npos);
}

TEST(Reference, MessagesAreShortAndHarmlessToATerminal) {
  const auto message = refusal_of("\x1b[31m" + std::string(100'000, 'x'));
  EXPECT_LT(message.size(), 500U);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(LoopbackHost, IsLocalhostOrALoopbackAddress) {
  for (const std::string host : {"localhost", "localhost:5000", "LocalHost", "127.0.0.1", "127.0.0.1:5000",
                                 "127.255.1.2:80", "[::1]", "[::1]:5000", "::1", "[::ffff:127.0.0.1]:5000"}) {
    EXPECT_TRUE(is_loopback_host(host)) << host;
  }
}

TEST(LoopbackHost, IsNothingThatOnlyLooksLikeOne) {
  for (const std::string host :
       {"", "registry.example.com", "docker.io", "localhost.example.com", "localhost.example.com:5000",
        "127.0.0.1.example.com", "127.example.com", "127.0.0", "127.0.0.1x", "128.0.0.1", "10.127.0.1",
        "[::2]", "[2001:db8::1]:5000", "[::ffff:10.0.0.1]", "0.0.0.0", "[::]", "[::1", "[::1]x",
        "mylocalhost"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

}  // namespace
}  // namespace lazypull
