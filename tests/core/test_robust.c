/* Medians, trimmed means, distances, Krum and clipping, against plain loops; models and payloads
 * end at unmapped pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

#include <math.h>

enum { SCHEMA_FILL = 7 };

struct set {
    struct guarded buffers[LEARNAE_ROBUST_MAX];
    const float *models[LEARNAE_ROBUST_MAX];
    size_t n_models, n;
};

/* All end at an unmapped page, and so start alike; APART: every other one starts at one. */
enum places { APART, ALIKE };

static void set_new(struct set *set, size_t n_models, size_t n, enum fill fill,
                    enum places places) {
    set->n_models = n_models;
    set->n = n;
    for (size_t k = 0; k < n_models; k++) {
        float *model =
            guarded_floats(&set->buffers[k], n, places == APART && k % 2 ? GUARD_START : GUARD_END);
        fill_floats(model, n, fill);
        for (size_t i = 0; k > 0 && i < n; i++) { /* ties */
            model[i] = random_below(4) == 0 ? set->models[random_below(k)][i] : model[i];
        }
        set->models[k] = model;
    }
}

static void set_free(struct set *set) {
    for (size_t k = 0; k < set->n_models; k++) {
        guarded_free(&set->buffers[k]);
    }
}

/* totalOrder: the sign decides first, then magnitudes, those of negative numbers reversed. */
static bool comes_before(float a, float b) {
    const uint32_t x = float_bits(a), y = float_bits(b);
    const bool negative = x >> 31 != 0;
    if (negative != (y >> 31 != 0)) {
        return negative;
    }
    return negative ? x > y : x < y;
}

static float expected_mean(const struct set *set, size_t i, size_t n_trim) {
    float sorted[LEARNAE_ROBUST_MAX];
    for (size_t k = 0; k < set->n_models; k++) {
        size_t at = k;
        for (; at > 0 && comes_before(set->models[k][i], sorted[at - 1]); at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = set->models[k][i];
    }
    volatile float sum = sorted[n_trim];
    for (size_t k = n_trim + 1; k < set->n_models - n_trim; k++) {
        sum = sum + sorted[k];
    }
    return canonical(sum / (float)(set->n_models - 2 * n_trim));
}

static void check_means(size_t n_models, size_t n, enum fill fill, enum places places) {
    struct set set;
    struct guarded own;
    set_new(&set, n_models, n, fill, places);
    float *separate = guarded_floats(&own, n, GUARD_END);
    float *expected = checked_alloc(n * sizeof *expected);
    const size_t middle = (n_models - 1) / 2;
    const size_t trims[3] = {middle, 0, random_below(middle + 1)};
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < n; i++) {
            expected[i] = expected_mean(&set, i, trims[t]);
        }
        CHECK(learnae_trimmed_mean(separate, set.models, n_models, trims[t], n, NULL) ==
              LEARNAE_OK);
        CHECK(n == 0 || memcmp(separate, expected, n * sizeof *expected) == 0);
    }
    const size_t place = random_below(n_models);
    float *dst = (float *)(void *)set.buffers[place].at;
    for (size_t i = 0; i < n; i++) {
        expected[i] = expected_mean(&set, i, middle);
    }
    CHECK(learnae_median(dst, set.models, n_models, n, NULL) == LEARNAE_OK);
    CHECK(n == 0 || memcmp(dst, expected, n * sizeof *expected) == 0);
    free(expected);
    guarded_free(&own);
    set_free(&set);
}

static void test_means(void) {
    for (size_t n_models = 1; n_models <= LEARNAE_ROBUST_MAX; n_models++) {
        for (size_t n = 0; n < 40; n += n_models < 20 ? 1 : 13) {
            check_means(n_models, n, n % 3 == 0 ? FILL_ANY : FILL_FINITE, APART);
        }
    }
    check_means(5, 16400, FILL_ANY, APART);
    check_means(16, 33000, FILL_ANY, APART);
    check_means(23, 16411, FILL_ANY, APART);
}

