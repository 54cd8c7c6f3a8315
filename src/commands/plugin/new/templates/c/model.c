/* {{name}}: a mean of models in which odd ones count less. A start for a method of your own: change what `run` computes, then what
 * `method` says of it.
 *
 * dᵢ = ‖θᵢ − mean θ‖ over the whole model, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power, θ = Σ wᵢθᵢ / Σ wᵢ; equal models count alike. In double,
 * each element rounded once. `fusion_plugin.h` says what every field means.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }

/* Says why a call fails, and which setting is to blame, by a JSON pointer. */
static fusion_status fail(const fusion_host *host, fusion_status status, const char *message, const char *pointer) {
    const fusion_str text = { message, strlen(message) }, place = { pointer, strlen(pointer) };
    host->report(host->ctx, status, text, place);
    return status;
}

/* The prepared method. */
typedef struct {
    double power;
    uint64_t members;
} kernel;

/* Checks the settings, also when a recipe is only planned. */
static fusion_status create(const fusion_host *host, const fusion_group *group, void **instance) {
    const fusion_member *member = &group->members[0]; /* the setting does not vary: it is the same for all */
    if (member->n_settings == 0) return fail(host, FUSION_INVALID, "there are no models", "");
    const double power = member->settings[0]; /* a setting of the stage is the same in every row: see `numbers` */
    if (!(power >= 0 && power <= 16)) return fail(host, FUSION_INVALID, "`power` must lie between 0 and 16", "/power");
    kernel *made = malloc(sizeof *made);
    if (made == NULL) return FUSION_OUT_OF_MEMORY;
    made->power = power;
    made->members = group->n_members;
    *instance = made;
    return FUSION_OK;
}

static void destroy(void *instance) { free(instance); }

/* What a run works with. */
typedef struct {
    const fusion_model_v1 *service;
    uint32_t models;
    fusion_tensor *held; /* one member of every model */
    double *weights;
    double *squares; /* of the distances */
} work;

static void release(const work *at, uint32_t models) {
    for (uint32_t j = 0; j < models; j++) at->service->release(at->service->ctx, &at->held[j]);
}

/* Reads a member of every model. */
static fusion_status hold(const work *at, uint64_t member) {
    for (uint32_t j = 0; j < at->models; j++) {
        at->held[j].struct_size = sizeof(fusion_tensor);
        const fusion_status status = at->service->read(at->service->ctx, j, member, &at->held[j]);
        if (status != FUSION_OK) {
            release(at, j);
            return status;
        }
    }
    return FUSION_OK;
}

static double value(const work *at, uint32_t model, uint64_t i) { return ((const float *)at->held[model].dl.data)[i]; }

/* Σ wᵢθᵢ / Σ wᵢ of element `i` of the member that is held. */
static double mean(const work *at, uint64_t i) {
    double sum = 0, total = 0;
    for (uint32_t j = 0; j < at->models; j++) {
        sum += at->weights[j] * value(at, j, i);
        total += at->weights[j];
    }
    return sum / total;
}

static void measure(const work *at) {
    for (uint64_t i = 0; i < at->held[0].total; i++) {
        const double middle = mean(at, i);
        for (uint32_t j = 0; j < at->models; j++) {
            at->squares[j] += (value(at, j, i) - middle) * (value(at, j, i) - middle);
        }
    }
}

static fusion_status write(const work *at, uint64_t member) {
    const uint64_t n = at->held[0].total;
    float *out = malloc((n + 1) * sizeof(float));
    if (out == NULL) return FUSION_OUT_OF_MEMORY;
    for (uint64_t i = 0; i < n; i++) out[i] = (float)mean(at, i);
    const fusion_status status = at->service->write(at->service->ctx, member, out, n); /* copies */
    free(out);
    return status;
}

/* Twice through all members: distances to the mean, then the weighted mean. */
static fusion_status passes(const kernel *self, const work *at, const fusion_host *host) {
    for (uint32_t j = 0; j < at->models; j++) at->weights[j] = 1;
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t member = 0; member < self->members; member++) {
            if (host->cancelled(host->ctx)) return FUSION_CANCELLED;
            const fusion_str note = TEXT("members");
            host->progress(host->ctx, (uint64_t)pass * self->members + member, 2 * self->members, note);
            fusion_status status = hold(at, member);
            if (status != FUSION_OK) return status;
            if (pass == 0) measure(at);
            else status = write(at, member);
            release(at, at->models);
            if (status != FUSION_OK) return status;
        }
        if (pass > 0) break;
        double middle = 0;
        for (uint32_t j = 0; j < at->models; j++) middle += sqrt(at->squares[j]) / at->models;
        if (middle > 0) {
            for (uint32_t j = 0; j < at->models; j++) {
                at->weights[j] = pow(middle / (middle + sqrt(at->squares[j])), self->power);
            }
        }
    }
    return FUSION_OK;
}

static fusion_status run(void *instance, const fusion_call *call) {
    const fusion_host *host = call->host;
    const fusion_str id = TEXT("fusion.model/1");
    work at = { .service = host->service(host->ctx, id) };
    if (at.service == NULL) return fail(host, FUSION_UNSUPPORTED, "the host does not offer `fusion.model/1`", "");
    at.models = at.service->models(at.service->ctx);
    at.held = calloc(at.models, sizeof *at.held);
    at.weights = calloc(at.models, sizeof *at.weights);
    at.squares = calloc(at.models, sizeof *at.squares);
    fusion_status status = FUSION_OUT_OF_MEMORY;
    if (at.held != NULL && at.weights != NULL && at.squares != NULL) status = passes(instance, &at, host);
    free(at.held);
    free(at.weights);
    free(at.squares);
    return status;
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

static const fusion_str numbers[] = { TEXT("power") };

static const fusion_method method[] = { {
    .struct_size = sizeof(fusion_method),
    .id = TEXT("{{name}}"),
    .title = TEXT("mean of models in which odd ones count less"),
    .formula = TEXT("dᵢ = ‖θᵢ − mean θ‖, D = mean dᵢ, wᵢ = (D / (D + dᵢ))^power\nθ = Σ wᵢθᵢ / Σ wᵢ"),
    .citation = TEXT("name your source here: authors, title or venue, year"),
    .params_schema = TEXT(
        "{\"type\": \"object\", \"properties\": {\"power\": {"
        "\"type\": \"number\", \"minimum\": 0, \"maximum\": 16, \"default\": 1,"
        "\"description\": \"how much less an odd model counts: 0 is the plain mean\"}}, \"additionalProperties\": false}"),
    .version = 1,
    .category = 3, /* average */
    .kernel = FUSION_KERNEL_MODEL,
    .threading = FUSION_THREADING_PARALLEL,
    .traits = FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT | FUSION_TRAIT_AFFINE
            | FUSION_TRAIT_SCALE_EQUIVARIANT,
    .ports = ports,
    .n_ports = 1,
    .numbers = numbers,
    .n_numbers = 1,
    .create = create,
    .destroy = destroy,
    .run = run,
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
