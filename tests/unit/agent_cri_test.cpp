// What the CRI service makes of names, users and credentials.

#include "engine/error.hpp"
#include "tools/agent/cri_auth.hpp"
#include "tools/agent/cri_images.hpp"
#include "tools/agent/grpc_server_call.hpp"
#include "transport/base64.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string hex(64, 'a');

TEST(CriReference, IsInNormalForm) {
  EXPECT_EQ(cri_reference("busybox").name(), "docker.io/library/busybox:latest");
  EXPECT_EQ(cri_reference("registry.example.com/app").name(), "registry.example.com/app:latest");
}

TEST(CriReference, OfTagAndDigestOnlyTheDigestCounts) {
  EXPECT_EQ(cri_reference("registry.example.com/app:1@sha256:" + hex).name(),
            "registry.example.com/app@sha256:" + hex);
}

TEST(CriRecords, ArePutUnderIdTagAndDigest) {
  const auto id = Digest::sha256_of("config");
  const auto target = Digest::sha256_of("manifest");
  EXPECT_THAT(
      cri_record_names(cri_reference("registry.example.com/app:1"), id, target),
      ElementsAre(id.str(), "registry.example.com/app:1", "registry.example.com/app@" + target.str()));
  EXPECT_THAT(cri_record_names(cri_reference("registry.example.com/app@sha256:" + hex), id, target),
              ElementsAre(id.str(), "registry.example.com/app@sha256:" + hex));
}

TEST(CriUser, IsANumberOrAName) {
  EXPECT_EQ(cri_user("1000").uid, 1000);
  EXPECT_EQ(cri_user("1000:100").uid, 1000);
  EXPECT_EQ(cri_user("0").uid, 0);
  EXPECT_EQ(cri_user("nobody:nogroup").name, "nobody");
  EXPECT_FALSE(cri_user("nobody").uid);
  EXPECT_EQ(cri_user("12a").name, "12a");
  EXPECT_FALSE(cri_user("").uid);
  EXPECT_EQ(cri_user("").name, "");
  EXPECT_EQ(cri_user("99999999999999999999").name, "99999999999999999999");
  EXPECT_EQ(cri_user("1000").name, "");
}

class CriAuthTest : public ::testing::Test {
 protected:
  std::optional<Credentials> find(const std::string& image = "registry.example.com:5000/app:1") const {
    return credentials_of(auth, Reference::parse(image));
  }
  CriAuth auth;
};

TEST_F(CriAuthTest, NameAndPasswordAreTakenAsTheyAre) {
  auth.username = "alice";
  auth.password = "wonderland";
  auth.identity_token = "ignored";
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->username, "alice");
  EXPECT_EQ(find()->password, "wonderland");
  EXPECT_EQ(find()->identity_token, "");
}

TEST_F(CriAuthTest, TheEncodedFormIsDecoded) {
  auth.auth = base64_encode(std::string("alice:wonder:land\0\0", 19));
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->username, "alice");
  EXPECT_EQ(find()->password, "wonder:land");
}

TEST_F(CriAuthTest, TokensAreTakenToo) {
  auth.registry_token = "bearer";
  EXPECT_EQ(find()->registry_token, "bearer");
  auth.identity_token = "refresh";
  EXPECT_EQ(find()->identity_token, "refresh");
  EXPECT_EQ(find()->registry_token, "");
}

TEST_F(CriAuthTest, NothingIsNothing) {
  EXPECT_FALSE(find());
}

TEST_F(CriAuthTest, CredentialsOfAnotherServerAreNotUsed) {
  auth.username = "alice";
  auth.password = "wonderland";
  for (const auto* server : {"registry.example.com:5000", "https://registry.example.com:5000/v1/",
                             "http://REGISTRY.example.com:5000", "//registry.example.com"}) {
    auth.server_address = server;
    EXPECT_EQ(find().has_value(), std::string(server).find(":5000") != std::string::npos) << server;
  }
  for (const auto* server : {"registry.example.com", "registry.example.com:5001", "example.com:5000",
                             "evil.example.org/registry.example.com:5000",
                             "https://registry.example.com:5000@evil.example.org/"}) {
    auth.server_address = server;
    EXPECT_FALSE(find()) << server;
  }
}

TEST_F(CriAuthTest, DockerHubHasSeveralNames) {
  auth.username = "alice";
  auth.password = "wonderland";
  for (const auto* server : {"https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"}) {
    auth.server_address = server;
    EXPECT_TRUE(find("busybox")) << server;
    EXPECT_FALSE(find()) << server;
  }
}

TEST_F(CriAuthTest, WhatCannotBeDecodedIsRefusedAndNotQuoted) {
  for (const auto* bad : {"not base64!", "c2VjcmV0"}) {
    auth.auth = bad;
    try {
      find();
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument);
      EXPECT_THAT(error.message(), Not(HasSubstr(bad)));
    }
  }
}

TEST(ServerStatus, HasTheCodesThatAKubeletKnows) {
  const auto code = [](Errc errc) { return status_of(Error(errc, "why")).error_code(); };
  EXPECT_EQ(code(Errc::not_found), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(code(Errc::platform_not_found), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(code(Errc::unauthorized), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(code(Errc::forbidden), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(Errc::invalid_argument), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code(Errc::unavailable), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(code(Errc::timed_out), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(code(Errc::out_of_space), grpc::StatusCode::RESOURCE_EXHAUSTED);
  // UNIMPLEMENTED is for calls that are not there: clients would try an older version of the CRI.
  EXPECT_EQ(code(Errc::unsupported), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST(ServerStatus, MessagesFitIntoAHeaderAndHaveNoCredentials) {
  const auto status =
      status_of(Error(Errc::internal, "GET https://alice:wonderland@example.com/ " + std::string(9000, 'x')));
  EXPECT_LT(status.error_message().size(), 2100U);
  EXPECT_THAT(status.error_message(), Not(HasSubstr("wonderland")));
}

}  // namespace
}  // namespace lazypull
