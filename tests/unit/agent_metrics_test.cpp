#include "tools/agent/metrics.hpp"
#include "tools/agent/process_metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <sstream>

namespace lazypull {
namespace {

using std::chrono_literals::operator""ms;
using testing::HasSubstr;
using testing::Not;

class MetricsTest : public ::testing::Test {
 protected:
  /// The value of one time series, exactly as it is written.
  std::optional<double> value(const std::string& series) {
    std::istringstream text(metrics.text());
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with(series + " ")) return std::strtod(line.c_str() + series.size() + 1, nullptr);
    }
    return std::nullopt;
  }
  std::size_t series_of(const std::string& name) {
    std::istringstream text(metrics.text());
    std::size_t count = 0;
    for (std::string line; std::getline(text, line);) count += line.starts_with(name + "{") ? 1U : 0U;
    return count;
  }

  static Digest digest(char c) { return Digest::parse("sha256:" + std::string(64, c)); }

  /// A pull that downloaded one layer of 1000 bytes and found one of 500.
  static PullReport report() {
    PullReport report;
    report.metadata_bytes = 70;
    report.phases = {{"resolve", 20ms}, {"layers", 250ms}};
    auto& image = report.images.emplace_back();
    image.layers.resize(2);
    image.layers[0].digest = digest('a');
    image.layers[0].size = 1000;
    image.layers[0].bytes_fetched = 1000;
    image.layers[0].decision = LayerDecision::download;
    image.layers[0].fetch = 200ms;
    image.layers[1].digest = digest('b');
    image.layers[1].size = 500;
    image.layers[1].decision = LayerDecision::exists;
    return report;
  }

  PullEnd end(std::optional<Error> failure = std::nullopt) {
    PullEnd pull_end;
    pull_end.host = "registry.example.com";
    pull_end.duration = 300ms;
    pull_end.failure = std::move(failure);
    return pull_end;
  }

  MetricsSnapshot snapshot;
  Metrics metrics{"1.2.3", [this] { return snapshot; }};
};

TEST_F(MetricsTest, APullIsCountedWithItsBytesLayersAndDurations) {
  metrics.pull_requested(false);
  metrics.pull_requested(true);
  metrics.pull_started(PullClass::serving);
  metrics.pull_ended(end(), report());
  EXPECT_EQ(value(R"(lazypull_pull_requests_total{shared="true"})"), 1);
  EXPECT_EQ(value(R"(lazypull_pulls_started_total{class="serving"})"), 1);
  EXPECT_EQ(value(R"(lazypull_pulls_total{class="serving",result="ok"})"), 1);
  EXPECT_EQ(value(R"(lazypull_fetched_bytes_total{kind="layer"})"), 1000);
  EXPECT_EQ(value(R"(lazypull_fetched_bytes_total{kind="metadata"})"), 70);
  EXPECT_EQ(value("lazypull_avoided_bytes_total"), 500);
  EXPECT_EQ(value(R"(lazypull_layers_total{decision="download"})"), 1);
  EXPECT_EQ(value(R"(lazypull_layers_total{decision="exists"})"), 1);
  EXPECT_EQ(value(R"(lazypull_pull_duration_seconds_sum{class="serving",result="ok"})"), 0.3);
  EXPECT_EQ(value(R"(lazypull_phase_duration_seconds_count{phase="resolve"})"), 1);
  EXPECT_EQ(value(R"(lazypull_phase_duration_seconds_bucket{phase="layers",le="0.1"})"), 0);
  EXPECT_EQ(value(R"(lazypull_phase_duration_seconds_bucket{phase="layers",le="0.25"})"), 1);
  EXPECT_EQ(value(R"(lazypull_layer_step_duration_seconds_count{step="fetch"})"), 1);
  EXPECT_EQ(value(R"(lazypull_layer_step_duration_seconds_count{step="unpack"})"), std::nullopt);
}

TEST_F(MetricsTest, BytesAreCountedWhileTheirPullIsUnderWayAndOnlyOnce) {
  auto running = report();
  running.images[0].layers[0].bytes_fetched = 400;
  snapshot.running = {&running};
  EXPECT_EQ(value(R"(lazypull_fetched_bytes_total{kind="layer"})"), 400);
  EXPECT_EQ(value("lazypull_avoided_bytes_total"), 0);
  running.images[0].layers[0].bytes_fetched = 1000;
  snapshot.running.clear();
  metrics.pull_ended(end(), running);
  EXPECT_EQ(value(R"(lazypull_fetched_bytes_total{kind="layer"})"), 1000);
  EXPECT_EQ(value("lazypull_avoided_bytes_total"), 500);
}

TEST_F(MetricsTest, AFailureIsCountedByKindAndHost) {
  metrics.pull_ended(end(Error(Errc::not_found, "x")), PullReport());
  metrics.pull_ended(end(Error(Errc::too_many_requests, "x")), PullReport());
  EXPECT_EQ(value(R"(lazypull_pulls_total{class="serving",result="failed"})"), 2);
  EXPECT_EQ(value(R"(lazypull_errors_total{host="registry.example.com",kind="not_found"})"), 1);
}

