// Docker's config file is read as by go-containerregistry, regclient, Docker and containerd.
#include "engine/error.hpp"
#include "tests/data/peer_table.hpp"
#include "transport/docker_config.hpp"

namespace lazypull {
namespace {

using test::flag_at;
using test::text_at;

TEST(PeerTables, DockersConfigIsReadAsByThePeers) {
  const std::vector<std::string> tables{"docker-config-go-containerregistry", "docker-config-regclient",
                                        "docker-config-docker", "docker-config-containerd"};
  test::for_each_row(tables, 49, [](const auto& row) {
    const auto text = text_at(row, "config");
    if (flag_at(row, "refused")) {
      EXPECT_THROW(DockerConfig::parse(text, "config.json"), Error);
      return;
    }
    const auto config = DockerConfig::parse(text, "config.json");
    const auto domain = text_at(row, "domain");
    const auto found = config.find(domain, text_at(row, "repository")).value_or(Credentials());
    EXPECT_EQ(found.username, text_at(row, "username"));
    EXPECT_EQ(found.password, text_at(row, "password"));
    EXPECT_EQ(config.helper(domain), text_at(row, "helper"));
  });
}

}  // namespace
}  // namespace lazypull
