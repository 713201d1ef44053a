#include "transport/registry_error.hpp"

#include "transport/blob_reader.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

TEST(ErrorBody, OfARegistryHasCodesAndMessages) {
  EXPECT_EQ(describe_error_body(R"({"errors": [{"code": "DENIED", "message": "no", "detail": {"x": 1}}]})"),
            "DENIED: no");
  EXPECT_EQ(describe_error_body(R"({"errors": [{"code": "A"}, {"message": "b"}]})"), "A; b");
}

TEST(ErrorBody, OfATokenServiceHasOtherForms) {
  EXPECT_EQ(describe_error_body(R"({"details": "incorrect username or password"})"),
            "incorrect username or password");
  EXPECT_EQ(describe_error_body(R"({"error": "invalid_grant", "error_description": "expired"})"),
            "invalid_grant: expired");
  EXPECT_EQ(describe_error_body(R"({"message": "no"})"), "no");
}

TEST(ErrorBody, SaysNothingWhereItIsNone) {
  for (const auto* body :
       {"", "<html>", "[]", "{}", R"({"errors": {}})", R"({"errors": [1, null]})", R"({"errors": [{}]})"}) {
    EXPECT_EQ(describe_error_body(body), "") << body;
  }
}

TEST(ErrorBody, IsBoundedAndHasNoControlCharacters) {
  const auto text = describe_error_body(R"({"errors": [{"message": ")" + std::string(5000, 'a') + "\"}]}");
  EXPECT_LT(text.size(), 600U);
  EXPECT_EQ(describe_error_body(R"({"message": "a\u001b[2Jb\nc"})"), "a [2Jb c");
  EXPECT_EQ(describe_error_body(std::string(10000, '[')), "");
}

TEST(Sanitise, KeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(sanitise("größe…", 100), "größe…");
  EXPECT_EQ(sanitise("a\xff\xc0\xaf"
                     "b\xe2\x80",
                     100),
            "a???b??");
  EXPECT_EQ(sanitise("\xed\xa0\x80", 100), "???");
  EXPECT_EQ(sanitise("äää", 4), "ää…");
}

TEST(Status, IsTranslated) {
  EXPECT_EQ(errc_of_status(401), Errc::unauthorized);
  EXPECT_EQ(errc_of_status(403), Errc::forbidden);
  EXPECT_EQ(errc_of_status(404), Errc::not_found);
  EXPECT_EQ(errc_of_status(429), Errc::too_many_requests);
  EXPECT_EQ(errc_of_status(500), Errc::server_error);
  EXPECT_EQ(errc_of_status(599), Errc::server_error);
  EXPECT_EQ(errc_of_status(418), Errc::bad_response);
  EXPECT_EQ(errc_of_status(201), Errc::bad_response);
}

HttpHead head(int status, std::vector<std::pair<std::string, std::string>> fields) {
  HttpHead result;
  result.status = status;
  for (auto& [name, value] : fields) result.fields.add(name, value);
  return result;
}

TEST(BodyPlan, TakesAWholeBodyOrARange) {
  EXPECT_EQ(plan_body(head(200, {{"Content-Length", "10"}}), 10, 0), (BodyPlan{0, 10, 0}));
  EXPECT_EQ(plan_body(head(200, {}), 10, 0), (BodyPlan{0, 10, 0}));
  EXPECT_EQ(plan_body(head(206, {{"Content-Range", "bytes 4-9/10"}}), 10, 4), (BodyPlan{0, 6, 4}));
  EXPECT_EQ(plan_body(head(206, {{"Content-Range", "bytes 4-9/*"}, {"Content-Length", "6"}}), 10, 4),
            (BodyPlan{0, 6, 4}));
}

TEST(BodyPlan, SkipsWhatWasNotAskedFor) {
  EXPECT_EQ(plan_body(head(200, {{"Content-Length", "10"}}), 10, 4), (BodyPlan{4, 6, 4}));
}

TEST(BodyPlan, RefusesOtherSizes) {
  const auto refusal = [](const HttpHead& which, std::uint64_t offset) {
    try {
      plan_body(which, 10, offset);
    } catch (const Error& error) {
      return error.code();
    }
    return Errc::internal;
  };
  EXPECT_EQ(refusal(head(200, {{"Content-Length", "9"}}), 0), Errc::size_mismatch);
  EXPECT_EQ(refusal(head(200, {{"Content-Length", "6"}}), 4), Errc::size_mismatch);
  EXPECT_EQ(refusal(head(206, {{"Content-Range", "bytes 4-10/11"}}), 4), Errc::size_mismatch);
  EXPECT_EQ(refusal(head(206, {{"Content-Range", "bytes 4-9/10"}, {"Content-Length", "10"}}), 4),
            Errc::size_mismatch);
  EXPECT_EQ(refusal(head(416, {}), 4), Errc::size_mismatch);
  EXPECT_EQ(refusal(head(416, {}), 0), Errc::bad_response);
  EXPECT_EQ(refusal(head(206, {{"Content-Range", "bytes 0-9/10"}}), 0), Errc::bad_response);
  EXPECT_EQ(refusal(head(206, {}), 4), Errc::bad_response);
  EXPECT_EQ(refusal(head(206, {{"Content-Range", "bytes 5-9/10"}}), 4), Errc::bad_response);
  EXPECT_EQ(refusal(head(206, {{"Content-Range", "bytes 18446744073709551616-9/10"}}), 4),
            Errc::bad_response);
}

}  // namespace
}  // namespace lazypull
