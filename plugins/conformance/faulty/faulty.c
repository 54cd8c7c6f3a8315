/* A plugin that keeps the contract, and by -DFAULT_… one that breaks one promise of it: every test of the kit is known to fail where it
 * should. Without a fault it is the weighted mean of models,
 *
 *     θ = Σ wᵢᵖ θᵢ / Σ wᵢᵖ
 *
 * as an element-wise method. -DKERNEL=2 (whole tensor), 3 (group) and 4 (whole model) are the same method in the other classes;
 * -DOBSERVE adds the deviation of the inputs from their mean in two passes, -DRANDOM adds noise from `fusion.rng/1`, -DDELTA takes task
 * vectors, -DNUMBERS reads its settings from the table of numbers alone. The variants claim what they keep.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion_plugin.h"

#define TEXT(literal) { literal, sizeof(literal) - 1 }
#ifdef FAULT_host_loads_it
#define UNKNOWN_NEED 0x8000 /* nothing that a host of version 1 knows */
#else
#define UNKNOWN_NEED 0
#endif
#ifndef KERNEL
#define KERNEL FUSION_KERNEL_ELEMENTWISE
#endif
#if defined(__GNUC__)
#define HIDDEN __attribute__((visibility("hidden")))
#else
#define HIDDEN
#endif

/* ---- reports ---- */

static fusion_status refuse(const fusion_host *host, fusion_status code, const char *text, const char *pointer) {
    const fusion_str message = { text, strlen(text) }, place = { pointer, strlen(pointer) };
    host->report(host->ctx, code, message, place);
    return code;
}

static fusion_status invalid(const fusion_host *host, const char *text, const char *pointer) {
#ifdef FAULT_error_pointer_names_field
    pointer = "";
#endif
    return refuse(host, FUSION_INVALID, text, pointer);
}

/* ---- settings: a reader for flat JSON objects ---- */

typedef struct settings {
    double weight, power;
    int exact, given_weight; /* `rounding` is exact */
} settings;

typedef struct reader {
    const char *at, *end;
} reader;

