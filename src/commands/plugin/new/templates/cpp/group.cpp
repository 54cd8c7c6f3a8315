// {{name}}: the mean of models, whose layers keep the models' norms. A start for a method of your own: change what `apply` computes,
// then what `describe` says of it.
//
// m = mean of the models, r = mean ‖layerᵢ‖ / ‖layer of m‖ over all tensors of the layer,
// θ = m · (1 + strength · (r − 1)); r is 1 where m is 0.
// In double, each element rounded once. `fusion_plugin.hpp` is the contract as C++ classes.
#include <cmath>

#include "fusion_plugin.hpp"

namespace {

/// The prepared method of the tensors of one layer.
class kernel {
public:
    /// Checks the settings, also when a recipe is only planned. Rules are resolved: these are the layer's own.
    explicit kernel(const fusion::group &group) : strength_(group[0].stage(0, "strength", 0, 1)) {
        for (std::size_t k = 0; k < group.size(); ++k) {
            if (group[k].stage(0, "strength", 0, 1) != strength_) {
                throw fusion::error::invalid("`strength` must be the same for all tensors of a layer").at("/strength");
            }
        }
    }

    /// All tensors of the layer.
    void apply(const fusion::call &call) const {
        std::vector<double> squares(call.values_of(0).size());
        double own = 0;
        for (std::size_t k = 0; k < call.outputs(); ++k) {
            call.host().check();
            const auto inputs = call.values_of(k);
            for (std::size_t i = 0; i < call.output(k).size(); ++i) {
                for (std::size_t j = 0; j < inputs.size(); ++j) {
                    squares[j] += static_cast<double>(inputs[j][i]) * static_cast<double>(inputs[j][i]);
                }
                own += mean(inputs, i) * mean(inputs, i);
            }
        }
        double norms = 0;
        for (const double one : squares) {
            norms += std::sqrt(one);
        }
        const double ratio = own == 0 ? 1 : norms / static_cast<double>(squares.size()) / std::sqrt(own);
        const double factor = 1 + strength_ * (ratio - 1);
        for (std::size_t k = 0; k < call.outputs(); ++k) {
            call.host().check();
            const auto inputs = call.values_of(k);
            const auto out = call.output(k).out();
            for (std::size_t i = 0; i < out.size(); ++i) {
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
    fusion_method method = fusion::group_of_tensors<kernel>();
    method.id = fusion::text("{{name}}");
    method.title = fusion::text("mean of models whose layers keep the models' norms");
    method.formula = fusion::text("m = mean θᵢ, r = mean ‖layerᵢ‖ / ‖layer of m‖\nθ = m · (1 + strength · (r − 1))");
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
