// The node agent over a long time: pulls and removals by many clients, with cancels, while the registry and
// containerd are restarted under it. Afterwards nothing has leaked and the metrics add up. 100 pulls, or as
// many as LAZYPULL_SOAK_PULLS says; LAZYPULL_SOAK_SEED repeats a run's choices.

#include "tests/integration/support/agent_process.hpp"
#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cri/api.grpc.pb.h>
#include <cstdlib>
#include <iostream>
#include <lazypull/agent/v1/agent.grpc.pb.h>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>

namespace lazypull::test {
namespace {

using testing::IsEmpty;
namespace own = lazypull::agent::v1;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

constexpr std::size_t clients = 8;
constexpr std::uint64_t images = 24;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

/// Three bases of three layers, and one or two layers of each image's own.
std::vector<std::string> store_images(Registry& registry) {
  std::vector<std::string> references;
  for (std::uint64_t i = 0; i < images; ++i) {
    ImageBuilder builder;
    for (std::uint64_t layer = 0; layer < 3 + 1 + i % 2; ++layer) {
      const auto seed = layer < 3 ? 10 * (i % 3) + layer : 1000 + 10 * i + layer;
      const auto name = "layer" + std::to_string(seed);
      builder.layer(
          {tar::directory(name), tar::file(name + "/noise", tar::noise(20'000 + 7'000 * (seed % 17), seed))});
    }
    references.push_back(registry.store(builder.build(), "soak" + std::to_string(i) + ":1"));
  }
  return references;
}

template <class Value>
std::vector<std::string> names(const std::map<std::string, Value>& all) {
  std::vector<std::string> names;
  for (const auto& [name, value] : all) names.push_back(name);
  return names;
}

/// What has become of calls, by all clients.
class Tally {
 public:
  void add(const std::string& what, const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    ++counts_[what + (status.ok() ? " ok" : " code " + std::to_string(status.error_code()))];
    // A restart, a cancel or a deadline is no reason for any of these.
    static const std::set<grpc::StatusCode> bugs{
        grpc::StatusCode::DATA_LOSS,          grpc::StatusCode::UNIMPLEMENTED,
        grpc::StatusCode::ALREADY_EXISTS,     grpc::StatusCode::INVALID_ARGUMENT,
        grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::PERMISSION_DENIED};
    if (bugs.contains(status.error_code())) unexpected_.push_back(what + ": " + status.error_message());
    if (!status.ok()) last_[status.error_code()] = status.error_message();
  }
  std::vector<std::string> unexpected() const {
    const std::lock_guard lock(mutex_);
    return unexpected_;
  }
  void print() const {
    const std::lock_guard lock(mutex_);
    for (const auto& [what, count] : counts_) std::cout << "  " << what << ": " << count << "\n";
    for (const auto& [code, message] : last_)
      std::cout << "  last of code " << code << ": " << message << "\n";
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::size_t> counts_;
  std::map<int, std::string> last_;
  std::vector<std::string> unexpected_;
};

/// One client with a connection of its own.
class SoakClient {
 public:
  SoakClient(const std::string& target, Tally& tally) : tally_(tally) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
    cri_ = runtime::v1::ImageService::NewStub(channel);
    agent_ = own::Agent::NewStub(channel);
  }

