// What a pull writes about itself: a file that trace viewers open, and spans for a collector.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/token_server.hpp"
#include "tests/support/scripted_server.hpp"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::SizeIs;

std::string read_file(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

struct Event {
  std::string name;
  std::string object;
  double start = 0;  ///< microseconds
  double end = 0;
  std::int64_t track = 0;
  std::int64_t parent = 0;
  bool failed = false;

  double duration() const { return end - start; }
};

/// A trace file, read without the command's own code.
class Trace {
 public:
  explicit Trace(const fs::path& file) : file_(file) {
    const auto document = json::parse(read_file(file));
    for (const auto& value : document.at("traceEvents").as_array()) {
      if (value.at("ph") != "X") continue;
      const auto& args = value.at("args").as_object();
      Event event;
      event.name = value.at("name").as_string();
      event.start = value.at("ts").to_number<double>();
      event.end = event.start + value.at("dur").to_number<double>();
      event.track = value.at("tid").to_number<std::int64_t>();
      if (args.contains("object")) event.object = args.at("object").as_string();
      if (args.contains("parent")) event.parent = args.at("parent").to_number<std::int64_t>();
      event.failed = args.contains("failed");
      events_.emplace(args.at("id").to_number<std::int64_t>(), std::move(event));
    }
  }

  const std::map<std::int64_t, Event>& events() const { return events_; }

  /// What jsonschema has against it.
  std::string problems() const {
    const auto data = fs::path(LAZYPULL_PEERS_SOURCE).parent_path().parent_path() / "data";
    const auto result =
        run({"/usr/bin/python3", data / "validate_json.py", data / "trace_event.schema.json", file_});
    return result.exit_code == 0 ? "" : result.out + result.err;
  }

  /// Pairs of spans of one track of which neither is within the other, nor apart from it.
  std::vector<std::string> overlaps() const {
    constexpr double rounding = 0.0015;  // microseconds
    std::map<std::int64_t, std::vector<const Event*>> tracks;
    for (const auto& [id, event] : events_) tracks[event.track].push_back(&event);
    std::vector<std::string> found;
    for (const auto& [track, list] : tracks) {
      for (const auto* a : list) {
        for (const auto* b : list) {
          const bool b_in_a = b->start >= a->start - rounding && b->end <= a->end + rounding;
          const bool a_in_b = a->start >= b->start - rounding && a->end <= b->end + rounding;
          const bool apart = b->start >= a->end - rounding || a->start >= b->end - rounding;
          if (!b_in_a && !a_in_b && !apart) found.push_back(a->name + " and " + b->name);
        }
      }
    }
    return found;
  }

  std::set<std::string> names() const {
    std::set<std::string> names;
    for (const auto& [id, event] : events_) names.insert(event.name);
    return names;
  }

  std::vector<std::int64_t> ids(const std::string& name) const {
    std::vector<std::int64_t> found;
    for (const auto& [id, event] : events_) {
      if (event.name == name) found.push_back(id);
    }
    return found;
  }

  std::set<std::string> objects(const std::string& name) const {
    std::set<std::string> objects;
    for (const auto id : ids(name)) objects.insert(events_.at(id).object);
    return objects;
  }

  const Event& only(const std::string& name) const {
    const auto found = ids(name);
    if (found.size() != 1)
      throw std::runtime_error(std::to_string(found.size()) + " spans are called " + name);
    return events_.at(found[0]);
  }

  /// Names of all that belongs to a span.
  std::set<std::string> below(std::int64_t root) const {
    std::set<std::string> names;
    for (const auto& [id, event] : events_) {
      for (auto parent = event.parent; parent != 0; parent = events_.at(parent).parent) {
        if (parent == root) names.insert(event.name);
      }
    }
    return names;
  }

  double sum_of_children(std::int64_t parent) const {
    double sum = 0;
    for (const auto& [id, event] : events_) {
      if (event.parent == parent) sum += event.duration();
    }
    return sum;
  }

 private:
  fs::path file_;
  std::map<std::int64_t, Event> events_;
};

Image six_layers() {
  ImageBuilder builder;
  for (std::uint64_t i = 0; i < 6; ++i) {
    builder.layer({tar::file("noise" + std::to_string(i), tar::noise(2'000'000, i))});
  }
  return builder.build();
}

std::set<std::string> layer_digests(const Image& image) {
  std::set<std::string> digests;
  for (const auto& layer : image.layers) digests.insert(layer.digest);
  return digests;
}

class TraceOfPull : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokens = new TokenServer;
    registry = new Registry({.tokens = tokens});
    containerd = new Containerd({.isolated_content = true});
    image = new Image(six_layers());
    reference = registry->store(*image, "public/app:1");
  }
  static void TearDownTestSuite() {
    delete image;
    delete containerd;
    delete registry;
    delete tokens;
  }

  fs::path file() const { return folder / "trace.json"; }

  /// All that a trace of a pull of the image promises.
  void expect_complete(const Trace& trace) const {
    EXPECT_EQ(trace.problems(), "");
    EXPECT_THAT(trace.overlaps(), IsEmpty());
    EXPECT_THAT(trace.names(), IsSupersetOf({"resolve", "auth", "manifest", "config", "Stat", "Prepare",
                                             "Commit", "wait", "connect", "first byte", "transfer", "inflate",
                                             "extract", "commit", "image record"}));
    expect_layers(trace);
    const auto pull = trace.ids("pull").at(0);
    const double of_pull = trace.events().at(pull).duration();
    EXPECT_NEAR(trace.sum_of_children(pull), of_pull, 0.02 * of_pull);
    for (const auto& [id, event] : trace.events()) EXPECT_FALSE(event.failed) << event.name;
  }

  void expect_layers(const Trace& trace) const {
    const std::set<std::string> chains(image->chain_ids.begin(), image->chain_ids.end());
    EXPECT_EQ(trace.objects("fetch"), layer_digests(*image));
    for (const auto id : trace.ids("fetch")) {
      EXPECT_THAT(trace.below(id),
                  IsSupersetOf({"wait", "first byte", "transfer", "inflate", "extract", "commit"}))
          << trace.events().at(id).object;
    }
    EXPECT_EQ(trace.objects("layer"), chains);
    for (const auto id : trace.ids("layer")) {
      EXPECT_THAT(trace.below(id), IsSupersetOf({"Prepare", "Commit"}));
    }
    EXPECT_EQ(trace.objects("manifest"), std::set<std::string>{image->digest});
    EXPECT_EQ(trace.objects("config"), std::set<std::string>{image->config_digest});
    EXPECT_EQ(trace.objects("image record"), std::set<std::string>{reference});
  }

  /// The spans of the command add up to the time that it takes, less that of a process which does nothing.
  /// Another process that is given the processor meanwhile only makes that longer, so there are three tries.
  void expect_wall_time(const std::function<void(int attempt)>& pull) const {
    double difference = 0;
    double allowed = -1;
    for (int attempt = 0; attempt < 3 && difference > allowed; ++attempt) {
      const double nothing = seconds_of([] { run_ok({LAZYPULL_BINARY, "--version"}); });
      const double seconds = seconds_of([&] { pull(attempt); }) - nothing;
      EXPECT_GT(seconds, 2) << "long enough to compare";
      const Trace trace(file());
      expect_complete(trace);
      const auto command = trace.ids("lazypull pull").at(0);
      difference = std::abs(trace.sum_of_children(command) / 1e6 - seconds);
      allowed = 0.02 * seconds;
    }
    EXPECT_LE(difference, allowed) << "seconds";
  }

  static double seconds_of(const std::function<void()>& action) {
    const auto start = std::chrono::steady_clock::now();
    action();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  static TokenServer* tokens;
  static Registry* registry;
  static Containerd* containerd;
  static Image* image;
  static std::string reference;
  TempDir folder{"trace"};
  StoreLazypull store;
};
TokenServer* TraceOfPull::tokens = nullptr;
Registry* TraceOfPull::registry = nullptr;
Containerd* TraceOfPull::containerd = nullptr;
Image* TraceOfPull::image = nullptr;
std::string TraceOfPull::reference;

