#include "tools/trace_otlp.hpp"

#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/scripted_server.hpp"
#include "tools/trace_session.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr std::string_view parent_text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

class OtlpEnvironment : public ::testing::Test {
 protected:
  OtlpSettings read() {
    const Environment environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      if (found == variables.end()) return std::nullopt;
      return found->second;
    };
    return otlp_settings(environment, [this](const std::string& text) { warnings.push_back(text); });
  }

  std::map<std::string, std::string> variables{
      {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example.com:4318"}};
  std::vector<std::string> warnings;
};

TEST_F(OtlpEnvironment, WithoutAnEndpointNothingIsSent) {
  variables.clear();
  variables["OTEL_SERVICE_NAME"] = "service";
  EXPECT_FALSE(read().target);
}

TEST_F(OtlpEnvironment, TheEndpointOfAllSignalsGetsThePathOfTraces) {
  EXPECT_EQ(read().target->url.str(), "http://collector.example.com:4318/v1/traces");
  variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = "https://collector.example.com/otlp/";
  EXPECT_EQ(read().target->url.str(), "https://collector.example.com/otlp/v1/traces");
}

TEST_F(OtlpEnvironment, TheEndpointOfTracesIsTakenAsItIs) {
  variables["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://traces.example.com/custom";
  EXPECT_EQ(read().target->url.str(), "http://traces.example.com/custom");
}

TEST_F(OtlpEnvironment, CanBeSwitchedOff) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"OTEL_SDK_DISABLED", "TRUE"},
                                                        {"OTEL_TRACES_EXPORTER", "none"},
                                                        {"OTEL_TRACES_EXPORTER", "console"}}) {
    auto saved = variables;
    variables[name] = value;
    EXPECT_FALSE(read().target) << name << "=" << value;
    variables = std::move(saved);
  }
  variables["OTEL_TRACES_EXPORTER"] = "console, otlp";
  variables["OTEL_SDK_DISABLED"] = "no";
  EXPECT_TRUE(read().target);
}

