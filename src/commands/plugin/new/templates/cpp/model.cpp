// {{name}}: a mean of models in which odd ones count less. A start for a method of your own: change what `run` computes,
// then what `describe` says of it.
//
// dᵢ = ‖θᵢ − mean θ‖ over the whole model, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power, θ = Σ wᵢθᵢ / Σ wᵢ;
// equal models count alike.
// In double, each element rounded once. `fusion_plugin.hpp` is the contract as C++ classes.
#include <cmath>

#include "fusion_plugin.hpp"

namespace {

/// The prepared method.
class kernel {
public:
    /// Checks the settings, also when a recipe is only planned.
    explicit kernel(const fusion::group &group) : power_(group[0].stage(0, "power", 0, 16)), members_(group.size()) {}

    /// Twice through all members: distances to the mean, then the weighted mean.
    void run(const fusion::models &models, const fusion::host &host) const {
        std::vector<double> weights(models.count(), 1.0), squares(models.count());
        for (std::uint64_t member = 0; member < members_; ++member) {
            host.check();
            host.progress(member, 2 * members_, "distances");
            const auto held = hold(models, member);
            for (std::size_t i = 0; i < held[0].values().size(); ++i) {
                const double middle = mean(held, weights, i);
                for (std::size_t j = 0; j < held.size(); ++j) {
                    const double apart = static_cast<double>(held[j].values()[i]) - middle;
                    squares[j] += apart * apart;
                }
            }
        }
        double middle = 0;
        for (const double one : squares) {
            middle += std::sqrt(one) / static_cast<double>(squares.size());
        }
        for (std::size_t j = 0; middle > 0 && j < weights.size(); ++j) {
            weights[j] = std::pow(middle / (middle + std::sqrt(squares[j])), power_);
        }
        std::vector<float> out;
        for (std::uint64_t member = 0; member < members_; ++member) {
            host.check();
            host.progress(members_ + member, 2 * members_, "mean");
            const auto held = hold(models, member);
            out.resize(held[0].values().size());
            for (std::size_t i = 0; i < out.size(); ++i) {
                out[i] = static_cast<float>(mean(held, weights, i));
            }
            models.write(member, {out.data(), out.size()});
        }
    }

private:
    using pinned = std::vector<fusion::models::pinned>;

    /// A member of every model; the host may let go of them when this ends.
    static pinned hold(const fusion::models &models, std::uint64_t member) {
        pinned held;
        for (std::uint32_t j = 0; j < models.count(); ++j) {
            held.push_back(models.read(j, member));
        }
        return held;
    }

    static double mean(const pinned &held, const std::vector<double> &weights, std::size_t i) {
        double sum = 0, total = 0;
        for (std::size_t j = 0; j < held.size(); ++j) {
            sum += weights[j] * static_cast<double>(held[j].values()[i]);
            total += weights[j];
        }
        return sum / total;
    }

    double power_;
    std::uint64_t members_;
};

fusion_method describe() {
    static const fusion_port ports[] = {
        fusion::port("from", "the models", FUSION_SPACE_WEIGHTS, 0, 1, UINT32_MAX),
    };
    static const fusion_str numbers[] = {fusion::text("power")}; // the columns of the table of numbers
    fusion_method method = fusion::whole_model<kernel>();
    method.id = fusion::text("{{name}}");
    method.title = fusion::text("mean of models in which odd ones count less");
    method.formula = fusion::text("dᵢ = ‖θᵢ − mean θ‖, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power\nθ = Σ wᵢθᵢ / Σ wᵢ");
    method.citation = fusion::text("name your source here: authors, title or venue, year");
    method.params_schema = fusion::text(R"({
        "type": "object",
        "properties": {
            "power": {
                "type": "number", "minimum": 0, "maximum": 16, "default": 1,
                "description": "how much less an odd model counts: 0 is the plain mean"
            }
        },
        "additionalProperties": false
    })");
    method.traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT | FUSION_TRAIT_AFFINE |
                    FUSION_TRAIT_SCALE_EQUIVARIANT;
    method.ports = ports;
    method.n_ports = 1;
    method.numbers = numbers;
    method.n_numbers = 1;
    return method;
}

} // namespace

FUSION_PLUGIN("{{id}}", "0.1.0", "MIT OR Apache-2.0", describe());
