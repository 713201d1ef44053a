#include "transport/grpc_status.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

using grpc::StatusCode;

TEST(GrpcStatus, EveryCodeHasAMeaning) {
  EXPECT_EQ(errc_of(StatusCode::CANCELLED, ""), Errc::cancelled);
  EXPECT_EQ(errc_of(StatusCode::UNKNOWN, ""), Errc::server_error);
  EXPECT_EQ(errc_of(StatusCode::INVALID_ARGUMENT, ""), Errc::invalid_argument);
  EXPECT_EQ(errc_of(StatusCode::DEADLINE_EXCEEDED, ""), Errc::timed_out);
  EXPECT_EQ(errc_of(StatusCode::NOT_FOUND, ""), Errc::not_found);
  EXPECT_EQ(errc_of(StatusCode::ALREADY_EXISTS, ""), Errc::already_exists);
  EXPECT_EQ(errc_of(StatusCode::PERMISSION_DENIED, ""), Errc::permission_denied);
  EXPECT_EQ(errc_of(StatusCode::UNAUTHENTICATED, ""), Errc::unauthorized);
  EXPECT_EQ(errc_of(StatusCode::RESOURCE_EXHAUSTED, ""), Errc::out_of_space);
  EXPECT_EQ(errc_of(StatusCode::FAILED_PRECONDITION, ""), Errc::failed_precondition);
  EXPECT_EQ(errc_of(StatusCode::ABORTED, ""), Errc::unavailable);
  EXPECT_EQ(errc_of(StatusCode::OUT_OF_RANGE, ""), Errc::failed_precondition);
  EXPECT_EQ(errc_of(StatusCode::UNIMPLEMENTED, ""), Errc::unsupported);
  EXPECT_EQ(errc_of(StatusCode::INTERNAL, ""), Errc::server_error);
  EXPECT_EQ(errc_of(StatusCode::UNAVAILABLE, ""), Errc::unavailable);
  EXPECT_EQ(errc_of(StatusCode::DATA_LOSS, ""), Errc::server_error);
}

TEST(GrpcStatus, AFullDiskIsRecognisedByItsText) {
  EXPECT_EQ(errc_of(StatusCode::UNKNOWN, "write /var/lib/containerd/x: no space left on device"),
            Errc::out_of_space);
  EXPECT_EQ(errc_of(StatusCode::INTERNAL, "mkdir /x: disk quota exceeded"), Errc::out_of_space);
}

TEST(GrpcStatus, AMessageOverTheLimitIsNoFullDisk) {
  EXPECT_EQ(errc_of(StatusCode::RESOURCE_EXHAUSTED, "Received message larger than max (20 vs. 16)"),
            Errc::bad_response);
}

TEST(GrpcStatus, TheErrorNamesTheCallAndTheDaemonsReason) {
  const auto error =
      error_of({StatusCode::NOT_FOUND, "content sha256:ab: not found"}, "Content/Info sha256:ab");
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_EQ(error.message(), "Content/Info sha256:ab: content sha256:ab: not found");
}

TEST(GrpcStatus, AnErrorWithoutAReasonNamesItsCode) {
  EXPECT_EQ(error_of({StatusCode::DEADLINE_EXCEEDED, ""}, "Leases/List").message(),
            "Leases/List: deadline exceeded");
}

TEST(GrpcStatus, OkIsNoError) {
  EXPECT_NO_THROW(require_ok(grpc::Status::OK, "Leases/List"));
}

}  // namespace
}  // namespace lazypull