TEST_F(OtlpEnvironment, HeadersArePercentDecoded) {
  variables["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer%20a%2Cb, x-tenant = 7 ,";
  const auto settings = read();
  EXPECT_EQ(settings.target->headers.find("authorization"), "Bearer a,b");
  EXPECT_EQ(settings.target->headers.find("x-tenant"), "7");
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(OtlpEnvironment, ABrokenHeaderIsLeftOutAndItsValueNotTold) {
  variables["OTEL_EXPORTER_OTLP_HEADERS"] = "a=1,secret1,b b=secret2,c=%2secret3,d=x%0d%0ae:secret4";
  const auto settings = read();
  EXPECT_EQ(std::distance(settings.target->headers.begin(), settings.target->headers.end()), 1);
  EXPECT_THAT(warnings, SizeIs(4));
  for (const auto& warning : warnings) EXPECT_THAT(warning, Not(HasSubstr("secret")));
}

TEST_F(OtlpEnvironment, TheResourceSaysWhoItIs) {
  EXPECT_EQ(read().resource.at("service.name"), "lazypull");
  variables["OTEL_RESOURCE_ATTRIBUTES"] = "service.name=from-attributes,host.name=node%201";
  EXPECT_EQ(read().resource.at("service.name"), "from-attributes");
  EXPECT_EQ(read().resource.at("host.name"), "node 1");
  variables["OTEL_SERVICE_NAME"] = "from-name";
  EXPECT_EQ(read().resource.at("service.name"), "from-name");
}

TEST_F(OtlpEnvironment, TheDeadlineIsShortAndBounded) {
  EXPECT_EQ(read().target->timeout, 2s);
  variables["OTEL_EXPORTER_OTLP_TIMEOUT"] = "500";
  EXPECT_EQ(read().target->timeout, 500ms);
  variables["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] = "999999999";
  EXPECT_EQ(read().target->timeout, 10s);
  variables["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] = "soon";
  EXPECT_EQ(read().target->timeout, 2s);
  EXPECT_THAT(warnings, SizeIs(1));
}

TEST_F(OtlpEnvironment, AnUnusableEndpointIsAWarningWithoutItsSecrets) {
  variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = "ftp://user:password@collector.example.com/?key=secret";
  EXPECT_FALSE(read().target);
  ASSERT_THAT(warnings, SizeIs(1));
  EXPECT_THAT(warnings[0], HasSubstr("OTEL_EXPORTER_OTLP_ENDPOINT"));
  EXPECT_THAT(warnings[0], Not(HasSubstr("password")));
  EXPECT_THAT(warnings[0], Not(HasSubstr("secret")));
}

TEST_F(OtlpEnvironment, ATraceThatIsNotSampledIsNotSent) {
  variables["TRACEPARENT"] = std::string(parent_text);
  EXPECT_EQ(read().parent->trace_id, "0af7651916cd43dd8448eb211c80319c");
  variables["TRACEPARENT"].back() = '0';
  EXPECT_FALSE(read().target);
  variables["TRACEPARENT"] = "nonsense";
  EXPECT_TRUE(read().target);
  EXPECT_THAT(warnings, SizeIs(1));
}

TEST(TraceParents, AreThoseOfW3cTraceContext) {
  const auto parent = parse_trace_parent(parent_text);
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->span_id, "b7ad6b7169203331");
  EXPECT_TRUE(parent->sampled);
  std::string later(parent_text);
  later[1] = '1';
  EXPECT_TRUE(parse_trace_parent(later + "-more"));
  const std::string zeros(16, '0');
  for (const std::string& bad : std::vector<std::string>{
           "", std::string(parent_text) + "-more", "ff" + std::string(parent_text.substr(2)),
           "00-" + zeros + zeros + "-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-" + zeros + "-01",
           "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
           std::string(parent_text.substr(1)) + "0"}) {
    EXPECT_FALSE(parse_trace_parent(bad)) << bad;
  }
}

TEST(OtlpIdsOfATrace, AreRandomDistinctAndNeverZero) {
  const auto ids = make_otlp_ids(std::nullopt);
  EXPECT_EQ(ids.trace_id.size(), 32U);
  EXPECT_NE(ids.trace_id, make_otlp_ids(std::nullopt).trace_id);
  std::set<std::string> seen;
  for (SpanId id = 1; id < 100; ++id) seen.insert(ids.span_id(id));
  EXPECT_THAT(seen, SizeIs(99));
  EXPECT_EQ((OtlpIds{"", 5}.span_id(5)), "fffffffffffffffa");
  EXPECT_EQ(make_otlp_ids(parse_trace_parent(parent_text)).trace_id, "0af7651916cd43dd8448eb211c80319c");
}

/// A tracer with a failed request in a pull.
class OtlpExport : public ::testing::Test {
 protected:
  OtlpExport() {
    const Span pull(tracer.root(), "pull", "pull", "registry.example.com/app:1");
    Span request(pull.point(), "connect", "registry", "registry.example.com");
    request.argument("bytes", std::uint64_t{1} << 60U);
    request.argument("why", "refused");
    request.failed();
  }

  boost::json::value encoded() const {
    return boost::json::parse(otlp_json(tracer.ended(), tracer, settings, ids, "0.1.0"));
  }

  Tracer tracer{TraceMode::recording};
  OtlpSettings settings;
  OtlpIds ids{std::string(32, 'a'), 0x1000};
};

TEST_F(OtlpExport, IsAnExportTraceServiceRequestInJson) {
  settings.resource = {{"service.name", "lazypull"}};
  const auto document = encoded();
  const auto& resource = document.at("resourceSpans").at(0);
  EXPECT_EQ(resource.at("resource").at("attributes").at(0).at("key"), "service.name");
  EXPECT_EQ(resource.at("resource").at("attributes").at(0).at("value").at("stringValue"), "lazypull");
  const auto& scope = resource.at("scopeSpans").at(0);
  EXPECT_EQ(scope.at("scope").at("name"), "lazypull");
  ASSERT_THAT(scope.at("spans").as_array(), SizeIs(2));
  const auto& connect = scope.at("spans").at(0).as_object();
  const auto& pull = scope.at("spans").at(1).as_object();
  EXPECT_EQ(connect.at("traceId").as_string(), std::string(32, 'a'));
  EXPECT_EQ(connect.at("parentSpanId"), pull.at("spanId"));
  EXPECT_FALSE(pull.contains("parentSpanId"));
  EXPECT_EQ(connect.at("kind"), 3) << "a client's";
  EXPECT_EQ(pull.at("kind"), 1);
  EXPECT_EQ(connect.at("status").at("code"), 2);
  EXPECT_FALSE(pull.contains("status"));
  const auto& attributes = connect.at("attributes").as_array();
  EXPECT_EQ(attributes.at(1).at("value").at("stringValue"), "registry.example.com");
  EXPECT_EQ(attributes.at(2).at("key"), "lazypull.bytes");
  EXPECT_EQ(attributes.at(2).at("value").at("intValue"), "1152921504606846976")
      << "a string, as protobuf's JSON has it";
}

TEST_F(OtlpExport, TimesAreNanosecondsOfTheDay) {
  const auto document = encoded();
  const auto& pull = document.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").at(1);
  const auto start = std::stoll(std::string(pull.at("startTimeUnixNano").as_string()));
  const auto end = std::stoll(std::string(pull.at("endTimeUnixNano").as_string()));
  EXPECT_EQ(end - start, (tracer.ended()[1].end - tracer.ended()[1].start).count());
  const auto at = std::chrono::nanoseconds(tracer.started_at().time_since_epoch()).count();
  EXPECT_GE(start, at);
  EXPECT_LT(start, at + std::chrono::nanoseconds(1h).count());
}

TEST_F(OtlpExport, TheRootIsAChildOfTheGivenParent) {
  settings.parent = parse_trace_parent(parent_text);
  const auto document = encoded();
  EXPECT_EQ(document.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").at(1).at("parentSpanId"),
            "b7ad6b7169203331");
}

class OtlpSending : public OtlpExport {
 protected:
  std::string failure_of_sending() {
    asio::io_context home(1);
    try {
      test::run_on(home, send_spans(home.get_executor(), tracer, settings, ids,
                                    [this](const std::string& text) { warnings.push_back(text); }));
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  }

  void aim() {
    settings.target.emplace(Url::parse(server.url() + "/v1/traces?key=secret"));
    settings.target->headers.add("X-Token", "secret");
  }

  test::ScriptedServer server;
  std::vector<std::string> warnings;
};

TEST_F(OtlpSending, PostsJsonWithTheHeaders) {
  server.on("POST /v1/traces", test::ScriptedResponse(200, "{}"));
  aim();
  EXPECT_EQ(failure_of_sending(), "");
  const auto requests = server.requests("POST /v1/traces");
  ASSERT_THAT(requests, SizeIs(1));
  EXPECT_EQ(requests[0].header("Content-Type"), "application/json");
  EXPECT_EQ(requests[0].header("X-Token"), "secret");
  EXPECT_EQ(boost::json::parse(requests[0].body), encoded());
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(OtlpSending, ManySpansAreSentInParts) {
  for (int i = 0; i < 4500; ++i) const Span span(tracer.root(), "more", "layer");
  server.on("POST /v1/traces", test::ScriptedResponse(200, "{}"));
  aim();
  EXPECT_EQ(failure_of_sending(), "");
  std::size_t count = 0;
  for (const auto& request : server.requests("POST /v1/traces")) {
    const auto document = boost::json::parse(request.body);
    count += document.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").as_array().size();
  }
  EXPECT_EQ(count, 4502U);
  EXPECT_THAT(server.requests("POST /v1/traces"), SizeIs(2));
}

TEST_F(OtlpSending, ARefusalIsToldWithoutSecrets) {
  server.on("POST /v1/traces", test::ScriptedResponse(401, "no"));
  aim();
  const auto failure = failure_of_sending();
  EXPECT_THAT(failure, HasSubstr("401 Unauthorized"));
  EXPECT_THAT(failure, Not(HasSubstr("secret")));
}

TEST_F(OtlpSending, SpansThatTheCollectorHasNotTakenAreAWarning) {
  server.on("POST /v1/traces", test::ScriptedResponse(200, R"({"partialSuccess":{"rejectedSpans":"2"}})"));
  aim();
  EXPECT_EQ(failure_of_sending(), "");
  EXPECT_THAT(warnings, ElementsAre("the collector has not taken 2 spans"));
}

TEST(OtlpResponses, AreReadHoweverBrokenTheyAre) {
  EXPECT_EQ(rejected_spans(R"({"partialSuccess":{"rejectedSpans":3}})"), 3U);
  for (const auto* text :
       {"", "{", "[]", "{}", R"({"partialSuccess":null})", R"({"partialSuccess":{}})",
        R"({"partialSuccess":{"rejectedSpans":-1}})", R"({"partialSuccess":{"rejectedSpans":"x"}})"}) {
    EXPECT_EQ(rejected_spans(text), 0U) << text;
  }
}

}  // namespace
}  // namespace lazypull
