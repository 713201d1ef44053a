#include "tests/integration/support/lazypull.hpp"

#include <boost/json/parse.hpp>

#include <stdexcept>

namespace lazypull::test {

std::vector<std::string> PullOutcome::decisions(std::size_t image) const {
  std::vector<std::string> result;
  const auto& layers = json.at("images").as_array().at(image).at("layers").as_array();
  for (const auto& layer : layers) result.emplace_back(layer.at("decision").as_string());
  return result;
}

std::int64_t PullOutcome::total(std::string_view name) const {
  return json.at("totals").at(name).to_number<std::int64_t>();
}

std::string PullOutcome::error_code() const {
  const auto* error = json.as_object().if_contains("error");
  return error == nullptr ? std::string() : std::string(error->at("code").as_string());
}

std::string PullOutcome::error_message() const {
  return std::string(json.at("error").at("message").as_string());
}

Argv Lazypull::command_line(Argv arguments) const {
  Argv argv{LAZYPULL_BINARY, "--address", containerd_.socket(), "--namespace", space_};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.insert(argv.end(), {"--output", "json"});
  return argv;
}

PullOutcome Lazypull::run(Argv arguments, ProcessOptions options) {
  // Whoever runs the tests may have credentials; they are none of the tests' business.
  options.env.emplace("DOCKER_CONFIG", "/nonexistent");
  options.env.emplace("HOME", "/nonexistent");
  options.env.emplace("REGISTRY_AUTH_FILE", "");
  options.env.emplace("XDG_RUNTIME_DIR", "");
  PullOutcome outcome;
  outcome.process = test::run(command_line(std::move(arguments)), std::move(options));
  boost::system::error_code error;
  outcome.json = boost::json::parse(outcome.process.out, error);
  if (error) {
    throw std::runtime_error("standard output is not one JSON value, exit code " +
                             std::to_string(outcome.process.exit_code) + ":\n" + outcome.process.out +
                             outcome.process.err);
  }
  return outcome;
}

PullOutcome Lazypull::run_ok(Argv arguments, ProcessOptions options) {
  auto outcome = run(std::move(arguments), std::move(options));
  if (outcome.process.exit_code != 0) {
    throw std::runtime_error("lazypull exited with " + std::to_string(outcome.process.exit_code) + ": " +
                             outcome.process.err);
  }
  return outcome;
}

Process Lazypull::start(Argv arguments, ProcessOptions options) {
  return Process(command_line(std::move(arguments)), std::move(options));
}

}  // namespace lazypull::test
