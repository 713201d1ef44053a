#pragma once

#include "engine/awaitable.hpp"
#include "engine/trace.hpp"
#include "tools/options.hpp"
#include "tools/trace_otlp.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace lazypull {

/// Traces a command, if `--trace` or the variables of OpenTelemetry say so, and brings the trace where it is
/// wanted when the command has ended, however that was. Must outlive the home thread's context.
class TraceSession {
 public:
  /// Sets `options.trace` while the command runs; `options` must outlive it. Nothing else is done before
  /// `record`.
  explicit TraceSession(Options& options);
  TraceSession(const TraceSession&) = delete;
  TraceSession& operator=(const TraceSession&) = delete;

  /// Runs the command, and throws what it throws; and before it, Error{invalid_argument} or {not_found} for a
  /// file that cannot be written. Whatever goes wrong after it is a warning on standard error.
  Awaitable<> record(Awaitable<> command);

 private:
  Awaitable<> record_and_deliver(Awaitable<> command);
  Awaitable<std::exception_ptr> run(Awaitable<> command);
  void write_file() const;
  Awaitable<> send();

  Options& options_;
  OtlpSettings otlp_;
  OtlpIds ids_;
  std::optional<Tracer> tracer_;
};

/// POSTs spans to a collector, so many at a time. Throws Error.
Awaitable<> send_spans(asio::any_io_executor home, const Tracer& tracer, const OtlpSettings& settings,
                       const OtlpIds& ids, std::function<void(const std::string&)> warn);

}  // namespace lazypull
