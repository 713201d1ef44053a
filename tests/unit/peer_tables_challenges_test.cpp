// WWW-Authenticate is understood as by regclient, go-containerregistry, distribution and containerd.
#include "tests/data/peer_table.hpp"
#include "transport/challenge.hpp"

namespace lazypull {
namespace {

using test::text_at;

TEST(PeerTables, ChallengesAreReadAsByThePeers) {
  const std::vector<std::string> tables{"challenge-regclient", "challenge-go-containerregistry",
                                        "challenge-containerd"};
  test::for_each_row(tables, 26, [](const auto& row) {
    std::vector<std::string> headers;
    for (const auto& header : row.at("headers").as_array()) headers.emplace_back(header.as_string().c_str());
    const auto challenges = parse_challenges({headers.begin(), headers.end()});
    const auto& expected = row.at("challenges").as_array();
    ASSERT_EQ(challenges.size(), expected.size());
    for (std::size_t i = 0; i < challenges.size(); ++i) {
      EXPECT_EQ(challenges[i].scheme, text_at(expected[i].as_object(), "scheme"));
      EXPECT_EQ(challenges[i].token68, "");
      const auto& parameters = expected[i].at("parameters").as_object();
      EXPECT_EQ(challenges[i].parameters.size(), parameters.size());
      for (const auto& [name, value] : parameters) {
        EXPECT_EQ(challenges[i].parameter({name.data(), name.size()}), value.as_string().c_str());
      }
    }
  });
}

}  // namespace
}  // namespace lazypull