/* At any offset in a line of the cache, with lengths from less than a line, and around a tile. */
static void test_means_of_models_placed_alike(void) {
    static const size_t counts[] = {2, 5, 8, 9, 12, 15, 16, 17};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (size_t n = 0; n < 100; n++) {
            check_means(counts[c], n, n % 3 == 0 ? FILL_ANY : FILL_FINITE, ALIKE);
        }
    }
    check_means(9, 16384 - 17, FILL_ANY, ALIKE);
    check_means(16, 16384 + 17, FILL_ANY, ALIKE);
}

/* What the header says of NaN, infinities and zeros, spelled out. */
static void test_special(void) {
    const float inf = float_from_bits(0x7f800000), nan = float_from_bits(0x7fc12345);
    const float negative_nan = float_from_bits(0xff812345);
    const float a[5] = {nan, nan, inf, 0.0f, 1}, b[5] = {1, negative_nan, -inf, -0.0f, 2};
    const float c[5] = {2, 5, 0, -0.0f, nan}, d[5] = {0, nan, inf, 0.0f, negative_nan};
    const float *const models[4] = {a, b, c, d};
    float out[5];
    CHECK(learnae_median(out, models, 3, 5, NULL) == LEARNAE_OK);
    CHECK(out[0] == 2 && out[1] == 5 && out[2] == 0);
    CHECK(float_bits(out[3]) == 0x80000000u && out[4] == 2);
    CHECK(learnae_median(out, models, 4, 5, NULL) == LEARNAE_OK);
    CHECK(out[0] == 1.5f && float_bits(out[1]) == 0x7fc00000u && out[2] == inf && out[4] == 1.5f);
    CHECK(float_bits(out[3]) == 0); /* -0 + 0 */
    CHECK(learnae_trimmed_mean(out, models, 4, 0, 5, NULL) == LEARNAE_OK);
    CHECK(float_bits(out[0]) == 0x7fc00000u && float_bits(out[2]) == 0x7fc00000u);
    CHECK(learnae_median(out, models, 1, 5, NULL) == LEARNAE_OK);
    CHECK(float_bits(out[0]) == 0x7fc00000u && out[4] == 1);
}

/* ---- Distances --------------------------------------------------------------------------- */

