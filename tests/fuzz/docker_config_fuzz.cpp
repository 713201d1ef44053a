#include "engine/error.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "transport/credential_helper.hpp"
#include "transport/docker_config.hpp"

namespace lazypull::fuzz {

void fuzz_docker_config(Bytes input) {
  const auto text = text_of(input);
  try {
    const auto config = DockerConfig::parse(text, "/root/.docker/config.json");
    for (const std::string_view domain : {"docker.io", "registry.example.com", "localhost:5000"}) {
      for (const std::string_view repository : {"library/alpine", "team/app", "a"}) {
        const auto found = config.find(domain, repository);
        require(!found || !found->empty(), "what is found is something");
      }
      config.helper(domain);
    }
    require(config.find("docker.io", "a") == config.find("index.docker.io", "a"), "Docker Hub has two names");
    require(config.helper("docker.io") == config.helper("index.docker.io"), "for helpers too");
  } catch (const Error& error) {
    require(error.code() == Errc::invalid_argument, "refused as an argument", error.message());
    require(error.message().starts_with("/root/.docker/config.json: ") && error.message().size() < 100,
            "the message says which file and quotes nothing of it", error.message());
  }
  try {
    parse_helper_answer(text);
  } catch (const Error& error) {
    require(error.code() == Errc::bad_response && error.message().size() < 200, "the answer is not quoted",
            error.message());
  }
}

}  // namespace lazypull::fuzz
