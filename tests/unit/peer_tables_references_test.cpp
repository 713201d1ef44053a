// References agree with the tests of distribution/reference, go-containerregistry, regclient and containerd.
#include "engine/error.hpp"
#include "engine/reference.hpp"
#include "tests/data/peer_table.hpp"

namespace lazypull {
namespace {

using test::flag_at;
using test::text_at;

TEST(PeerTables, ReferencesAreReadAsByThePeers) {
  const std::vector<std::string> tables{"reference-parse", "reference-grammar",   "reference-normalize",
                                        "reference-names", "reference-regclient", "reference-containerd"};
  test::for_each_row(tables, 409, [](const auto& row) {
    const auto input = text_at(row, "input");
    if (flag_at(row, "refused")) {
      EXPECT_THROW(Reference::parse(input), Error);
      return;
    }
    const auto reference = Reference::parse(input);
    EXPECT_EQ(reference.domain(), text_at(row, "domain"));
    EXPECT_EQ(reference.repository(), text_at(row, "repository"));
    EXPECT_EQ(reference.tag().value_or(""), text_at(row, "tag"));
    EXPECT_EQ(reference.digest().value_or(Digest()).str(), text_at(row, "digest"));
    EXPECT_EQ(Reference::parse(reference.name()), reference);
  });
}

TEST(PeerTables, PlainHttpIsTriedWhereThePeersTryIt) {
  test::for_each_row({"registry-scheme"}, 14, [](const auto& row) {
    EXPECT_EQ(is_loopback_host(text_at(row, "host")), flag_at(row, "loopback"));
  });
}

}  // namespace
}  // namespace lazypull
