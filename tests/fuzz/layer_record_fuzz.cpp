#include "engine/error.hpp"
#include "snapshot/remote/layer_record.hpp"
#include "tests/fuzz/fuzz_target.hpp"

#include <algorithm>
#include <array>

namespace lazypull::fuzz {

void fuzz_layer_record(Bytes input) {
  const auto expected = Digest::parse("sha256:" + std::string(64, 'a'));
  try {
    const auto record = parse_layer_record(text_of(input), expected, "layer.json");
    require(record.digest == expected && !record.diff_id.empty(), "it is the record of the layer");
    require(record.attributes.size() <= max_layer_attributes, "the attributes are bounded");
    const bool image = record.format != LayerFormat::directory;
    require(record.image_digest.has_value() == image && (record.image_size > 0) == image,
            "an image is whole");
    require(record.tree_digest.has_value() != image, "a directory is whole");
    const auto text = layer_record_text(record);
    require(parse_layer_record(text, expected, "layer.json") == record, "what is written is read", text);
  } catch (const Error& error) {
    constexpr std::array known{Errc::bad_response, Errc::invalid_image, Errc::digest_mismatch,
                               Errc::unsupported};
    require(std::ranges::find(known, error.code()) != known.end(), "refused as data", error.message());
    require_message(error.message());
  }
}

}  // namespace lazypull::fuzz
