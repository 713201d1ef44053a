#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace lazypull::test {

/// Whether a layer can be extracted, as the lowest one of an image and on top of `corpus_lower_layer`.
enum class Fate { accepted, refused, refused_on_top };

/// An archive that is odd, hostile, or both.
struct CorpusCase {
  std::string name;  ///< letters and digits
  std::string archive;
  Fate fate = Fate::accepted;
};

/// For GoogleTest: the name.
void PrintTo(const CorpusCase& one, std::ostream* out);

const std::vector<CorpusCase>& tar_corpus();

/// The layer on which the others are also extracted.
std::string corpus_lower_layer();

}  // namespace lazypull::test
