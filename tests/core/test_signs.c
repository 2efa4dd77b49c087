/* sign and ternary as encoded, against their definition in plain loops.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

#include <float.h>
#include <math.h>

enum { N = 3000, GROUP = 256, BLOCK_AT = LEARNAE_HEADER_NBYTES + 64 };

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {1, 2, 3};

/* The mean of the magnitudes above t, as the header has it. */
static float mean_above(const float *x, float t, size_t n) {
    float lane[8] = {0}, above = 0;
    for (size_t i = 0; i < n; i++) {
        if (fabsf(x[i]) > t) {
            const volatile float sum = lane[i % 8] + fabsf(x[i]);
            lane[i % 8] = sum;
            above++;
        }
    }
    volatile float total = lane[0];
    for (int i = 1; i < 8; i++) {
        total = total + lane[i];
    }
    if (above == 0) {
        return 0;
    }
    const volatile float factor = 1 / above;
    const volatile float mean = total * factor;
    return mean > FLT_MAX ? FLT_MAX : mean;
}

static void check_group(uint32_t codec, const uint8_t *scale_at, const uint8_t *codes, size_t first,
                        const float *x, size_t n) {
    const float mean = mean_above(x, -1, n);
    const volatile float t = 0.7f * mean;
    float scale;
    memcpy(&scale, scale_at, 4);
    CHECK(float_bits(scale) ==
          float_bits(codec == LEARNAE_CODEC_SIGN ? mean : mean_above(x, t, n)));
    for (size_t i = 0; i < n; i++) {
        const int sign = signbit(x[i]) ? -1 : 1;
        const bool kept = codec == LEARNAE_CODEC_SIGN || fabsf(x[i]) > t;
        CHECK(forge_code(codec, codes, first + i) == (kept ? sign : 0));
    }
}

/* The bytes end at an unmapped page, and start as ones: what must be 0 was written. */
static void check_encoding(uint32_t codec, const float *x, size_t n) {
    size_t nbytes;
    const float *const vectors[1] = {x};
    CHECK(learnae_payload_nbytes(codec, 1, n, &nbytes, NULL) == LEARNAE_OK);
    struct guarded buffer = guarded_new(nbytes, GUARD_END);
    memset(buffer.at, 0xff, nbytes);
    CHECK(learnae_payload_write(buffer.at, nbytes, codec, schema, vectors, 1, n, NULL) ==
          LEARNAE_OK);
    const uint8_t *block = buffer.at + BLOCK_AT;
    const uint64_t scales = forge_scales(codec, n);
    for (size_t first = 0; first < n; first += GROUP) {
        check_group(codec, block + first / GROUP * 4, block + scales, first, x + first,
                    n - first < GROUP ? n - first : GROUP);
    }
    learnae_payload payload;
    CHECK(learnae_payload_open(buffer.at, nbytes, n, &payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&payload, NULL) == LEARNAE_OK); /* spare bits are 0 */
    guarded_free(&buffer);
}

static void check_both(const float *x, size_t n) {
    check_encoding(LEARNAE_CODEC_SIGN, x, n);
    check_encoding(LEARNAE_CODEC_TERNARY, x, n);
}

static void test_every_length(void) {
    struct guarded buffer;
    for (size_t n = 1; n <= N; n += n < 300 ? 1 : 1 + random_below(300)) {
        float *x = guarded_floats(&buffer, n, n % 2 ? GUARD_END : GUARD_START);
        fill_floats(x, n, random_below(2) ? FILL_PLAIN : FILL_FINITE);
        check_both(x, n);
        guarded_free(&buffer);
    }
}

/* Groups of one value: all are above the threshold, but for zeros and what is lost to rounding or
 * to overflow. */
static void test_groups_of_one_value(void) {
    static const float values[] = {0.0f,      -0.0f,      1.0f,    -3.0f,
                                   0x1p-149f, -0x1p-148f, FLT_MAX, -0x1p127f};
    float x[N];
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        for (size_t n = 1; n <= N; n += 1 + random_below(500)) {
            for (size_t i = 0; i < n; i++) {
                x[i] = values[v];
            }
            check_both(x, n);
        }
    }
}

/* Magnitudes equal to the threshold are not above it: 0.7f times a mean of 1. */
static void test_magnitudes_at_the_threshold(void) {
    float x[GROUP];
    for (size_t i = 0; i < GROUP; i++) {
        x[i] = i % 2 ? 0.7f : 1.3f;
    }
    for (size_t i = 0; i < 64; i++) {
        x[random_below(GROUP)] = float_from_bits(float_bits(0.7f) - 1 + (uint32_t)random_below(3));
        check_both(x, GROUP);
    }
}

static void test_nonfinite(void) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static uint8_t bytes[8 * N];
    float x[N];
    const float *const vectors[1] = {x};
    for (size_t repeat = 0; repeat < 60; repeat++) {
        const uint32_t codec = repeat % 2 ? LEARNAE_CODEC_SIGN : LEARNAE_CODEC_TERNARY;
        fill_floats(x, N, FILL_PLAIN);
        const size_t at = random_below(N);
        x[at] = bad[repeat % 3];
        learnae_message message;
        char named[64];
        CHECK(learnae_payload_write(bytes, sizeof bytes, codec, schema, vectors, 1, N, &message) ==
              LEARNAE_ERR_NONFINITE);
        CHECK(snprintf(named, sizeof named, "element %zu,", at) > 0);
        CHECK(strstr(message.text, named) != NULL);
        CHECK(strstr(message.text, learnae_codec_name(codec)) != NULL);
    }
}

int main(void) {
    check_every_isa(test_every_length);
    check_every_isa(test_groups_of_one_value);
    check_every_isa(test_magnitudes_at_the_threshold);
    check_every_isa(test_nonfinite);
    return 0;
}
