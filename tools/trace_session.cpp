#include "tools/trace_session.hpp"

#include "engine/deadline.hpp"
#include "tools/text.hpp"
#include "tools/trace_file.hpp"
#include "transport/http_client.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>

namespace lazypull {
namespace {

constexpr std::size_t spans_of_a_request = 4000;
constexpr std::size_t max_response_bytes = 64U << 10U;
// What is left of the second in which a command that was stopped must end.
constexpr std::chrono::milliseconds timeout_when_stopped{200};

void warn(const std::string& message) {
  std::fputs(("lazypull: " + printable(message) + "\n").c_str(), stderr);
}

const char* command_name(Command command) {
  switch (command) {
    case Command::fetch:
      return "lazypull fetch";
    case Command::plan:
      return "lazypull plan";
    case Command::prewarm:
      return "lazypull prewarm";
    default:
      return "lazypull pull";
  }
}

std::string object_of(const Options& options) {
  return options.command == Command::prewarm ? std::string() : options.reference.name();
}

bool was_cancelled(const std::exception_ptr& failure) {
  return failure && as_error(failure).code() == Errc::cancelled;
}

HttpOptions http_options(const OtlpTarget& target) {
  HttpOptions http;
  http.tls = target.tls;
  http.connect_timeout = target.timeout;
  http.response_timeout = target.timeout;
  http.progress_timeout = target.timeout;
  http.user_agent = "lazypull/" LAZYPULL_VERSION;
  http.proxies = ProxyRules::from_environment(process_environment());
  return http;
}

}  // namespace

TraceSession::TraceSession(Options& options)
    : options_(options),
      otlp_(otlp_settings(process_environment(), warn)),
      ids_(make_otlp_ids(otlp_.parent)) {
  if (!options.trace_file.empty() || otlp_.target) tracer_.emplace(TraceMode::recording);
}

Awaitable<> TraceSession::record(Awaitable<> command) {
  if (!tracer_) return command;
  return record_and_deliver(std::move(command));
}

Awaitable<> TraceSession::record_and_deliver(Awaitable<> command) {
  if (!options_.trace_file.empty()) require_writable(options_.trace_file);
  const auto failure = co_await run(std::move(command));
  write_file();
  if (otlp_.target) {
    if (was_cancelled(failure)) otlp_.target->timeout = std::min(otlp_.target->timeout, timeout_when_stopped);
    auto sending = send();
    const auto limit = otlp_.target->timeout;
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto unsent = co_await run_cleanup(std::move(sending), limit, "send spans to the collector");
    if (unsent) warn("the trace was not sent: " + as_error(unsent).message());
  }
  if (failure) std::rethrow_exception(failure);
}

Awaitable<std::exception_ptr> TraceSession::run(Awaitable<> command) {
  Span span(tracer_->root(), command_name(options_.command), "command", object_of(options_));
  options_.trace = span.point();
  std::exception_ptr failure;
  try {
    co_await std::move(command);
  } catch (...) {
    failure = std::current_exception();
    span.failed();
  }
  options_.trace = {};
  co_return failure;
}

void TraceSession::write_file() const {
  if (options_.trace_file.empty()) return;
  const TraceHead head{std::string(command_name(options_.command)) + " " + object_of(options_),
                       "lazypull " LAZYPULL_VERSION, ids_.trace_id};
  try {
    write_trace(options_.trace_file, trace_events_json(*tracer_, head));
  } catch (const std::exception&) {
    warn("the trace was not written: " + as_error(std::current_exception()).message());
  }
}

Awaitable<> TraceSession::send() {
  const auto home = co_await asio::this_coro::executor;
  co_await send_spans(home, *tracer_, otlp_, ids_, warn);
}

Awaitable<> send_spans(asio::any_io_executor home, const Tracer& tracer, const OtlpSettings& settings,
                       const OtlpIds& ids, std::function<void(const std::string&)> warn) {
  const auto& target = *settings.target;
  HttpClient client(std::move(home), http_options(target));
  std::span<const SpanRecord> left = tracer.ended();
  while (!left.empty()) {
    const auto some = left.first(std::min(left.size(), spans_of_a_request));
    left = left.subspan(some.size());
    HttpRequest request("POST", target.url);
    request.fields.add("Content-Type", "application/json");
    for (const auto& [name, value] : target.headers) request.fields.add(name, value);
    request.body = otlp_json(some, tracer, settings, ids, LAZYPULL_VERSION);
    const auto response = co_await client.send(std::move(request));
    const auto body = co_await response->read_what_is_there(max_response_bytes);
    const int status = response->status();
    if (status < 200 || status >= 300) {
      throw Error(Errc::server_error, response->what() + ": " + response->head().status_line());
    }
    const auto rejected = rejected_spans(body);
    if (rejected > 0) warn("the collector has not taken " + format_count(rejected, "span"));
  }
}

}  // namespace lazypull