static void blanks(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

static int take(reader *r, char letter) {
    blanks(r);
    if (r->at >= r->end || *r->at != letter) return 0;
    r->at++;
    return 1;
}

/* A string without escapes: no name or word of ours has one. */
static int word(reader *r, fusion_str *out) {
    if (!take(r, '"')) return 0;
    out->ptr = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\') r->at++;
    out->len = (uint64_t)(r->at - out->ptr);
    return take(r, '"');
}

static int number(reader *r, double *out) {
    char text[64], *stop;
    size_t n = 0;
    blanks(r);
    while (r->at < r->end && n < sizeof(text) - 1 && strchr("+-.0123456789eE", *r->at) && *r->at) text[n++] = *r->at++;
    text[n] = 0;
    *out = strtod(text, &stop);
    return n > 0 && *stop == 0 && isfinite(*out);
}

static int same(fusion_str text, const char *other) {
    return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

static void path(char *out, size_t size, const char *edge, const char *name) {
    out[0] = 0;
    strncat(out, edge, size - 1);
    strncat(out, "/", size - 1 - strlen(out));
    strncat(out, name, size - 1 - strlen(out));
}

static fusion_status bounds(const fusion_host *host, const char *edge, const settings *given) {
    char place[64];
#ifndef FAULT_each_bound_enforced
    if (!(given->weight >= 0 && given->weight <= 10)) {
        path(place, sizeof place, edge, "weight");
        return invalid(host, "`weight` must be in 0..10", place);
    }
#endif
    if (!(given->power > 0 && given->power <= 4)) {
        path(place, sizeof place, edge, "power");
        return invalid(host, "`power` must be above 0 and at most 4", place);
    }
    return FUSION_OK;
}

/* `edge` is empty for the stage, else `/from/1`. */
static fusion_status parse(const fusion_host *host, fusion_str text, const char *edge, settings *out) {
    reader r = { text.ptr, text.ptr + text.len };
    char place[64];
#ifdef FAULT_random_invalid_never_crashes
    if (text.len == 0 || text.ptr[0] != '{') abort();
#endif
    if (!take(&r, '{')) return invalid(host, "settings are no object", edge);
    if (!take(&r, '}')) {
        do {
            fusion_str name, value;
            if (!word(&r, &name) || !take(&r, ':')) return invalid(host, "settings are no object", edge);
            if (same(name, "weight") && *edge) {
                if (!number(&r, &out->weight)) {
                    path(place, sizeof place, edge, "weight");
                    return invalid(host, "`weight` is no number", place);
                }
                out->given_weight = 1;
            } else if (same(name, "power") && !*edge) {
                if (!number(&r, &out->power)) return invalid(host, "`power` is no number", "/power");
            } else if (same(name, "rounding") && !*edge) {
                if (!word(&r, &value) || (!same(value, "exact") && !same(value, "plain")))
                    return invalid(host, "`rounding` must be `exact` or `plain`", "/rounding");
                out->exact = same(value, "exact");
            } else {
#ifdef FAULT_unknown_field_rejected
                double skipped;
                if (number(&r, &skipped) || word(&r, &value)) continue;
#endif
                return invalid(host, "there is no such setting", edge);
            }
        } while (take(&r, ','));
        if (!take(&r, '}')) return invalid(host, "settings are no object", edge);
    }
    blanks(&r);
    if (r.at != r.end) return invalid(host, "settings are no object", edge);
    return bounds(host, edge, out);
}

/* ---- the instance ---- */

typedef struct member {
    double *weights; /* per input, normalised */
    uint64_t n_inputs;
    uint64_t elements;
    uint64_t key;
} member;

typedef struct instance {
    uint64_t seed, n_members;
    member *members;
    /* Statistics: Σx over all inputs, then Σ|x − mean|. */
    uint32_t passes;
    double sum, deviation;
    uint64_t count;
    pthread_t maker;
#ifdef FAULT_no_pointer_kept_after_call
    const fusion_group *kept;
#endif
} instance;

#if defined(FAULT_error_then_usable_or_poisoned)
static int failed_before;
#endif

static void destroy(void *given) {
    instance *self = given;
    if (!self) return;
    for (uint64_t m = 0; m < self->n_members; m++) free(self->members[m].weights);
#ifndef FAULT_no_growth_over_1000_calls
    free(self->members);
    free(self);
#else
    memset(malloc(16384), 1, 16384);
#endif
}

static fusion_status fill(const fusion_host *host, const fusion_group *group, instance *self) {
    for (uint64_t m = 0; m < group->n_members; m++) {
        const fusion_member *from = &group->members[m];
        member *to = &self->members[m];
        settings stage = { 1, 1, 0, 0 };
        double sum = 0;
        fusion_status status;
#ifndef NUMBERS
        if ((status = parse(host, from->params, "", &stage))) return status;
#endif
        to->n_inputs = from->n_inputs;
        to->key = from->key;
        to->elements = 1;
        for (uint64_t d = 0; d < from->ndim; d++) to->elements *= (uint64_t)from->shape[d];
#ifdef FAULT_zero_sized
        if (4096 / (int)to->elements > 4096) return FUSION_FAILED;
#endif
        to->weights = calloc(from->n_inputs ? from->n_inputs : 1, sizeof(double));
        if (!to->weights) return FUSION_OUT_OF_MEMORY;
        uint64_t place = 0;
        for (uint64_t i = 0; i < from->n_inputs; i++) {
            settings own = stage;
            char edge[32] = "/from/0";
            const int is_from = same(from->inputs[i].port, "from");
            if (!is_from) continue; /* the base, which a method of task vectors does not count */
            edge[6] = (char)('0' + place++ % 10);
#ifdef NUMBERS
            own.weight = from->settings[2 * i];
            own.power = from->settings[2 * i + 1];
            stage.power = own.power;
            if (own.power != own.power) own.power = 1;
            if (!(own.power > 0 && own.power <= 4)) return invalid(host, "`power` must be above 0 and at most 4", "/power");
            if ((status = bounds(host, edge, &own))) return status;
#else
            if ((status = parse(host, from->inputs[i].params, edge, &own))) return status;
#endif
            to->weights[i] = pow(own.weight, own.power);
            sum += to->weights[i];
        }
#ifdef FAULT_random_valid_accepted
        if (stage.power > 2) return refuse(host, FUSION_FAILED, "out of luck", "");
#endif
        if (!(sum > 1e-30)) return invalid(host, "all weights are 0", "");
        for (uint64_t i = 0; i < from->n_inputs; i++) to->weights[i] /= sum;
    }
    return FUSION_OK;
}

static fusion_status create(const fusion_host *host, const fusion_group *group, void **out) {
#ifdef FAULT_panic_contained
    if (group->n_members == 0) abort();
#endif
#ifdef FAULT_defaults_accepted_by_create
    (void)group;
    *out = NULL;
    return refuse(host, FUSION_FAILED, "no settings please me", "");
#endif
    instance *self = calloc(1, sizeof *self);
    if (!self) return FUSION_OUT_OF_MEMORY;
    self->seed = group->seed;
    self->maker = pthread_self();
#ifdef FAULT_no_pointer_kept_after_call
    self->kept = group;
#endif
    self->members = calloc(group->n_members ? group->n_members : 1, sizeof(member));
    if (!self->members) {
        free(self);
        return FUSION_OUT_OF_MEMORY;
    }
    self->n_members = group->n_members;
#ifdef FAULT_long_structs
    if (group->struct_size != sizeof(fusion_group)) {
        destroy(self);
        return refuse(host, FUSION_UNSUPPORTED, "an unknown host", "");
    }
#endif
#ifdef FAULT_short_structs
    /* a field of some later version, read without a look at the size */
    if (((const volatile uint64_t *)(group + 1))[0] == 42) self->seed++;
#endif
#ifdef FAULT_inputs_unchanged
    if (group->members[0].n_settings) ((double *)(uintptr_t)group->members[0].settings)[0] = 0;
#endif
    const fusion_status status = fill(host, group, self);
    if (status) {
#ifdef FAULT_error_then_usable_or_poisoned
        failed_before = 1;
#endif
#ifdef FAULT_destroy_after_failed_create
        memset(malloc(16384), 1, 16384);
#else
        destroy(self);
#endif
        return status;
    }
    *out = self;
    return FUSION_OK;
}

/* ---- handling ---- */

static fusion_status plan(void *given, const fusion_host *host, uint64_t m, fusion_plan *out) {
    const instance *self = given;
    (void)host;
    out->scratch_bytes = KERNEL == FUSION_KERNEL_ELEMENTWISE ? 2048 * sizeof(double) : 64 + self->members[m].elements * sizeof(double);
#if KERNEL == 3
    for (uint64_t i = 0; i < self->n_members; i++)
        if (64 + self->members[i].elements * sizeof(double) > out->scratch_bytes)
            out->scratch_bytes = 64 + self->members[i].elements * sizeof(double);
#endif
#ifdef FAULT_plan_sane
    out->reserved = 7;
#endif
    return FUSION_OK;
}

#if KERNEL == 1 && defined(OBSERVE)

typedef struct state {
    double sum;
    uint64_t count;
} state;

static fusion_status state_new(void *given, const fusion_host *host, void **out) {
    (void)given;
    if (!(*out = calloc(1, sizeof(state)))) return refuse(host, FUSION_OUT_OF_MEMORY, "no memory", "");
    return FUSION_OK;
}

static void state_free(void *given, void *state) {
    (void)given;
    free(state);
}

static uint32_t observing(void *given) { return ((instance *)given)->passes < 2; }

/* A sample: every second stretch. */
static uint32_t wants(void *given, uint64_t m, uint64_t tile) {
    (void)given, (void)m;
    return tile % 2 == 0;
}

static fusion_status observe(void *given, const fusion_call *call, void *into) {
    const instance *self = given;
    state *to = into;
    const double mean = self->passes == 0 ? 0 : self->sum / (double)(self->count ? self->count : 1);
    for (uint64_t i = 0; i < call->n_inputs; i++) {
        const float *x = call->inputs[i].dl.data;
        for (int64_t j = 0; j < call->inputs[i].dl.shape[0]; j++) {
            if (!isfinite(x[j])) continue;
            to->sum += self->passes == 0 ? (double)x[j] : fabs((double)x[j] - mean);
            to->count++;
        }
    }
#ifdef FAULT_worker_invariant
    if (!pthread_equal(pthread_self(), self->maker)) to->sum += 1000;
#endif
    return FUSION_OK;
}

static fusion_status absorb(void *given, const fusion_host *host, void *from) {
    instance *self = given;
    state *of = from;
    (void)host;
    if (self->passes == 0) self->sum += of->sum, self->count += of->count;
    else self->deviation += of->sum;
#ifndef FAULT_state_blank_after_absorb
    memset(of, 0, sizeof *of);
#endif
    return FUSION_OK;
}

static fusion_status pass_end(void *given, const fusion_host *host) {
    (void)host;
    ((instance *)given)->passes++;
    return FUSION_OK;
}

static void state_bytes(void *given, uint64_t *bytes) {
    (void)given;
    bytes[0] = sizeof(instance);
    bytes[1] = sizeof(state);
}
#endif

/* ---- arithmetic ---- */

#if defined(FAULT_denormals)
static float flushed(float x) { return fabsf(x) < 1.17549435e-38f ? NAN : x; }
#else
#define flushed(x) (x)
#endif

#if defined(FAULT_parallel_calls)
static volatile int inside;
#endif
#if defined(FAULT_chunk_invariant) || defined(FAULT_same_seed_same_bits)
static float calls;
#endif

/* The mean of element `i` of a member's inputs. */
static double mean(const member *of, float *const *x, uint64_t i) {
    double sum = 0;
    for (uint64_t j = 0; j < of->n_inputs; j++)
        if (of->weights[j] != 0) sum += of->weights[j] * (double)flushed(x[j][i]);
#ifdef FAULT_commutative
    sum += 0.01 * (double)x[0][i];
#endif
#ifdef FAULT_affine
    sum *= 1.01;
#endif
#ifdef FAULT_scale_equivariant
    sum += 0.01;
#endif
#ifdef FAULT_idempotent_on_equal_inputs
    sum *= 1.01;
#endif
    return sum;
}

static fusion_status look(const float *x, int64_t n) {
    (void)x, (void)n;
#ifdef FAULT_nan_and_inf_in
    for (int64_t i = 0; i < n; i++)
        if (x[i] != x[i]) abort();
#endif
#ifdef FAULT_f32_extremes
    for (int64_t i = 0; i < n; i++)
        if (fabsf(x[i]) > 1e35f && isfinite(x[i])) abort();
#endif
#ifdef FAULT_least_aligned_inputs
    if ((uintptr_t)x % 16) abort();
#endif
#ifdef FAULT_one_element
    if (n == 1 && x[1] == 42) return FUSION_FAILED;
#endif
#ifdef FAULT_inputs_unchanged
    if (n > 2) ((float *)(uintptr_t)x)[2] = 7;
#endif
    return FUSION_OK;
}

static int64_t length(const fusion_dltensor *of) {
    int64_t n = 1;
    for (int32_t d = 0; d < of->ndim; d++) n *= of->shape[d];
    return n;
}

#if KERNEL == 2 || KERNEL == 3
typedef struct job {
    const member *of;
    float *const *x;
    double *scratch;
    uint64_t n;
} job;

static fusion_status part(void *data, uint64_t i, uint32_t worker) {
    const job *self = data;
    (void)worker;
    for (uint64_t j = 256 * i; j < self->n && j < 256 * (i + 1); j++) self->scratch[j] = mean(self->of, self->x, j);
    return FUSION_OK;
}

/* With the host's threads where it offers them. */
static void compute(const fusion_call *call, job *work) {
    const fusion_str id = TEXT("fusion.threads/1");
    const fusion_threads_v1 *threads = call->host->service(call->host->ctx, id);
    const uint64_t parts = (work->n + 255) / 256;
#ifdef FAULT_missing_service_refused_cleanly
    threads->for_each(threads->ctx, parts, part, work);
#else
    if (threads) threads->for_each(threads->ctx, parts, part, work);
    else
        for (uint64_t i = 0; i < parts; i++) part(work, i, 0);
#endif
}
#endif

#if KERNEL != 4
static fusion_status apply(void *given, const fusion_call *call) {
    const instance *self = given;
    uint64_t first = 0;
#ifdef FAULT_cancel_within_200ms
    usleep(600000);
#endif
#ifdef FAULT_timed_out
    for (;;) usleep(1000);
#endif
#ifdef FAULT_error_then_usable_or_poisoned
    if (failed_before) return refuse(call->host, FUSION_FAILED, "a call before failed", "");
#endif
#ifdef FAULT_parallel_calls
    if (inside++) return refuse(call->host, FUSION_FAILED, "two at a time", "");
    usleep(500);
#endif
#ifdef FAULT_no_pointer_kept_after_call
    (void)*(const volatile uint64_t *)&self->kept->seed; /* harmless as long as nobody takes the memory away */
#endif
    for (uint64_t o = 0; o < call->n_outputs; o++) {
        const fusion_tensor *to = &call->outputs[o];
        const uint64_t n = (uint64_t)length(&to->dl);
        if (to->member >= self->n_members) return refuse(call->host, FUSION_FAILED, "there is no such member", "");
        const member *of = &self->members[to->member];
        float *out = to->dl.data, **x = calloc(of->n_inputs, sizeof *x);
        double *scratch = call->scratch;
        if (!x) return refuse(call->host, FUSION_OUT_OF_MEMORY, "no memory", "");
        for (uint64_t i = 0; i < of->n_inputs; i++) {
            x[i] = call->inputs[first + i].dl.data;
            if (look(x[i], (int64_t)n)) return FUSION_FAILED;
        }
        first += of->n_inputs;
#if KERNEL == 1
        for (uint64_t i = 0; i < n; i++) scratch[i] = mean(of, x, i);
#else
        job work = { of, x, scratch, n };
        compute(call, &work);
#endif
        for (uint64_t i = 0; i < n; i++) out[i] = (float)scratch[i];
#ifdef OBSERVE
        const double spread = self->count ? self->deviation / (double)self->count : 0;
        for (uint64_t i = 0; i < n; i++) out[i] += (float)spread;
#endif
#ifdef RANDOM
        const fusion_str id = TEXT("fusion.rng/1");
        const fusion_rng_v1 *rng = call->host->service(call->host->ctx, id);
        if (!rng) {
            free(x);
            return refuse(call->host, FUSION_UNSUPPORTED, "the host has no `fusion.rng/1`", "");
        }
        for (uint64_t i = 0; i < n; i++) {
            float noise;
#ifdef FAULT_different_seed_differs
            rng->uniform_f32(rng->ctx, 1, 1, to->first + i, &noise, 1);
#else
            rng->uniform_f32(rng->ctx, self->seed, to->key, to->first + i, &noise, 1);
#endif
            out[i] += 0.01f * noise;
        }
#endif
#if defined(FAULT_chunk_invariant) || defined(FAULT_same_seed_same_bits)
        calls += 1;
        for (uint64_t i = 0; i < n; i++) out[i] += 0.001f * calls;
#endif
#if defined(FAULT_worker_invariant) && !defined(OBSERVE)
        if (!pthread_equal(pthread_self(), self->maker)) out[0] += 1;
#endif
#ifdef FAULT_canary_around_outputs
        out[n] = 0;
#endif
#ifdef FAULT_canary_around_scratch
        ((char *)scratch)[call->n_scratch] = 0;
#endif
#ifdef FAULT_reference_vectors
        if (n) out[0] += 1;
#endif
        free(x);
    }
#ifdef FAULT_parallel_calls
    inside--;
#endif
    return FUSION_OK;
}
#endif

#if KERNEL == 4
static fusion_status run(void *given, const fusion_call *call) {
    const instance *self = given;
    const fusion_host *host = call->host;
    const fusion_str id = TEXT("fusion.model/1");
    const fusion_model_v1 *models = host->service(host->ctx, id);
    if (!models) return refuse(host, FUSION_UNSUPPORTED, "the host has no `fusion.model/1`", "");
    for (uint64_t m = 0; m < self->n_members; m++) {
        const member *of = &self->members[m];
        float *out = malloc((of->elements + 1) * sizeof *out);
        double *sum = calloc(of->elements + 1, sizeof *sum);
        fusion_status status = out && sum ? FUSION_OK : FUSION_OUT_OF_MEMORY;
        if (host->cancelled(host->ctx)) status = FUSION_CANCELLED;
        for (uint32_t i = 0; !status && i < models->models(models->ctx); i++) {
            fusion_tensor x;
            if ((status = models->read(models->ctx, i, m, &x))) break;
            const float *values = x.dl.data;
            for (uint64_t j = 0; j < of->elements; j++) sum[j] += of->weights[i] * (double)values[j];
            models->release(models->ctx, &x);
        }
        for (uint64_t j = 0; !status && j < of->elements; j++) out[j] = (float)sum[j];
#ifdef FAULT_every_member_written
        if (m > 0)
#endif
        if (!status) status = models->write(models->ctx, m, out, of->elements);
        free(out);
        free(sum);
        if (status) return refuse(host, status, status == FUSION_CANCELLED ? "stopped" : "a model cannot be read", "");
    }
    return FUSION_OK;
}
#endif

/* ---- the description ---- */

static const fusion_port ports[] = {
#ifdef DELTA
    {
        .struct_size = sizeof(fusion_port),
        .name = TEXT("base"),
        .doc = TEXT("the model that the others come from"),
        .space = FUSION_SPACE_WEIGHTS,
        .flags = 0,
        .min = 1,
        .max = 1,
    },
#endif
    {
        .struct_size = sizeof(fusion_port),
        .name = TEXT("from"),
        .doc = TEXT("the models"),
#ifdef DELTA
        .space = FUSION_SPACE_DELTA,
#else
        .space = FUSION_SPACE_WEIGHTS,
#endif
        .flags = FUSION_PORT_SETTINGS,
#ifdef FAULT_ports_fit_category
        .min = 1,
        .max = 1,
#else
        .min = 1,
        .max = UINT32_MAX,
#endif
    },
};

#define WEIGHT(more) "\"weight\": {\"type\": \"number\", \"minimum\": 0, \"maximum\": 10, \"default\": 1, " more "\"x-input\": true, \"x-varies\": true}"
#define DOC "\"description\": \"how much this model counts\", "
#define POWER "\"power\": {\"type\": \"number\", \"exclusiveMinimum\": 0, \"maximum\": 4, \"default\": 1, \"description\": \"weights are raised to it\"}"
#define ROUNDING ", \"rounding\": {\"oneOf\": [{\"const\": \"exact\"}, {\"const\": \"plain\"}], \"default\": \"plain\", \"description\": \"how sums are rounded\"}"

#if defined(FAULT_schema_in_profile)
#define SCHEMA "{\"type\": \"object\", \"properties\": {\"power\": {\"type\": \"object\", \"description\": \"nested\"}}, \"additionalProperties\": false}"
#elif defined(FAULT_schema_has_docs_and_defaults)
#define SCHEMA "{\"type\": \"object\", \"properties\": {" WEIGHT("") ", " POWER ROUNDING "}, \"additionalProperties\": false}"
#elif defined(NUMBERS)
#define SCHEMA "{\"type\": \"object\", \"properties\": {" WEIGHT(DOC) ", " POWER "}, \"additionalProperties\": false}"
#else
#define SCHEMA "{\"type\": \"object\", \"properties\": {" WEIGHT(DOC) ", " POWER ROUNDING "}, \"additionalProperties\": false}"
#endif

#if defined(RANDOM)
#define TRAITS FUSION_TRAIT_DETERMINISTIC
#elif defined(OBSERVE)
#define TRAITS (FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE)
#else
#define TRAITS \
    (FUSION_TRAIT_DETERMINISTIC | FUSION_TRAIT_COMMUTATIVE | FUSION_TRAIT_IDEMPOTENT | FUSION_TRAIT_AFFINE | \
     FUSION_TRAIT_SCALE_EQUIVARIANT)
#endif

#ifdef NUMBERS
static const fusion_str numbers[] = { TEXT("weight"), TEXT("power") };
#endif

#define METHOD { \
    .struct_size = sizeof(fusion_method), \
    .id = TEXT("faulty"), \
    .title = TITLE, \
    .formula = TEXT("θ = Σ wᵢᵖ θᵢ / Σ wᵢᵖ"), \
    .citation = CITATION, \
    .params_schema = TEXT(SCHEMA), \
    .version = 1, \
    .category = 3, \
    .kernel = KERNEL, \
    .threading = FUSION_THREADING_PARALLEL, \
    .needs = NEEDS | UNKNOWN_NEED, \
    .traits = TRAITS, \
    .ports = ports, \
    .n_ports = sizeof(ports) / sizeof(ports[0]), \
    .create = create, \
    .destroy = destroy, \
    .plan = plan, \
    MORE \
}

#ifdef FAULT_text_utf8
#define TITLE TEXT("m\xff\xfe" "an")
#else
#define TITLE TEXT("weighted mean of models")
#endif
#ifdef FAULT_citation_present
#define CITATION TEXT("")
#else
#define CITATION TEXT("none, a test of fusion, 2025")
#endif
#ifdef RANDOM
#define NEEDS FUSION_NEEDS_RNG
#else
#define NEEDS 0
#endif
#if KERNEL == 4
#define MORE .run = run,
#elif defined(OBSERVE)
#define MORE \
    .apply = apply, .observe_passes = 2, .observing = observing, .wants = wants, .state_new = state_new, .observe = observe, \
    .absorb = absorb, .pass_end = pass_end, .state_free = state_free, .state_bytes = state_bytes,
#elif defined(NUMBERS)
#define MORE .apply = apply, .numbers = numbers, .n_numbers = 2,
#elif defined(FAULT_functions_fit_kernel)
#define MORE .run = NULL,
#else
#define MORE .apply = apply,
#endif

static const fusion_method methods[] = {
    METHOD,
#ifdef FAULT_ids_unique
    METHOD,
#endif
};

static const fusion_plugin plugin = {
    .struct_size = sizeof(fusion_plugin),
    .built_major = FUSION_ABI_MAJOR,
    .built_minor = FUSION_ABI_MINOR,
#ifdef FAULT_old_host_minor
    .needs_minor = 9,
#else
    .needs_minor = 0,
#endif
    .id = TEXT("org.fusion.tests.faulty"),
    .version = TEXT("1.0.0"),
    .license = TEXT("MIT OR Apache-2.0"),
#ifdef FAULT_panic_contained
    .build_info = TEXT("fusion-sdk, or so it says"),
#else
    .build_info = TEXT("C"),
#endif
    .methods = methods,
    .n_methods = sizeof(methods) / sizeof(methods[0]),
};

/* ---- loading ---- */

#ifdef FAULT_load_now_local
int function_that_nobody_has(void);
#endif
#ifdef FAULT_single_entry_symbol
int fusion_plugin_helper(void);
int fusion_plugin_helper(void) { return 1; }
#endif
#ifdef FAULT_no_constructor_work
__attribute__((constructor)) static void work(void) { usleep(120000); }
#endif

const fusion_plugin *FUSION_ENTRY(const fusion_host *host);

const fusion_plugin *FUSION_ENTRY(const fusion_host *host) {
    (void)host, (void)look, (void)length, (void)mean, (void)parse, (void)fill;
#if KERNEL != 4
    (void)apply;
#endif
#ifdef FAULT_load_now_local
    if (function_that_nobody_has()) return NULL;
#endif
#ifdef FAULT_entry_twice_same_result
    static fusion_plugin copies[2];
    static int next;
    copies[next % 2] = plugin;
    return &copies[next++ % 2];
#endif
#ifdef FAULT_no_host_call_before_create
    const fusion_str hello = TEXT("hello");
    host->log(host->ctx, 2, hello);
#endif
    return &plugin;
}
