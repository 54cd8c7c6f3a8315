// {{name}}: the mean of models, whose rows keep the models' norms. A start for a method of your own: change what `apply` computes,
// then what `describe` says of it.
//
// mean row m, r = mean ‖rowᵢ‖ / ‖m‖, row of the result = m · (1 + strength · (r − 1)); r is 1 where m is 0.
// A row runs over the last dimension.
// In double, each element rounded once. `fusion_plugin.hpp` is the contract as C++ classes.
#include <cmath>

#include "fusion_plugin.hpp"

namespace {

/// The prepared method of one tensor.
class kernel {
public:
    /// Checks the settings, also when a recipe is only planned. Per-layer values and rules are resolved: these are the tensor's own.
    explicit kernel(const fusion::group &group) : strength_(group[0].stage(0, "strength", 0, 1)) {}

    /// The whole tensor, row-major.
    void apply(const fusion::call &call) const {
        const auto inputs = call.values();
        const auto shape = call.output().shape();
        const auto out = call.output().out();
        const std::size_t width = shape.empty() ? 1 : static_cast<std::size_t>(shape[shape.size() - 1]);
        for (std::size_t row = 0; row < out.size(); row += width) {
            call.host().check();
            double norms = 0, own = 0;
            for (const auto &input : inputs) {
                double squares = 0;
                for (std::size_t i = row; i < row + width; ++i) {
                    squares += static_cast<double>(input[i]) * static_cast<double>(input[i]);
                }
                norms += std::sqrt(squares);
            }
            for (std::size_t i = row; i < row + width; ++i) {
                own += mean(inputs, i) * mean(inputs, i);
            }
            const double ratio = own == 0 ? 1 : norms / static_cast<double>(inputs.size()) / std::sqrt(own);
            const double factor = 1 + strength_ * (ratio - 1);
            for (std::size_t i = row; i < row + width; ++i) {
                out[i] = static_cast<float>(factor * mean(inputs, i));
            }
        }
    }

private:
    static double mean(const std::vector<fusion::span<const float>> &inputs, std::size_t i) {
        double sum = 0;
        for (const auto &input : inputs) {
            sum += static_cast<double>(input[i]);
        }
        return sum / static_cast<double>(inputs.size());
    }

    double strength_;
};

fusion_method describe() {
    static const fusion_port ports[] = {
        fusion::port("from", "the models", FUSION_SPACE_WEIGHTS, 0, 1, UINT32_MAX),
    };
    static const fusion_str numbers[] = {fusion::text("strength")}; // the columns of the table of numbers
    fusion_method method = fusion::whole_tensor<kernel>();
    method.id = fusion::text("{{name}}");
    method.title = fusion::text("mean of models whose rows keep the models' norms");
    method.formula = fusion::text("m = mean row, r = mean ‖rowᵢ‖ / ‖m‖\nrow = m · (1 + strength · (r − 1))");
    method.citation = fusion::text("name your source here: authors, title or venue, year");
    method.params_schema = fusion::text(R"({
        "type": "object",
        "properties": {
            "strength": {
                "type": "number", "minimum": 0, "maximum": 1, "default": 1, "x-unit": "fraction", "x-varies": true,
                "description": "how much of the norm is given back: 0% is the plain mean"
            }
        },
        "additionalProperties": false
    })");
    method.traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT |
                    FUSION_TRAIT_SCALE_EQUIVARIANT;
    method.ports = ports;
    method.n_ports = 1;
    method.numbers = numbers;
    method.n_numbers = 1;
    return method;
}

} // namespace

FUSION_PLUGIN("{{id}}", "0.1.0", "MIT OR Apache-2.0", describe());