/// So that the pull takes some seconds.
constexpr const char* slowly = "4M";

TEST_F(TraceOfPull, IntoTheEmbeddedStoreIsCompleteAndAddsUpToTheWallTime) {
  expect_wall_time([&](int) {
    StoreLazypull fresh;
    fresh.run_ok({"pull", reference, "--trace", file(), "--limit-rate", slowly});
  });
}

TEST_F(TraceOfPull, IntoContainerdIsCompleteAndAddsUpToTheWallTime) {
  expect_wall_time([&](int attempt) {
    Lazypull lazypull(*containerd, "attempt" + std::to_string(attempt));
    lazypull.run_ok({"pull", reference, "--trace", file(), "--limit-rate", slowly});
  });
}

TEST_F(TraceOfPull, ThroughTheDiffServiceHasSpansForItsExtraction) {
  Lazypull(*containerd, "diff").run_ok({"pull", reference, "--trace", file(), "--unpack", "diff-service"});
  const Trace trace(file());
  EXPECT_EQ(trace.problems(), "");
  EXPECT_THAT(trace.overlaps(), IsEmpty());
  EXPECT_EQ(trace.objects("extract"), layer_digests(*image));
}

TEST_F(TraceOfPull, InPartsHasARequestForEachPart) {
  const auto big = registry->store(ImageBuilder().layer({tar::file("big", tar::noise(2'000'000, 9))}).build(),
                                   "public/parts:1");
  store.run_ok({"pull", big, "--trace", file(), "--concurrent-layer-fetch-buffer", "500k"});
  const Trace trace(file());
  EXPECT_EQ(trace.problems(), "");
  EXPECT_THAT(trace.overlaps(), IsEmpty());
  const auto fetch = trace.ids("fetch").at(0);
  std::size_t transfers = 0;
  for (const auto id : trace.ids("transfer")) {
    for (auto parent = id; parent != 0; parent = trace.events().at(parent).parent)
      transfers += parent == fetch;
  }
  EXPECT_GE(transfers, 4U);
}

