/* Medians and trimmed means that are large enough to be written past the caches, against plain
 * loops: wherever the result starts, and nothing beside it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

/* All models are views into one array, each a few elements on: 35 MB and more with the result. Few
 * models are sorted at once, many in passes. */
enum { MOST_MODELS = 16, STEP = 48, LINE = 16 };

struct large {
    size_t n_models, n;
    struct guarded shared, result;
    const float *models[MOST_MODELS];
    size_t trims[2]; /* a median's, and another */
    float *expected[2];
};

/* In the order of totalOrder; no NaN and no two zeros here, which test_robust.c has. */
static void expect(struct large *large, size_t i) {
    float sorted[MOST_MODELS];
    for (size_t k = 0; k < large->n_models; k++) {
        const float value = large->models[k][i];
        size_t at = k;
        for (; at > 0 && value < sorted[at - 1]; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = value;
    }
    for (int t = 0; t < 2; t++) {
        const size_t trim = large->trims[t];
        volatile float sum = sorted[trim];
        for (size_t k = trim + 1; k < large->n_models - trim; k++) {
            sum = sum + sorted[k];
        }
        large->expected[t][i] = sum / (float)(large->n_models - 2 * trim);
    }
}

static struct large large_new(size_t n_models, size_t n) {
    struct large large = {.n_models = n_models, .n = n, .trims = {(n_models - 1) / 2, 1}};
    const size_t n_shared = n + n_models * STEP;
    float *shared = guarded_floats(&large.shared, n_shared, GUARD_END);
    guarded_floats(&large.result, n + 2 * LINE, GUARD_END);
    for (size_t i = 0; i < n_shared; i++) {
        shared[i] = (float)(1 + random_below(1u << 20));
    }
    for (size_t k = 0; k < n_models; k++) {
        large.models[k] = shared + k * STEP;
    }
    for (int t = 0; t < 2; t++) {
        large.expected[t] = checked_alloc(n * sizeof(float));
    }
    for (size_t i = 0; i < n; i++) {
        expect(&large, i);
    }
    return large;
}

static void large_free(struct large *large) {
    free(large->expected[0]);
    free(large->expected[1]);
    guarded_free(&large->shared);
    guarded_free(&large->result);
}

/* Into the result from its `skipped`-th element on. */
static void check_place(const struct large *large, size_t skipped, int t) {
    const size_t n = large->n, n_result = n + 2 * LINE;
    float *result = (float *)(void *)large->result.at, *dst = result + skipped;
    const float mark = -7;
    for (size_t i = 0; i < n_result; i++) {
        result[i] = mark;
    }
    CHECK(learnae_trimmed_mean(dst, large->models, large->n_models, large->trims[t], n, NULL) ==
          LEARNAE_OK);
    CHECK(memcmp(dst, large->expected[t], n * sizeof *dst) == 0);
    for (size_t i = 0; i < n_result; i++) {
        CHECK((i >= skipped && i < skipped + n) || result[i] == mark);
    }
}

static struct large few, many;

static void test_places(void) {
    for (size_t skipped = 0; skipped <= LINE; skipped++) {
        check_place(&many, skipped, (int)(skipped % 2));
    }
    check_place(&few, 0, 0);
    check_place(&few, 3, 1);
    CHECK(learnae_set_threads(3) == LEARNAE_OK);
    check_place(&few, 7, 0);
    check_place(&many, 5, 0);
    check_place(&many, 2 * LINE, 1);
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
}

/* A result that is one of the models, which is written as it is read. */
static void test_in_place(void) {
    const float *models[MOST_MODELS];
    float *own = (float *)(void *)many.result.at;
    memcpy(models, many.models, sizeof models);
    memcpy(own, models[3], many.n * sizeof *own);
    models[3] = own;
    CHECK(learnae_median(own, models, many.n_models, many.n, NULL) == LEARNAE_OK);
    CHECK(memcmp(own, many.expected[0], many.n * sizeof *own) == 0);
}

int main(void) {
    few = large_new(5, 1400011);
    many = large_new(MOST_MODELS, 520011);
    check_every_isa(test_places);
    check_every_isa(test_in_place);
    large_free(&few);
    large_free(&many);
    return 0;
}
