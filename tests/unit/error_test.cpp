#include "engine/error.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <gtest/gtest.h>
#include <system_error>

#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace lazypull {
namespace {

Error error_of(const auto& thrown) {
  return as_error(std::make_exception_ptr(thrown));
}

Errc code_of(const boost::system::error_code& code) {
  return error_of(boost::system::system_error(code)).code();
}

/// A category that the engine knows by name only, such as TLS's.
class NamedCategory final : public boost::system::error_category {
 public:
  explicit NamedCategory(const char* name) : name_(name) {}
  const char* name() const noexcept override { return name_; }
  std::string message(int value) const override { return "failure " + std::to_string(value); }

 private:
  const char* name_;
};

const std::vector<Errc>& all_codes() {
  static const std::vector<Errc> codes = [] {
    std::vector<Errc> result;
    for (int value = static_cast<int>(Errc::invalid_argument); value <= static_cast<int>(Errc::internal);
         ++value) {
      result.push_back(static_cast<Errc>(value));
    }
    return result;
  }();
  return codes;
}

TEST(Error, EveryCodeHasAWordOfItsOwn) {
  std::set<std::string_view> words;
  for (const auto code : all_codes()) words.insert(to_string(code));
  EXPECT_EQ(words.size(), all_codes().size());
  EXPECT_FALSE(words.contains(to_string(static_cast<Errc>(0))));
}

TEST(Error, IsAlsoAnErrorCodeOfItsCategory) {
  const Error error(Errc::not_found, "registry.example.com/a:1");
  EXPECT_EQ(error.error_code(), Errc::not_found);
  EXPECT_EQ(error.error_code().category(), error_category());
  EXPECT_EQ(error.error_code().message(), "not found");
  EXPECT_STREQ(error_category().name(), "lazypull");
}

TEST(Error, ContextStandsBeforeTheMessageAndKeepsTheCode) {
  const auto outer = Error(Errc::not_found, "GET /v2/a").with_context("layer 3").with_context("pull a");
  EXPECT_EQ(outer.message(), "pull a: layer 3: GET /v2/a");
  EXPECT_STREQ(outer.what(), "pull a: layer 3: GET /v2/a");
  EXPECT_EQ(outer.code(), Errc::not_found);
}

TEST(Error, RethrowAddsContext) {
  const auto failure = std::make_exception_ptr(Error(Errc::locked, "ingest layer-x"));
  try {
    rethrow_with_context(failure, "write");
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::locked);
    EXPECT_EQ(error.message(), "write: ingest layer-x");
  }
}

TEST(Error, OnlyWhatMayPassByItselfIsTransient) {
  const std::set<Errc> transient{Errc::too_many_requests, Errc::server_error, Errc::unavailable,
                                 Errc::timed_out, Errc::locked};
  for (const auto code : all_codes()) {
    EXPECT_EQ(is_transient(code), transient.contains(code)) << to_string(code);
  }
}

TEST(AsError, KeepsAnErrorAsItIs) {
  const auto error = error_of(Error(Errc::forbidden, "registry.example.com"));
  EXPECT_EQ(error.code(), Errc::forbidden);
  EXPECT_EQ(error.message(), "registry.example.com");
}

TEST(AsError, KeepsACodeOfOurs) {
  EXPECT_EQ(code_of(make_error_code(Errc::size_mismatch)), Errc::size_mismatch);
}