TEST_F(TraceOfPull, ThatFailsIsWrittenAndSaysWhatFailed) {
  const auto broken = ImageBuilder().layer({tar::file("x", tar::noise(9000, 77))}).build();
  const auto name = registry->store(broken, "public/broken:1");
  fs::remove(registry->blob_file(broken.layers[0].digest));
  const auto outcome = store.run({"pull", name, "--trace", file()});
  EXPECT_NE(outcome.process.exit_code, 0);
  const Trace trace(file());
  EXPECT_EQ(trace.problems(), "");
  EXPECT_TRUE(trace.only("lazypull pull").failed);
  EXPECT_TRUE(trace.only("fetch").failed);
  EXPECT_FALSE(trace.only("manifest").failed);
}

TEST_F(TraceOfPull, ThatIsInterruptedIsWritten) {
  const auto slow = registry->store(
      ImageBuilder().layer({tar::file("slow", tar::noise(4'000'000, 500))}).build(), "public/slow:1");
  auto process =
      Lazypull(*containerd, "stopped").start({"pull", slow, "--trace", file(), "--limit-rate", "500k"});
  wait_until(
      [&] {
        const auto ingests = read_state(*containerd, "overlayfs", "stopped").ingests;
        return !ingests.empty() && ingests.begin()->second.offset > 0;
      },
      "a download");
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(std::chrono::seconds(10)), 130);
  const Trace trace(file());
  EXPECT_EQ(trace.problems(), "");
  EXPECT_THAT(trace.overlaps(), IsEmpty());
  EXPECT_TRUE(trace.only("layers").failed);
}

TEST_F(TraceOfPull, WhoseFileCannotBeWrittenDoesNotBegin) {
  registry->reset_log();
  const auto outcome = store.run({"pull", reference, "--trace", folder / "missing" / "trace.json"});
  EXPECT_NE(outcome.process.exit_code, 0);
  EXPECT_THAT(outcome.error_message(), HasSubstr("trace.json"));
  EXPECT_THAT(registry->requests("lazypull"), IsEmpty());
}

TEST_F(TraceOfPull, OfAPlanAndAFetchNameWhatWasDone) {
  store.run_ok({"plan", reference, "--trace", folder / "plan.json"});
  const Trace plan(folder / "plan.json");
  EXPECT_EQ(plan.problems(), "");
  EXPECT_THAT(plan.names(), IsSupersetOf({"lazypull plan", "plan", "resolve", "metadata", "layers"}));
  EXPECT_THAT(plan.names(), Not(Contains("fetch")));
  store.run_ok({"fetch", reference, "--trace", folder / "fetch.json"});
  const Trace fetch(folder / "fetch.json");
  EXPECT_EQ(fetch.problems(), "");
  EXPECT_EQ(fetch.objects("fetch"), layer_digests(*image));
  EXPECT_THAT(fetch.names(), Not(Contains("Prepare")));
}

TEST_F(TraceOfPull, OfAPrewarmHasAPullForEachImage) {
  const auto other = registry->store(six_layers(), "public/other:1");
  store.run_ok({"prewarm", "--image", reference, "--image", other, "--trace", file()});
  const Trace trace(file());
  EXPECT_EQ(trace.problems(), "");
  EXPECT_THAT(trace.overlaps(), IsEmpty());
  EXPECT_EQ(trace.objects("pull"), (std::set<std::string>{reference, other}));
}

TEST_F(TraceOfPull, IsShownAsAWaterfall) {
  store.run_ok({"pull", reference, "--trace", file()});
  const auto shown = run({LAZYPULL_BINARY, "trace", "show", file()}, {.env = {{"COLUMNS", "90"}}});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("lazypull pull " + reference));
  EXPECT_THAT(shown.out, HasSubstr(image->layers[5].digest.substr(7, 12)));
  EXPECT_THAT(shown.out, HasSubstr("\n*"));
  EXPECT_THAT(shown.out, Not(HasSubstr("\x1b")));
  std::istringstream lines(shown.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 90U);
  const auto path = run({LAZYPULL_BINARY, "trace", "show", "--critical-path", file()});
  EXPECT_THAT(path.out, HasSubstr("image record"));
  EXPECT_LT(path.out.size(), shown.out.size());
}