static double expected_run(const float *a, const float *b, size_t n) {
    volatile double lane[8] = {0};
    for (size_t i = 0; i < n && i < 256; i++) {
        const volatile double d = (double)a[i] - (double)b[i];
        lane[i % 8] = fma(d, d, lane[i % 8]);
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static double expected_distance(const float *a, const float *b, size_t n_models, size_t n) {
    const size_t fit = 8192 / (n_models * n_models), n_parts = fit < 16 ? fit : 16;
    const size_t part_runs = ((n + 255) / 256 + n_parts - 1) / n_parts;
    volatile double total = 0, part = 0;
    for (size_t run = 0; run * 256 < n; run++) {
        if (run % part_runs == 0) {
            total = total + part;
            part = 0;
        }
        part = part + expected_run(a + run * 256, b + run * 256, n - run * 256);
    }
    return total + part;
}

static void check_distances(size_t n_models, size_t n, enum fill fill) {
    struct set set;
    double *got = checked_alloc(n_models * n_models * sizeof *got);
    set_new(&set, n_models, n, fill, APART);
    CHECK(learnae_distances(got, set.models, n_models, n, NULL) == LEARNAE_OK);
    for (size_t i = 0; i < n_models; i++) {
        for (size_t j = 0; j < n_models; j++) {
            const double expected =
                i == j ? 0 : expected_distance(set.models[i], set.models[j], n_models, n);
            uint64_t bits;
            memcpy(&bits, &got[i * n_models + j], sizeof bits);
            CHECK(expected != expected ? bits == 0x7ff8000000000000u
                                       : got[i * n_models + j] == expected);
        }
    }
    free(got);
    set_free(&set);
}

static void test_distances(void) {
    for (size_t n_models = 1; n_models <= 18; n_models++) {
        check_distances(n_models, random_below(600), n_models % 2 ? FILL_ANY : FILL_FINITE);
    }
    check_distances(3, 0, FILL_PLAIN);
    check_distances(LEARNAE_ROBUST_MAX, 300, FILL_FINITE);
    check_distances(LEARNAE_ROBUST_MAX, 1000, FILL_FINITE);
    check_distances(5, 16 * 256 * 2 + 1, FILL_FINITE);
}

/* Large enough for the pool. */
static void test_distances_by_threads(void) {
    for (size_t n_threads = 1; n_threads <= 4; n_threads += 1) {
        CHECK(learnae_set_threads(n_threads) == LEARNAE_OK);
        check_distances(5, 300001, FILL_FINITE);
        check_distances(24, 20000, FILL_ANY);
    }
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
}

/* ---- The same from payloads --------------------------------------------------------------- */

static struct guarded payload_of(const float *model, size_t n, size_t k, learnae_payload *payload) {
    const uint32_t codec = 1 + (uint32_t)(k % 4);
    uint8_t schema[LEARNAE_SCHEMA_NBYTES];
    size_t nbytes;
    memset(schema, SCHEMA_FILL, sizeof schema);
    CHECK(learnae_payload_nbytes(codec, 2, n, &nbytes, NULL) == LEARNAE_OK);
    struct guarded buffer = guarded_new(nbytes, GUARD_END);
    const float *const vectors[2] = {model, model};
    CHECK(learnae_payload_write(buffer.at, nbytes, codec, schema, vectors, 2, n, NULL) ==
          LEARNAE_OK);
    CHECK(learnae_payload_open(buffer.at, nbytes, n, payload, NULL) == LEARNAE_OK);
    return buffer;
}

/* Whatever a payload call gives must be what the decoded models give. */
static void check_payloads(size_t n_payloads, size_t n, bool with_own) {
    struct set set, decoded;
    struct guarded bytes[LEARNAE_ROBUST_MAX];
    learnae_payload views[LEARNAE_ROBUST_MAX];
    const learnae_payload *list[LEARNAE_ROBUST_MAX];
    const size_t n_models = n_payloads + with_own;
    set_new(&set, n_models, n, FILL_PLAIN, APART);
    set_new(&decoded, n_models, n, FILL_PLAIN, APART);
    for (size_t k = 0; k < n_models; k++) {
        float *values = (float *)(void *)decoded.buffers[k].at;
        memcpy(values, set.models[k], n * sizeof *values);
        if (k >= with_own) {
            const size_t p = k - with_own;
            bytes[p] = payload_of(set.models[k], n, p, &views[p]);
            list[p] = &views[p];
            CHECK(learnae_payload_decode(list[p], 1, values, NULL) == LEARNAE_OK);
        }
    }
    const float *own = with_own ? set.models[0] : NULL;
    const size_t n_trim = (n_models - 1) / 3;
    float *got = checked_alloc(n * sizeof *got), *expected = checked_alloc(n * sizeof *got);
    double *far = checked_alloc(2 * n_models * n_models * sizeof *far);
    CHECK(learnae_payload_median(got, own, list, n_payloads, 1, n, NULL) == LEARNAE_OK);
    CHECK(learnae_median(expected, decoded.models, n_models, n, NULL) == LEARNAE_OK);
    CHECK(memcmp(got, expected, n * sizeof *got) == 0);
    CHECK(learnae_payload_trimmed_mean(got, own, list, n_payloads, n_trim, 1, n, NULL) ==
          LEARNAE_OK);
    CHECK(learnae_trimmed_mean(expected, decoded.models, n_models, n_trim, n, NULL) == LEARNAE_OK);
    CHECK(memcmp(got, expected, n * sizeof *got) == 0);
    double *other = far + n_models * n_models;
    CHECK(learnae_payload_distances(far, own, list, n_payloads, 1, n, NULL) == LEARNAE_OK);
    CHECK(learnae_distances(other, decoded.models, n_models, n, NULL) == LEARNAE_OK);
    CHECK(memcmp(far, other, n_models * n_models * sizeof *far) == 0);
    free(got);
    free(expected);
    free(far);
    for (size_t p = 0; p < n_payloads; p++) {
        guarded_free(&bytes[p]);
    }
    set_free(&set);
    set_free(&decoded);
}

static void test_payloads(void) {
    for (size_t n_payloads = 1; n_payloads < 20; n_payloads++) {
        check_payloads(n_payloads, 1 + random_below(3000), n_payloads % 2);
    }
    check_payloads(5, 40000, true);
    check_payloads(LEARNAE_ROBUST_MAX, 700, false);
    check_payloads(LEARNAE_ROBUST_MAX - 1, 700, true);
}

/* ---- Rules -------------------------------------------------------------------------------- */

static void test_krum(void) {
    /* 0, 1, 2, 3 on a line at 0, 1, 3, 100: with one faulty of five, each has two neighbours. */
    static const double place[5] = {0, 1, 3, 100, 2};
    const double inf = (double)float_from_bits(0x7f800000);
    double far[25], scores[5];
    size_t selected[4];
    for (size_t i = 0; i < 25; i++) {
        far[i] = (place[i / 5] - place[i % 5]) * (place[i / 5] - place[i % 5]);
    }
    CHECK(learnae_krum(selected, scores, far, 5, 1, 4, NULL) == LEARNAE_OK);
    CHECK(scores[0] == 5 && scores[1] == 2 && scores[2] == 5 && scores[4] == 2);
    CHECK(scores[3] == 97 * 97 + 98 * 98);
    CHECK(selected[0] == 1 && selected[1] == 4 && selected[2] == 0 && selected[3] == 2);
    for (size_t j = 0; j < 5; j++) { /* a model of NaN is nobody's neighbour */
        far[5 + j] = far[5 * j + 1] = (double)float_from_bits(0x7fc00000);
    }
    CHECK(learnae_krum(selected, scores, far, 5, 1, 1, NULL) == LEARNAE_OK);
    CHECK(scores[1] == inf && selected[0] == 4 && scores[4] == 5);
    CHECK(learnae_krum(selected, NULL, far, 5, 1, 1, NULL) == LEARNAE_OK);
    learnae_message message;
    CHECK(learnae_krum(selected, NULL, far, 5, 2, 1, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_krum(selected, NULL, far, 2, 0, 1, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_krum(selected, NULL, far, 5, 1, 0, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_krum(selected, NULL, far, 5, 1, 5, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_krum(selected, NULL, far, 65, 1, 1, &message) == LEARNAE_ERR_ARGUMENT);
}

static void test_clip(void) {
    for (int repeat = 0; repeat < 20000; repeat++) {
        const uint64_t bits = random_bits() & 0x7fffffffffffffffu;
        double distance2;
        float weight = random_float(), clipped, own;
        memcpy(&distance2, &bits, sizeof distance2);
        if (repeat % 3 == 0) {
            distance2 = fabs((double)random_float());
            distance2 = repeat % 2 ? distance2 * distance2 : distance2;
        }
        const double radius = repeat % 5 ? sqrt(distance2) * fabs((double)random_float()) : 1e100;
        if (distance2 != distance2) {
            CHECK(learnae_clip(&clipped, &own, &distance2, &weight, 1, 1, NULL) ==
                  LEARNAE_ERR_NONFINITE);
            continue;
        }
        CHECK(learnae_clip(&clipped, &own, &distance2, &weight, 1, radius, NULL) == LEARNAE_OK);
        const double distance = sqrt(distance2);
        const float expected =
            (float)(distance <= radius ? (double)weight : (double)weight * (radius / distance));
        CHECK(clipped == expected && own == (float)(1.0 - (double)expected));
    }
    float weight = 1, clipped, own;
    const double far = 4;
    CHECK(learnae_clip(&clipped, &own, &far, &weight, 1, -1, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_clip(NULL, &own, NULL, NULL, 0, 1, NULL) == LEARNAE_OK && own == 1);
}

static void test_payload_clip(void) {
    enum { N = 3000 };
    float own[N], copy[N], near[N], away[N], clipped[2];
    const float weights[2] = {0.25f, 0.25f};
    learnae_payload views[2];
    fill_floats(own, N, FILL_PLAIN);
    for (size_t i = 0; i < N; i++) {
        near[i] = own[i] + 0.001f;
        away[i] = own[i] + (i % 2 ? 100.0f : -100.0f);
    }
    memcpy(copy, own, sizeof own);
    struct guarded bytes[2] = {payload_of(near, N, 0, &views[0]),
                               payload_of(away, N, 0, &views[1])};
    const learnae_payload *const list[2] = {&views[0], &views[1]};
    CHECK(learnae_payload_clip(own, list, weights, 2, 1, 0, N, clipped, NULL) == LEARNAE_OK);
    CHECK(clipped[0] == 0.25f && fabsf(clipped[1] * 100 * sqrtf(N) / 0.25f - 1) < 1e-5f);
    const float own_weight = (float)(1.0 - (double)clipped[0] - (double)clipped[1]);
    CHECK(learnae_payload_average(copy, own_weight, list, clipped, 2, 0, N, NULL) == LEARNAE_OK);
    CHECK(memcmp(own, copy, sizeof own) == 0);
    ((float *)(void *)(bytes[1].at + views[1].nbytes))[-64] = float_from_bits(0x7fc00000);
    CHECK(learnae_payload_clip(own, list, weights, 2, 1, 1, N, clipped, NULL) ==
          LEARNAE_ERR_NONFINITE);
    CHECK(memcmp(own, copy, sizeof own) == 0);
    guarded_free(&bytes[0]);
    guarded_free(&bytes[1]);
}

/* ---- Mistakes ----------------------------------------------------------------------------- */

static void test_mistakes(void) {
    float a[2] = {1, 2};
    double far[4];
    const float *const models[2] = {a, NULL};
    learnae_payload view;
    struct guarded bytes = payload_of(a, 2, 0, &view);
    const learnae_payload *const list[2] = {&view, NULL};
    CHECK(learnae_median(a, models, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_median(a, models, 65, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_median(a, models, 2, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_median(a, models, 2, 0, NULL) == LEARNAE_OK);
    CHECK(learnae_median(NULL, models, 1, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_median(NULL, NULL, 1, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_trimmed_mean(a, models, 1, 1, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_distances(NULL, models, 1, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(a, NULL, NULL, 0, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(a, a, NULL, 1, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(a, a, list, 2, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(a, a, list, 1, 2, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(a, a, list, 1, 0, 3, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_distances(far, a, list, 1, 0, 2, NULL) == LEARNAE_OK && far[1] == 0);
    CHECK(learnae_payload_clip(NULL, list, a, 1, 1, 0, 2, a, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_clip(a, list, a, 1, 1, 0, 3, a, NULL) == LEARNAE_ERR_ARGUMENT);
    guarded_free(&bytes);
}

int main(void) {
    check_every_isa(test_means);
    check_every_isa(test_means_of_models_placed_alike);
    check_every_isa(test_special);
    check_every_isa(test_distances);
    test_distances_by_threads();
    check_every_isa(test_payloads);
    check_every_isa(test_krum);
    check_every_isa(test_clip);
    check_every_isa(test_payload_clip);
    check_every_isa(test_mistakes);
    return 0;
}