  /// The limit is where the client gives up, which cancels the call.
  grpc::Status pull_as_kubelet(const std::string& reference, std::chrono::milliseconds limit) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + limit);
    runtime::v1::PullImageRequest request;
    request.mutable_image()->set_image(reference);
    runtime::v1::PullImageResponse response;
    const auto status = cri_->PullImage(&context, request, &response);
    tally_.add("PullImage", status);
    return status;
  }
  grpc::Status pull_with_progress(const std::string& reference, std::chrono::milliseconds limit,
                                  bool give_up) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + limit);
    own::PullRequest request;
    request.set_reference(reference);
    request.set_pull_class(give_up ? own::PULL_CLASS_PREWARM : own::PULL_CLASS_SERVING);
    const auto reader = agent_->Pull(&context, request);
    own::PullProgress progress;
    for (bool first = true; reader->Read(&progress); first = false) {
      if (first && give_up) context.TryCancel();
    }
    const auto status = reader->Finish();
    tally_.add("Pull", status);
    return status;
  }
  grpc::Status remove(const std::string& reference) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 60s);
    runtime::v1::RemoveImageRequest request;
    request.mutable_image()->set_image(reference);
    runtime::v1::RemoveImageResponse response;
    const auto status = cri_->RemoveImage(&context, request, &response);
    tally_.add("RemoveImage", status);
    return status;
  }

 private:
  Tally& tally_;
  std::unique_ptr<runtime::v1::ImageService::Stub> cri_;
  std::unique_ptr<own::Agent::Stub> agent_;
};

class AgentSoak : public ::testing::Test {
 protected:
  /// Until so many pulls have been asked for. On a thread of its own.
  void work(std::uint64_t client_seed) {
    std::mt19937_64 random(client_seed);
    SoakClient client(agent.target(), tally);
    while (asked.fetch_add(1) < total) {
      const auto& reference = references[random() % references.size()];
      const auto choice = random() % 100;
      const auto limit = choice % 3 == 0 ? std::chrono::milliseconds(random() % 200) : 60'000ms;
      if (choice < 55) {
        client.pull_as_kubelet(reference, limit);
      } else {
        client.pull_with_progress(reference, limit, choice > 90);
      }
      if (random() % 2 == 0) client.remove(references[random() % references.size()]);
    }
  }

  /// Restarts what the agent depends on while the clients work. `Process` is for this thread only.
  void disturb() {
    std::mt19937_64 random(seed);
    const std::uint64_t restarts = total < 500 ? 4 : 20;
    for (std::uint64_t i = 1; i <= restarts; ++i) {
      while (asked < total * i / (restarts + 1)) std::this_thread::sleep_for(20ms);
      if (i % 2 == 0) {
        registry.stop();
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 400));
        registry.start();
      } else {
        containerd.stop();
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 400));
        containerd.start();
      }
    }
  }

  void run_clients() {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < clients; ++i) threads.emplace_back([this, i] { work(seed + i); });
    disturb();
    for (auto& thread : threads) thread.join();
  }

  void wait_until_idle() const {
    wait_until(
        [&] {
          const auto now = agent.scrape();
          return now(R"(lazypull_queue{queue="pulls_serving",state="running"})") == 0 &&
                 now(R"(lazypull_queue{queue="pulls_prewarm",state="running"})") == 0 &&
                 now("lazypull_live_tasks") == 0;
        },
        "the agent to be idle", 60s);
  }

  void pull_and_remove_all() {
    SoakClient client(agent.target(), tally);
    for (const auto& reference : references) {
      const auto status = client.pull_as_kubelet(reference, 60s);
      EXPECT_TRUE(status.ok()) << reference << ": " << status.error_message();
    }
    const auto full = read_state(containerd, "overlayfs", "k8s.io");
    EXPECT_THAT(names(full.leases), IsEmpty());
    EXPECT_THAT(names(full.ingests), IsEmpty());
    for (const auto& [name, snapshot] : full.snapshots) EXPECT_EQ(snapshot.kind, "committed") << name;
    for (const auto& reference : references) {
      const auto status = client.remove(reference);
      EXPECT_TRUE(status.ok()) << reference << ": " << status.error_message();
    }
    collect_garbage(containerd, "k8s.io");
    const auto state = read_state(containerd, "overlayfs", "k8s.io");
    EXPECT_THAT(names(state.images), IsEmpty());
    EXPECT_THAT(names(state.leases), IsEmpty());
    EXPECT_THAT(names(state.snapshots), IsEmpty());
    EXPECT_THAT(names(state.ingests), IsEmpty());
    EXPECT_THAT(names(state.content), IsEmpty());
  }

  void expect_that_metrics_add_up() {
    const auto metrics = agent.scrape();
    const auto pulls = metrics.sum("lazypull_pulls_total");
    EXPECT_EQ(metrics(R"(lazypull_pull_requests_total{shared="false"})"), pulls);
    EXPECT_LE(metrics.sum("lazypull_pulls_started_total"), pulls);
    EXPECT_EQ(metrics.sum("lazypull_pull_duration_seconds_count"), pulls);
    double failed = 0;
    for (const std::string pull_class : {"serving", "prewarm"}) {
      failed += metrics(R"(lazypull_pulls_total{class=")" + pull_class + R"(",result="failed"})");
    }
    EXPECT_EQ(metrics.sum("lazypull_errors_total"), failed);
    const auto lines = agent.log_lines("pull ended").size() + agent.log_lines("pull failed").size() +
                       agent.log_lines("pull cancelled").size();
    EXPECT_EQ(static_cast<double>(lines), pulls);
    EXPECT_EQ(static_cast<double>(agent.log_lines("pull started").size()),
              metrics.sum("lazypull_pulls_started_total"));
    EXPECT_EQ(static_cast<double>(agent.log_lines("image removed").size()),
              metrics("lazypull_images_removed_total"));
    EXPECT_GE(metrics.sum("lazypull_registry_body_bytes_total"), metrics.sum("lazypull_fetched_bytes_total"));
    for (const auto& [series, value] : metrics.values()) {
      if (series.starts_with("lazypull_queue{")) EXPECT_EQ(value, 0) << series;
    }
  }

  const std::uint64_t total = from_environment("LAZYPULL_SOAK_PULLS", 100);
  const std::uint64_t seed = from_environment("LAZYPULL_SOAK_SEED", std::random_device{}());
  std::atomic<std::uint64_t> asked = 0;
  Tally tally;
  Registry registry;
  std::vector<std::string> references = store_images(registry);
  Containerd containerd;
  AgentProcess agent{containerd};
};

