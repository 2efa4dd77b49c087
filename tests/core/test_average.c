/* learnae_average() and learnae_mix(), bit by bit against plain loops.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

enum { MAX_MODELS = 11 };

/* volatile: a product is rounded before it is added, whatever the compiler would like. */
static float weighted_sum(const float *const *models, const float *weights, size_t n_models,
                          size_t i) {
    volatile float sum = weights[0] * models[0][i];
    for (size_t k = 1; k < n_models; k++) {
        const volatile float product = weights[k] * models[k][i];
        sum = sum + product;
    }
    return canonical(sum);
}

static void check_average(size_t n, size_t n_models, size_t in_place, enum guard guard) {
    struct guarded buffers[MAX_MODELS], own;
    const float *models[MAX_MODELS];
    float weights[MAX_MODELS];
    for (size_t k = 0; k < n_models; k++) {
        float *model = guarded_floats(&buffers[k], n, guard);
        fill_floats(model, n, random_below(2) ? FILL_ANY : FILL_FINITE);
        models[k] = model;
        weights[k] = random_below(9) == 0 ? random_value(FILL_ANY) : random_float();
    }
    if (n_models > 2 && random_below(3) == 0) {
        models[n_models - 1] = models[random_below(n_models)]; /* a model listed twice */
    }
    float *expected = checked_alloc(n * sizeof *expected);
    for (size_t i = 0; i < n; i++) {
        expected[i] = weighted_sum(models, weights, n_models, i);
    }
    float *separate = guarded_floats(&own, n, guard);
    float *dst = in_place < n_models ? (float *)(void *)buffers[in_place].at : separate;
    learnae_message message;
    CHECK(learnae_average(dst, models, weights, n_models, n, &message) == LEARNAE_OK);
    CHECK(n == 0 || memcmp(dst, expected, n * sizeof *dst) == 0);
    free(expected);
    guarded_free(&own);
    for (size_t k = 0; k < n_models; k++) {
        guarded_free(&buffers[k]);
    }
}

static void test_average(void) {
    for (size_t n = 0; n < 70; n++) {
        for (size_t n_models = 1; n_models <= MAX_MODELS; n_models++) {
            check_average(n, n_models, random_below(n_models + 1), n % 2 ? GUARD_END : GUARD_START);
        }
    }
    /* around the tile of 16,384, in place of every model in turn: those of later passes too */
    static const size_t lengths[] = {16383, 16384, 16385, 40000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t in_place = 0; in_place <= MAX_MODELS; in_place++) {
            check_average(lengths[i], MAX_MODELS, in_place, GUARD_END);
        }
    }
}

static void test_mix(void) {
    for (size_t n = 0; n < 40; n++) {
        struct guarded buffers[2];
        float *params = guarded_floats(&buffers[0], n, GUARD_END);
        float *mean = guarded_floats(&buffers[1], n, GUARD_END);
        float expected[40];
        const float rate = n == 3 ? 0.0f : n == 4 ? 1.0f : (random_float() + 1) / 2;
        fill_floats(params, n, FILL_ANY);
        fill_floats(mean, n, FILL_ANY);
        const volatile float kept = 1.0f - rate;
        const float *const models[2] = {params, mean};
        const float weights[2] = {kept, rate};
        for (size_t i = 0; i < n; i++) {
            expected[i] = weighted_sum(models, weights, 2, i);
        }
        CHECK(learnae_mix(params, mean, rate, n, NULL) == LEARNAE_OK);
        CHECK(n == 0 || memcmp(params, expected, n * sizeof *params) == 0);
        guarded_free(&buffers[0]);
        guarded_free(&buffers[1]);
    }
}

/* What the header says of NaN and infinity, spelled out. */
static void test_special(void) {
    const float inf = float_from_bits(0x7f800000);
    const float a[4] = {float_from_bits(0xffc12345), inf, inf, -0.0f}, b[4] = {1, -inf, 2, 0};
    const float *const models[2] = {a, b};
    const float weights[2] = {0, 1}, ones[2] = {1, 1};
    float out[4];
    CHECK(learnae_average(out, models, weights, 2, 4, NULL) == LEARNAE_OK);
    CHECK(float_bits(out[0]) == 0x7fc00000 && float_bits(out[1]) == 0x7fc00000); /* 0 * inf */
    CHECK(float_bits(out[2]) == 0x7fc00000 && float_bits(out[3]) == 0);
    CHECK(learnae_average(out, models, ones, 2, 4, NULL) == LEARNAE_OK);
    CHECK(float_bits(out[0]) == 0x7fc00000 && float_bits(out[1]) == 0x7fc00000); /* inf - inf */
    CHECK(out[2] == inf && float_bits(out[3]) == 0);
    CHECK(learnae_average(out, models, ones, 1, 4, NULL) == LEARNAE_OK);
    CHECK(float_bits(out[0]) == 0x7fc00000 && float_bits(out[3]) == 0x80000000);
    /* products are rounded before they are added: fused, this would be 2^-24 squared */
    const float x[1] = {1 + 0x1p-12f}, y[1] = {1};
    const float *const rounding[2] = {y, x};
    const float factors[2] = {-(1 + 0x1p-11f), 1 + 0x1p-12f};
    CHECK(learnae_average(out, rounding, factors, 2, 1, NULL) == LEARNAE_OK && out[0] == 0);
}

int main(void) {
    check_every_isa(test_average);
    check_every_isa(test_mix);
    check_every_isa(test_special);
    return 0;
}
