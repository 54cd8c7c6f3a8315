/* {{name}}: the mean of models, whose rows keep the models' norms. A start for a method of your own: change what `apply` computes, then
 * what `method` says of it.
 *
 * mean row m, r = mean ‖rowᵢ‖ / ‖m‖, row of the result = m · (1 + strength · (r − 1)); r is 1 where m is 0. A row runs over the last
 * dimension. In double, each element rounded once. `fusion_plugin.h` says what every field means.
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

/* The prepared method of one tensor. */
typedef struct {
    double strength;
} kernel;

/* Checks the settings, also when a recipe is only planned. Per-layer values and rules are resolved: these are the tensor's own. */
static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    const fusion_member *member = &group->members[0]; /* every tensor has its own instance */
    if (member->n_settings == 0) return refuse(host, "there are no models", "");
    const double strength = member->settings[0]; /* a setting of the stage is the same in every row: see `numbers` */
    if (!(strength >= 0 && strength <= 1)) return refuse(host, "`strength` must lie between 0% and 100%", "/strength");
    kernel *made = malloc(sizeof *made);
    if (made == NULL) return FUSION_OUT_OF_MEMORY;
    made->strength = strength;
    *instance = made;
    return FUSION_OK;
}

static void destroy(void *instance) { free(instance); }

static double value(const fusion_call *call, uint64_t input, int64_t i) {
    return ((const float *)call->inputs[input].dl.data)[i];
}

static double mean(const fusion_call *call, int64_t i) {
    double sum = 0;
    for (uint64_t j = 0; j < call->n_inputs; j++) sum += value(call, j, i);
    return sum / (double)call->n_inputs;
}

/* The whole tensor, row-major. */
static fusion_status apply(void *instance, const fusion_call *call) {
    const kernel *self = instance;
    const fusion_tensor *output = &call->outputs[0];
    float *out = output->dl.data;
    const int64_t n = (int64_t)output->total, width = output->dl.ndim > 0 ? output->dl.shape[output->dl.ndim - 1] : 1;
    for (int64_t row = 0; row < n; row += width) {
        if (call->host->cancelled(call->host->ctx)) return FUSION_CANCELLED;
        double norms = 0, own = 0;
        for (uint64_t j = 0; j < call->n_inputs; j++) {
            double squares = 0;
            for (int64_t i = row; i < row + width; i++) squares += value(call, j, i) * value(call, j, i);
            norms += sqrt(squares);
        }
        for (int64_t i = row; i < row + width; i++) own += mean(call, i) * mean(call, i);
        const double ratio = own == 0 ? 1 : norms / (double)call->n_inputs / sqrt(own);
        const double factor = 1 + self->strength * (ratio - 1);
        for (int64_t i = row; i < row + width; i++) out[i] = (float)(factor * mean(call, i));
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
    .title = TEXT("mean of models whose rows keep the models' norms"),
    .formula = TEXT("m = mean row, r = mean ‖rowᵢ‖ / ‖m‖\nrow = m · (1 + strength · (r − 1))"),
    .citation = TEXT("name your source here: authors, title or venue, year"),
    .params_schema = TEXT(
        "{\"type\": \"object\", \"properties\": {\"strength\": {"
        "\"type\": \"number\", \"minimum\": 0, \"maximum\": 1, \"default\": 1, \"x-unit\": \"fraction\", \"x-varies\": true,"
        "\"description\": \"how much of the norm is given back: 0% is the plain mean\"}}, \"additionalProperties\": false}"),
    .version = 1,
    .category = 3, /* average */
    .kernel = FUSION_KERNEL_TENSOR,
    .threading = FUSION_THREADING_PARALLEL,
    .traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT
            | FUSION_TRAIT_SCALE_EQUIVARIANT,
    .ports = ports,
    .n_ports = 1,
    .numbers = numbers,
    .n_numbers = 1,
    .create = create,
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