TEST(AsError, MapsAsio) {
  namespace e = boost::asio::error;
  EXPECT_EQ(code_of(e::operation_aborted), Errc::cancelled);
  EXPECT_EQ(code_of(e::connection_refused), Errc::unavailable);
  EXPECT_EQ(code_of(e::connection_reset), Errc::unavailable);
  EXPECT_EQ(code_of(e::broken_pipe), Errc::unavailable);
  EXPECT_EQ(code_of(e::network_unreachable), Errc::unavailable);
  EXPECT_EQ(code_of(e::eof), Errc::unavailable);
  EXPECT_EQ(code_of(e::timed_out), Errc::timed_out);
  EXPECT_EQ(code_of(e::host_not_found), Errc::host_not_found);
  EXPECT_EQ(code_of(e::host_not_found_try_again), Errc::unavailable);
  EXPECT_EQ(code_of(e::service_not_found), Errc::host_not_found);
  EXPECT_EQ(code_of(e::access_denied), Errc::permission_denied);
  EXPECT_EQ(code_of(e::not_found), Errc::internal);
}

TEST(AsError, MapsErrno) {
  const auto errno_code = [](int value) {
    return code_of(boost::system::error_code(value, boost::system::system_category()));
  };
  EXPECT_EQ(errno_code(ENOSPC), Errc::out_of_space);
  EXPECT_EQ(errno_code(EDQUOT), Errc::out_of_space);
  EXPECT_EQ(errno_code(EACCES), Errc::permission_denied);
  EXPECT_EQ(errno_code(EPERM), Errc::permission_denied);
  EXPECT_EQ(errno_code(EROFS), Errc::permission_denied);
  EXPECT_EQ(errno_code(ENOENT), Errc::not_found);
  EXPECT_EQ(errno_code(EEXIST), Errc::already_exists);
  EXPECT_EQ(errno_code(EAFNOSUPPORT), Errc::unsupported);
  EXPECT_EQ(errno_code(EINVAL), Errc::internal);
}

TEST(AsError, MapsTheStandardLibrarysErrors) {
  EXPECT_EQ(error_of(std::system_error(ENOSPC, std::generic_category(), "write")).code(), Errc::out_of_space);
  const auto missing = std::make_error_code(std::errc::no_such_file_or_directory);
  const auto error = error_of(std::filesystem::filesystem_error("open", "/some/file", missing));
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_NE(error.message().find("/some/file"), std::string::npos);
}

TEST(AsError, MapsLibrariesThatItDoesNotKnowByTheirCategorysName) {
  const NamedCategory ssl("asio.ssl");
  const NamedCategory ssl_stream("asio.ssl.stream");
  const NamedCategory beast("boost.beast");
  const NamedCategory http("beast.http");
  const NamedCategory other("other");
  EXPECT_EQ(code_of({167772294, ssl}), Errc::tls_failure);
  EXPECT_EQ(code_of({1, ssl_stream}), Errc::unavailable);
  EXPECT_EQ(code_of({3, ssl_stream}), Errc::tls_failure);
  EXPECT_EQ(code_of({1, beast}), Errc::timed_out);
  EXPECT_EQ(code_of({1, http}), Errc::unavailable);
  EXPECT_EQ(code_of({2, http}), Errc::unavailable);
  EXPECT_EQ(code_of({9, http}), Errc::bad_response);
  EXPECT_EQ(code_of({1, other}), Errc::internal);
}

TEST(AsError, SaysWhatWasThrownWithoutCategoriesAndSourceLocations) {
  const boost::system::error_code refused = boost::asio::error::connection_refused;
  EXPECT_EQ(error_of(boost::system::system_error(refused, "connect")).message(),
            "connect: Connection refused");
  EXPECT_EQ(error_of(boost::system::system_error(refused)).message(), "Connection refused");
}

TEST(AsError, CallsEverythingElseInternal) {
  EXPECT_EQ(error_of(std::bad_alloc()).code(), Errc::internal);
  EXPECT_EQ(error_of(std::bad_alloc()).message(), "out of memory");
  EXPECT_EQ(error_of(std::logic_error("odd")).code(), Errc::internal);
  EXPECT_EQ(error_of(std::logic_error("odd")).message(), "odd");
  EXPECT_EQ(error_of(42).code(), Errc::internal);
  EXPECT_EQ(as_error(nullptr).code(), Errc::internal);
}

}  // namespace
}  // namespace lazypull
