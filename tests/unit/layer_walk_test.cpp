#include "engine/layer_walk.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

namespace lazypull {
namespace {

using enum WalkAction;
using A = WalkAnswer;

/// Feeds the answers in order and returns all actions, the first one (to `begin`) included.
template <class Walk>
std::vector<WalkAction> actions(std::initializer_list<WalkAnswer> answers) {
  Walk walk;
  std::vector<WalkAction> result{walk.next(A::begin)};
  for (const auto answer : answers) result.push_back(walk.next(answer));
  return result;
}

using Actions = std::vector<WalkAction>;

TEST(TodaysWalk, FillsAndCommitsWhatTheSnapshotterDeclines) {
  EXPECT_EQ(actions<LayerWalk>({A::prepared, A::done, A::done}), (Actions{prepare, fill, commit, filled}));
}

TEST(TodaysWalk, SkipsALayerThatIsSaidToExistAndIsFound) {
  EXPECT_EQ(actions<LayerWalk>({A::already_exists, A::found_plain}), (Actions{prepare, stat_chain, skip}));
  EXPECT_EQ(actions<LayerWalk>({A::already_exists, A::found_remote}), (Actions{prepare, stat_chain, skip}));
}

TEST(TodaysWalk, AsksAgainWhileAnotherClientHoldsTheTargetAndThenGivesUp) {
  EXPECT_EQ(actions<LayerWalk>({A::already_exists, A::not_found, A::prepared}),
            (Actions{prepare, stat_chain, prepare, fill}));
  EXPECT_EQ(actions<LayerWalk>({A::already_exists, A::not_found, A::already_exists, A::not_found,
                                A::already_exists, A::not_found}),
            (Actions{prepare, stat_chain, prepare, stat_chain, prepare, stat_chain, fail}));
}

TEST(TodaysWalk, CommitsAStagedSnapshotWithoutFillingIt) {
  EXPECT_EQ(actions<LayerWalk>({A::staged, A::done}), (Actions{prepare, commit, skip}));
}

TEST(TodaysWalk, TakesALostRaceAtCommitForSuccessAndRemovesItsOwnKey) {
  EXPECT_EQ(actions<LayerWalk>({A::prepared, A::done, A::already_exists, A::done}),
            (Actions{prepare, fill, commit, remove_key, filled}));
  EXPECT_EQ(actions<LayerWalk>({A::staged, A::already_exists, A::done}),
            (Actions{prepare, commit, remove_key, skip}));
}

TEST(TodaysWalk, DropsItsKeyForASnapshotThatSomebodyElseHasMadeMeanwhile) {
  EXPECT_EQ(actions<LayerWalk>({A::prepared, A::already_exists, A::done}),
            (Actions{prepare, fill, remove_key, skip}));
}

TEST(TodaysWalk, RemovesItsKeyOnEveryFailure) {
  EXPECT_EQ(actions<LayerWalk>({A::failed, A::done}), (Actions{prepare, remove_key, fail}));
  EXPECT_EQ(actions<LayerWalk>({A::prepared, A::failed, A::done}),
            (Actions{prepare, fill, remove_key, fail}));
  EXPECT_EQ(actions<LayerWalk>({A::prepared, A::done, A::failed, A::done}),
            (Actions{prepare, fill, commit, remove_key, fail}));
}

TEST(TodaysWalk, FailsWithoutAKeyWhenStatFails) {
  EXPECT_EQ(actions<LayerWalk>({A::already_exists, A::failed}), (Actions{prepare, stat_chain, fail}));
}

TEST(TodaysWalk, LeavesAKeyThatCannotBeRemovedToTheCollector) {
  EXPECT_EQ(actions<LayerWalk>({A::prepared, A::done, A::already_exists, A::failed}),
            (Actions{prepare, fill, commit, remove_key, filled}));
}

TEST(Walk2019, SkipsASnapshotThatCarriesTheLabel) {
  EXPECT_EQ(actions<LayerWalk2019>({A::found_remote}), (Actions{stat_chain, skip}));
}

TEST(Walk2019, TakesASnapshotWithoutTheLabelForALocalOneAndSoForNecessary) {
  EXPECT_EQ(actions<LayerWalk2019>({A::found_plain}), (Actions{stat_chain, necessary}));
}

TEST(Walk2019, PreparesStatsAndCommitsWhatTheSnapshotterMarks) {
  EXPECT_EQ(actions<LayerWalk2019>({A::not_found, A::prepared, A::found_remote, A::done}),
            (Actions{stat_chain, prepare, stat_key, commit, skip}));
}

TEST(Walk2019, GoesOnToPrepareWhenStatFails) {
  EXPECT_EQ(actions<LayerWalk2019>({A::failed, A::prepared}), (Actions{stat_chain, prepare, stat_key}));
}

TEST(Walk2019, IsNecessaryWhenPrepareFails) {
  EXPECT_EQ(actions<LayerWalk2019>({A::not_found, A::failed, A::done}),
            (Actions{stat_chain, prepare, remove_key, necessary}));
  EXPECT_EQ(actions<LayerWalk2019>({A::not_found, A::already_exists, A::done}),
            (Actions{stat_chain, prepare, remove_key, necessary}));
}

TEST(Walk2019, RemovesTheKeyWhenTheLabelIsMissing) {
  for (const auto answer : {A::found_plain, A::not_found, A::failed}) {
    EXPECT_EQ(actions<LayerWalk2019>({A::not_found, A::prepared, answer, A::done}),
              (Actions{stat_chain, prepare, stat_key, remove_key, necessary}));
  }
}

TEST(Walk2019, RemovesTheKeyWhenCommitFails) {
  EXPECT_EQ(actions<LayerWalk2019>({A::not_found, A::prepared, A::found_remote, A::failed, A::done}),
            (Actions{stat_chain, prepare, stat_key, commit, remove_key, necessary}));
}

TEST(Walk2019, TakesALostRaceAtCommitForSuccess) {
  EXPECT_EQ(actions<LayerWalk2019>({A::not_found, A::prepared, A::found_remote, A::already_exists, A::done}),
            (Actions{stat_chain, prepare, stat_key, commit, remove_key, skip}));
}

/// Every sequence of answers, whatever they are, must come to an end, and never leave a prepared key behind.
template <class Walk>
void explore(Walk walk, WalkAction action, bool key_open, int depth, std::set<WalkAction>& ends) {
  ASSERT_LT(depth, 20) << "the walk does not end";
  if (is_end(action)) {
    EXPECT_FALSE(key_open) << "ended with " << to_string(action) << " and a key left";
    ends.insert(action);
    return;
  }
  for (const auto answer : {A::found_remote, A::found_plain, A::not_found, A::prepared, A::staged,
                            A::already_exists, A::done, A::failed}) {
    Walk copy = walk;
    bool open = key_open;
    if (action == prepare && (answer == A::prepared || answer == A::staged)) open = true;
    if (action == commit && answer == A::done) open = false;
    if (action == remove_key) open = false;
    const auto next = copy.next(answer);
    explore(copy, next, open, depth + 1, ends);
  }
}

TEST(TodaysWalk, AlwaysEndsAndNeverLeavesAKey) {
  LayerWalk walk;
  std::set<WalkAction> ends;
  const auto first = walk.next(A::begin);
  explore(walk, first, false, 0, ends);
  EXPECT_EQ(ends, (std::set<WalkAction>{skip, filled, fail}));
}

TEST(Walk2019, AlwaysEndsAndNeverLeavesAKey) {
  LayerWalk2019 walk;
  std::set<WalkAction> ends;
  const auto first = walk.next(A::begin);
  explore(walk, first, false, 0, ends);
  EXPECT_EQ(ends, (std::set<WalkAction>{skip, necessary}));
}

}  // namespace
}  // namespace lazypull