TEST_F(MetricsTest, AFailedPullAvoidsNothing) {
  metrics.pull_ended(end(Error(Errc::not_found, "x")), report());
  EXPECT_EQ(value("lazypull_avoided_bytes_total"), 0);
  EXPECT_EQ(value(R"(lazypull_fetched_bytes_total{kind="layer"})"), 1000);
}

TEST_F(MetricsTest, ACancelledPullIsNoError) {
  metrics.pull_ended(end(Error(Errc::cancelled, "x")), PullReport());
  EXPECT_EQ(value(R"(lazypull_pulls_total{class="serving",result="cancelled"})"), 1);
  EXPECT_EQ(series_of("lazypull_errors_total"), 0U);
}

TEST_F(MetricsTest, HostsBeyondTheFirstOnesAreOther) {
  for (int i = 0; i < 1000; ++i) {
    auto one = end(Error(Errc::unavailable, "x"));
    one.host = "h" + std::to_string(i) + ".example.com";
    metrics.pull_ended(one, PullReport());
  }
  EXPECT_EQ(series_of("lazypull_errors_total"), Metrics::max_hosts + 1);
  EXPECT_EQ(value(R"(lazypull_errors_total{host="other",kind="unavailable"})"),
            1000 - static_cast<double>(Metrics::max_hosts));
}

TEST_F(MetricsTest, AnAbsurdHostIsOther) {
  auto one = end(Error(Errc::unavailable, "x"));
  one.host = std::string(10'000, 'h');
  metrics.pull_ended(one, PullReport());
  EXPECT_EQ(value(R"(lazypull_errors_total{host="other",kind="unavailable"})"), 1);
}

TEST_F(MetricsTest, RequestsAreCountedByHostAndClassOfStatus) {
  RequestLog request;
  request.url = "https://mirror.example.com:5000/v2/app/blobs/sha256:1";
  request.status = 206;
  request.body_bytes = 10;
  metrics.request_ended(request);
  metrics.request_ended(request);
  request.status = 0;
  request.body_bytes = 0;
  metrics.request_ended(request);
  EXPECT_EQ(value(R"(lazypull_registry_requests_total{host="mirror.example.com:5000",status="2xx"})"), 2);
  EXPECT_EQ(value(R"(lazypull_registry_requests_total{host="mirror.example.com:5000",status="none"})"), 1);
  EXPECT_EQ(value(R"(lazypull_registry_body_bytes_total{host="mirror.example.com:5000"})"), 20);
}

TEST_F(MetricsTest, QueuesHostsAndLimitsAreThoseOfTheMoment) {
  snapshot.queues = {{"downloads", 3, 17}};
  snapshot.broken_hosts = 1;
  snapshot.distrusted_blobs = 2;
  snapshot.live_tasks = 40;
  snapshot.bandwidth = {0, 1'000'000};
  EXPECT_EQ(value(R"(lazypull_queue{queue="downloads",state="running"})"), 3);
  EXPECT_EQ(value(R"(lazypull_queue{queue="downloads",state="waiting"})"), 17);
  EXPECT_EQ(value("lazypull_broken_hosts"), 1);
  EXPECT_EQ(value("lazypull_distrusted_blobs"), 2);
  EXPECT_EQ(value("lazypull_live_tasks"), 40);
  EXPECT_EQ(value(R"(lazypull_bandwidth_limit_bytes_per_second{class="prewarm"})"), 1e6);
  snapshot.queues = {{"downloads", 0, 0}};
  EXPECT_EQ(value(R"(lazypull_queue{queue="downloads",state="running"})"), 0);
}

TEST_F(MetricsTest, WhatHasNotHappenedYetIsZeroAndNotMissing) {
  EXPECT_EQ(value(R"(lazypull_pulls_total{class="prewarm",result="failed"})"), 0);
  EXPECT_EQ(value(R"(lazypull_pull_requests_total{shared="true"})"), 0);
  EXPECT_EQ(value("lazypull_images_removed_total"), 0);
  metrics.image_removed();
  EXPECT_EQ(value("lazypull_images_removed_total"), 1);
}

TEST_F(MetricsTest, TheProcessAndTheVersionAreThere) {
  EXPECT_EQ(value(R"(lazypull_build_info{version="1.2.3"})"), 1);
  EXPECT_GT(value("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(value("process_open_fds"), 2);
  EXPECT_GT(value("process_start_time_seconds"), 1e9);
}

TEST_F(MetricsTest, LabelValuesAreEscaped) {
  auto one = end(Error(Errc::unavailable, "x"));
  one.host = "a\"\nb";
  metrics.pull_ended(one, PullReport());
  EXPECT_THAT(metrics.text(), HasSubstr(R"(host="a\"\nb")"));
}

TEST(ProcessUsageTest, IsThatOfThisProcess) {
  const auto usage = process_usage();
  EXPECT_GE(usage.threads, 1U);
  EXPECT_GE(usage.open_fds, 3U);
  EXPECT_GE(usage.max_fds, usage.open_fds);
  EXPECT_GE(usage.virtual_bytes, usage.resident_bytes);
}

}  // namespace
}  // namespace lazypull