TEST_F(TraceOfPull, WhatIsNoTraceIsNotShown) {
  std::ofstream(file()) << "{}";
  const auto shown = run({LAZYPULL_BINARY, "trace", "show", file()});
  EXPECT_EQ(shown.exit_code, 6);
  EXPECT_THAT(shown.err, HasSubstr("has no traceEvents"));
  EXPECT_EQ(run({LAZYPULL_BINARY, "trace", "show", folder / "missing"}).exit_code, 3);
}

class TraceToCollector : public TraceOfPull {
 protected:
  ProcessOptions environment(std::map<std::string, std::string> more = {}) const {
    ProcessOptions options;
    options.env = std::move(more);
    options.env.emplace("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    return options;
  }

  ScriptedServer collector;
};

TEST_F(TraceToCollector, SendsTheSpansThatTheFileHas) {
  collector.on("POST /v1/traces", ScriptedResponse(200, "{}"));
  store.run_ok({"pull", reference, "--trace", file()},
               environment({{"OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=some%20one"},
                            {"OTEL_SERVICE_NAME", "puller"},
                            {"OTEL_RESOURCE_ATTRIBUTES", "host.name=node1"},
                            {"TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}));
  const auto requests = collector.requests("POST /v1/traces");
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_EQ(requests[0].header("Content-Type"), "application/json");
  EXPECT_EQ(requests[0].header("X-Tenant"), "some one");
  const auto document = json::parse(requests[0].body);
  const auto& resource = document.at("resourceSpans").at(0);
  std::map<std::string, std::string> attributes;
  for (const auto& attribute : resource.at("resource").at("attributes").as_array()) {
    attributes.emplace(attribute.at("key").as_string(), attribute.at("value").at("stringValue").as_string());
  }
  EXPECT_EQ(attributes,
            (std::map<std::string, std::string>{{"service.name", "puller"}, {"host.name", "node1"}}));
  std::multiset<std::string> sent;
  std::set<std::string> ids{"b7ad6b7169203331"};
  const auto& spans = resource.at("scopeSpans").at(0).at("spans").as_array();
  for (const auto& span : spans) ids.emplace(span.at("spanId").as_string());
  for (const auto& span : spans) {
    sent.emplace(span.at("name").as_string());
    EXPECT_EQ(span.at("traceId"), "0af7651916cd43dd8448eb211c80319c");
    EXPECT_THAT(ids, Contains(std::string(span.at("parentSpanId").as_string())));
  }
  std::multiset<std::string> written;
  const Trace trace(file());
  for (const auto& [id, event] : trace.events()) written.insert(event.name);
  EXPECT_EQ(sent, written);
  EXPECT_EQ(json::parse(read_file(file())).at("otherData").at("traceId"), "0af7651916cd43dd8448eb211c80319c");
}

TEST_F(TraceToCollector, AlsoSendsTheSpansOfAFailedPull) {
  collector.on("POST /v1/traces", ScriptedResponse(200, "{}"));
  EXPECT_EQ(store.run({"pull", registry->reference("public/none:1")}, environment()).process.exit_code, 3);
  ASSERT_THAT(collector.requests("POST /v1/traces"), SizeIs(1));
  EXPECT_THAT(collector.requests("POST /v1/traces")[0].body, HasSubstr(R"("status":{"code":2})"));
}

TEST_F(TraceToCollector, ThatNeverAnswersIsAWarningAfterAShortWhile) {
  ScriptedResponse silence;
  silence.stall = true;
  collector.on("POST /v1/traces", silence);
  const auto start = std::chrono::steady_clock::now();
  const auto outcome =
      store.run_ok({"pull", reference, "--debug"},
                   environment({{"OTEL_EXPORTER_OTLP_TIMEOUT", "300"},
                                {"OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20top-secret"}}));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_THAT(outcome.process.err, HasSubstr("the trace was not sent"));
  EXPECT_THAT(outcome.process.err, Not(HasSubstr("top-secret")));
}

TEST_F(TraceToCollector, ThatRefusesIsAWarning) {
  collector.on("POST /v1/traces", ScriptedResponse(403, "no"));
  const auto outcome = store.run_ok({"pull", reference}, environment());
  EXPECT_THAT(outcome.process.err, HasSubstr("403 Forbidden"));
}

TEST_F(TraceToCollector, IsNotAskedWhereTracingIsSwitchedOff) {
  store.run_ok({"pull", reference}, environment({{"OTEL_TRACES_EXPORTER", "none"}}));
  store.run_ok({"pull", reference}, environment({{"OTEL_SDK_DISABLED", "true"}}));
  EXPECT_THAT(collector.requests(), IsEmpty());
}

}  // namespace
}  // namespace lazypull::test