TEST_F(AgentSoak, NothingLeaksAndAllMetricsAddUp) {
  std::cout << "seed " << seed << ", " << total << " pulls\n";
  // What a first round of everything takes is no leak: caches, connections, threads.
  pull_and_remove_all();
  wait_until_idle();
  const auto before = agent.scrape();
  const auto start = std::chrono::steady_clock::now();
  run_clients();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  wait_until_idle();
  const auto at_the_end = agent.scrape();
  // A lease whose making was cancelled may be made until its call's deadline, and is removed after it.
  std::this_thread::sleep_for(11s);
  pull_and_remove_all();
  wait_until_idle();

  EXPECT_TRUE(agent.running());
  EXPECT_THAT(tally.unexpected(), IsEmpty());
  expect_that_metrics_add_up();
  wait_until([&] { return agent.scrape()("process_open_fds") <= before("process_open_fds") + 8; },
             "descriptors to be closed: " + std::to_string(before("process_open_fds")) + " before, " +
                 std::to_string(agent.scrape()("process_open_fds")) + " now",
             120s);
  const auto after = agent.scrape();
  constexpr double mebibyte = 1 << 20;
  const auto resident = [&](const Scrape& scrape) {
    return scrape("process_resident_memory_bytes") / mebibyte;
  };
  // Eight clients at once need more than one; a leak of a pull's report alone would be hundreds of kilobytes
  // a pull.
  EXPECT_LT(resident(after), resident(before) + 48);
  EXPECT_LT(resident(after), 256);
  std::cout << "  " << took.count() << " s; resident MiB " << resident(before) << " before, "
            << resident(at_the_end) << " at the end, " << resident(after) << " after; descriptors "
            << before("process_open_fds") << " before, " << after("process_open_fds") << " after; threads "
            << before("process_threads") << " before, " << after("process_threads") << " after; pulls "
            << after.sum("lazypull_pulls_total") << ", shared requests "
            << after(R"(lazypull_pull_requests_total{shared="true"})") << "\n";
  tally.print();
  EXPECT_EQ(agent.stop(), 0) << agent.log();
}

}  // namespace
}  // namespace lazypull::test
