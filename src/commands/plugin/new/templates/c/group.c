/* {{name}}: the mean of models, whose layers keep the models' norms. A start for a method of your own: change what `apply` computes, then
 * what `method` says of it.
 *
 * m = mean of the models, r = mean ‖layerᵢ‖ / ‖layer of m‖ over all tensors of the layer, θ = m · (1 + strength · (r − 1)); r is 1 where m
 * is 0. In double, each element rounded once. `fusion_plugin.h` says what every field means.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }

/* Says why a call fails, and which setting is to blame, by a JSON pointer. */
static fusion_status refuse(const fusion_host *host, const char *message, const char *pointer) {
    const fusion_str text = { message, strlen(message) }, place = { pointer, strlen(pointer) };
    host->report(host->ctx, FUSION_INVALID, text, place);
    return FUSION_INVALID;
}

/* The prepared method of the tensors of one layer. */
typedef struct {
    double strength;
} kernel;

/* Checks the settings, also when a recipe is only planned. Rules are resolved: these are the layer's own. */
static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    const fusion_member *first = &group->members[0];
    if (first->n_settings == 0) return refuse(host, "there are no models", "");
    const double strength = first->settings[0]; /* a setting of the stage is the same in every row: see `numbers` */
    for (uint64_t k = 0; k < group->n_members; k++) {
        const double own = group->members[k].settings[0];
        if (!(own >= 0 && own <= 1)) return refuse(host, "`strength` must lie between 0% and 100%", "/strength");
        if (own != strength) return refuse(host, "`strength` must be the same for all tensors of a layer", "/strength");
    }
    kernel *made = malloc(sizeof *made);
    if (made == NULL) return FUSION_OUT_OF_MEMORY;
    made->strength = strength;
    *instance = made;
    return FUSION_OK;
}

static void destroy(void *instance) { free(instance); }

/* Element `i` of an input. */
static double value(const fusion_tensor *input, uint64_t i) { return ((const float *)input->dl.data)[i]; }

static double mean(const fusion_tensor *inputs, uint64_t models, uint64_t i) {
    double sum = 0;
    for (uint64_t j = 0; j < models; j++) sum += value(&inputs[j], i);
    return sum / (double)models;
}

/* All tensors of the layer. Inputs come member by member: those of output `k` stand from `k * models` on. */
static fusion_status apply(void *instance, const fusion_call *call) {
    const kernel *self = instance;
    const uint64_t models = call->n_inputs / call->n_outputs;
    double norms = 0, own = 0;
    for (uint64_t j = 0; j <= models; j++) { /* the models, then their mean */
        double squares = 0;
        for (uint64_t k = 0; k < call->n_outputs; k++) {
            if (call->host->cancelled(call->host->ctx)) return FUSION_CANCELLED;
            const fusion_tensor *inputs = &call->inputs[k * models];
            for (uint64_t i = 0; i < call->outputs[k].total; i++) {
                const double x = j < models ? value(&inputs[j], i) : mean(inputs, models, i);
                squares += x * x;
            }
        }
        if (j < models) norms += sqrt(squares);
        else own = sqrt(squares);
    }
    const double ratio = own == 0 ? 1 : norms / (double)models / own;
    const double factor = 1 + self->strength * (ratio - 1);
    for (uint64_t k = 0; k < call->n_outputs; k++) {
        if (call->host->cancelled(call->host->ctx)) return FUSION_CANCELLED;
        float *out = call->outputs[k].dl.data;
        for (uint64_t i = 0; i < call->outputs[k].total; i++) {
            out[i] = (float)(factor * mean(&call->inputs[k * models], models, i));
        }
    }
    return FUSION_OK;
}

static const fusion_port ports[] = { {
    .struct_size = sizeof(fusion_port),
    .name = TEXT("from"),
    .doc = TEXT("the models"),
    .space = FUSION_SPACE_WEIGHTS,
    .flags = 0,
    .min = 1,
    .max = UINT32_MAX,
} };

static const fusion_str numbers[] = { TEXT("strength") };

static const fusion_method method[] = { {
    .struct_size = sizeof(fusion_method),
    .id = TEXT("{{name}}"),
    .title = TEXT("mean of models whose layers keep the models' norms"),
    .formula = TEXT("m = mean θᵢ, r = mean ‖layerᵢ‖ / ‖layer of m‖\nθ = m · (1 + strength · (r − 1))"),
    .citation = TEXT("name your source here: authors, title or venue, year"),
    .params_schema = TEXT(
        "{\"type\": \"object\", \"properties\": {\"strength\": {"
        "\"type\": \"number\", \"minimum\": 0, \"maximum\": 1, \"default\": 1, \"x-unit\": \"fraction\", \"x-varies\": true,"
        "\"description\": \"how much of the norm is given back: 0% is the plain mean\"}}, \"additionalProperties\": false}"),
    .version = 1,
    .category = 3, /* average */
    .kernel = FUSION_KERNEL_GROUP,
    .threading = FUSION_THREADING_PARALLEL,
    .traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT
            | FUSION_TRAIT_SCALE_EQUIVARIANT,
    .ports = ports,
    .n_ports = 1,
    .numbers = numbers,
    .n_numbers = 1,
    .create = create, /* without `scope`, the tensors of a layer share an instance */
    .destroy = destroy,
    .apply = apply,
} };

static const fusion_plugin plugin = {
    .struct_size = sizeof(fusion_plugin),
    .built_major = FUSION_ABI_MAJOR,
    .built_minor = FUSION_ABI_MINOR,
    .needs_minor = 0,
    .id = TEXT("{{id}}"),
    .version = TEXT("0.1.0"),
    .license = TEXT("MIT OR Apache-2.0"),
    .build_info = TEXT("C"),
    .methods = method,
    .n_methods = 1,
};

const fusion_plugin *FUSION_ENTRY(const fusion_host *host);

/* The one exported function: it does no work. */
const fusion_plugin *FUSION_ENTRY(const fusion_host *host) {
    (void)host;
    return &plugin;
}
