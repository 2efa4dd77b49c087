/* Medians and trimmed means that are large enough to be written past the caches, against plain
 * loops: wherever the result starts, and nothing beside it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

/* All models are views into one array, each a few elements on: 35 MB and more with the result. */
enum {
    N_MODELS = 16,
    STEP = 48,
    N_SHARED = N_MODELS * STEP,
    N = 520011,
    LINE = 16,
    N_RESULT = N + 2 * LINE
};

struct large {
    struct guarded shared, result;
    const float *models[N_MODELS];
    float *expected[2]; /* by trims */
};

static const size_t trims[2] = {(N_MODELS - 1) / 2, 3};

/* In the order of totalOrder; no NaN and no two zeros here, which test_robust.c has. */
static void expect(struct large *large, size_t i) {
    float sorted[N_MODELS];
    for (size_t k = 0; k < N_MODELS; k++) {
        const float value = large->models[k][i];
        size_t at = k;
        for (; at > 0 && value < sorted[at - 1]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = value;
    }
    for (int t = 0; t < 2; t++) {
        volatile float sum = sorted[trims[t]];
        for (size_t k = trims[t] + 1; k < N_MODELS - trims[t]; k++) {
            sum = sum + sorted[k];
        }
        large->expected[t][i] = sum / (float)(N_MODELS - 2 * trims[t]);
    }
}

static struct large large_new(void) {
    struct large large;
    float *shared = guarded_floats(&large.shared, N + N_SHARED, GUARD_END);
    guarded_floats(&large.result, N_RESULT, GUARD_END);
    for (size_t i = 0; i < N + N_SHARED; i++) {
        shared[i] = (float)(1 + random_below(1u << 20));
    }
    for (size_t k = 0; k < N_MODELS; k++) {
        large.models[k] = shared + k * STEP;
    }
    for (int t = 0; t < 2; t++) {
        large.expected[t] = checked_alloc(N * sizeof(float));
    }
    for (size_t i = 0; i < N; i++) {
        expect(&large, i);
    }
    return large;
}

/* Into the result from its `skipped`-th element on. */
static void check_place(const struct large *large, size_t skipped, int t) {
    float *result = (float *)(void *)large->result.at, *dst = result + skipped;
    const float mark = -7;
    for (size_t i = 0; i < N_RESULT; i++) {
        result[i] = mark;
    }
    CHECK(learnae_trimmed_mean(dst, large->models, N_MODELS, trims[t], N, NULL) == LEARNAE_OK);
    CHECK(memcmp(dst, large->expected[t], N * sizeof *dst) == 0);
    for (size_t i = 0; i < N_RESULT; i++) {
        CHECK((i >= skipped && i < skipped + N) || result[i] == mark);
    }
}

static struct large sample;

static void test_places(void) {
    for (size_t skipped = 0; skipped <= LINE; skipped++) {
        check_place(&sample, skipped, (int)(skipped % 2));
    }
    CHECK(learnae_set_threads(3) == LEARNAE_OK);
    check_place(&sample, 5, 0);
    check_place(&sample, 2 * LINE, 1);
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
}

/* A result that is one of the models: the caches have it already. */
static void test_in_place(void) {
    const float *models[N_MODELS];
    float *own = (float *)(void *)sample.result.at;
    memcpy(models, sample.models, sizeof models);
    memcpy(own, models[3], N * sizeof *own);
    models[3] = own;
    CHECK(learnae_median(own, models, N_MODELS, N, NULL) == LEARNAE_OK);
    CHECK(memcmp(own, sample.expected[0], N * sizeof *own) == 0);
}

int main(void) {
    sample = large_new();
    check_every_isa(test_places);
    check_every_isa(test_in_place);
    free(sample.expected[0]);
    free(sample.expected[1]);
    guarded_free(&sample.shared);
    guarded_free(&sample.result);
    return 0;
}
