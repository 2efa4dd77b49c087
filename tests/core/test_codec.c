/* Codecs against their definition in double arithmetic: every 16-bit value decoded, millions of
 * floats encoded, and the same bytes from every instruction set.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

#include <math.h>

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {1, 2, 3};

/* The first block of a payload of one vector of n <= 16,384 elements. */
enum { BLOCK_AT = LEARNAE_HEADER_NBYTES + 64 };

static size_t encode(uint32_t codec, uint8_t *bytes, size_t room, const float *values, size_t n) {
    size_t nbytes;
    const float *const vectors[1] = {values};
    CHECK(learnae_payload_nbytes(codec, 1, n, &nbytes, NULL) == LEARNAE_OK && nbytes <= room);
    CHECK(learnae_payload_write(bytes, room, codec, schema, vectors, 1, n, NULL) == LEARNAE_OK);
    return nbytes;
}

/* The value of a float16, from its fields. */
static float half_value(uint32_t half) {
    const double sign = (half & 0x8000u) != 0 ? -1 : 1;
    const int exponent = (int)(half >> 10 & 31u), fraction = (int)(half & 1023u);
    if (exponent == 31) {
        return fraction != 0 ? float_from_bits(0x7fc00000) : (float)(sign * INFINITY);
    }
    return (float)(sign *
                   (exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25)));
}

static float bf16_value(uint32_t half) {
    return canonical(float_from_bits(half << 16));
}

static void check_all_values(uint32_t codec, float (*value_of)(uint32_t)) {
    const struct forge forge = {codec, 1, 65536, 65536};
    const size_t nbytes = (size_t)forge_nbytes(&forge);
    uint8_t *bytes = checked_alloc(nbytes);
    float *out = checked_alloc(65536 * sizeof *out);
    memset(bytes, 0, nbytes);
    for (uint32_t half = 0; half < 65536; half++) {
        forge_put(bytes + BLOCK_AT + 2 * half, half, 2);
    }
    forge_frame(&forge, bytes);
    forge_seal(bytes, nbytes);
    learnae_payload payload;
    CHECK(learnae_payload_open(bytes, nbytes, 65536, &payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_decode(&payload, 0, out, NULL) == LEARNAE_OK);
    for (uint32_t half = 0; half < 65536; half++) {
        CHECK(float_bits(out[half]) == float_bits(value_of(half)));
    }
    free(bytes);
    free(out);
}

static void test_all_16_bit_values(void) {
    check_all_values(LEARNAE_CODEC_F16, half_value);
    check_all_values(LEARNAE_CODEC_BF16, bf16_value);
}

/* The 16-bit value nearest to x, the even one of two: by bisection over the positive values,
 * which rise with their code. `top` is the code of infinity, `limit` where infinity begins. */
static uint32_t nearest(float x, float (*value_of)(uint32_t), uint32_t top, double limit,
                        uint32_t nan) {
    if (x != x) {
        return nan;
    }
    const double a = fabs((double)x);
    uint32_t low = 0, high = top;
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        *((double)value_of(middle) <= a ? &low : &high) = middle;
    }
    if (a >= limit) {
        low = top;
    } else {
        const double above = high == top ? 2 * limit - (double)value_of(low) : value_of(high);
        const double to_low = a - (double)value_of(low), to_high = above - a;
        low = to_high < to_low || (to_high == to_low && low % 2 != 0) ? high : low;
    }
    return low | (signbit(x) != 0 ? 0x8000u : 0);
}

static void test_encoding_to_16_bits(void) {
    enum { N = 16384 };
    const double bf16_limit = ldexp(511, 119); /* halfway between the largest and 2^128 */
    float *values = checked_alloc(N * sizeof *values);
    uint8_t *bytes = checked_alloc(4 * N);
    for (int repeat = 0; repeat < 4; repeat++) {
        fill_floats(values, N, FILL_ANY);
        for (size_t i = 0; i < N; i += 2) { /* exact ties and their neighbours */
            const uint32_t code = (uint32_t)random_bits() & 0xffffu;
            const uint32_t bits = float_bits(half_value(code));
            values[i] =
                float_from_bits(repeat % 2 ? bits + 0xfff + (uint32_t)random_below(3)
                                           : (code << 16) + 0x7fff + (uint32_t)random_below(3));
        }
        encode(LEARNAE_CODEC_F16, bytes, 4 * N, values, N);
        for (size_t i = 0; i < N; i++) {
            const uint32_t code = (uint32_t)forge_get(bytes + BLOCK_AT + 2 * i, 2);
            CHECK(code == nearest(values[i], half_value, 0x7c00, 65520, 0x7e00));
        }
        encode(LEARNAE_CODEC_BF16, bytes, 4 * N, values, N);
        for (size_t i = 0; i < N; i++) {
            const uint32_t code = (uint32_t)forge_get(bytes + BLOCK_AT + 2 * i, 2);
            CHECK(code == nearest(values[i], bf16_value, 0x7f80, bf16_limit, 0x7fc0));
        }
    }
    free(values);
    free(bytes);
}

/* The level of i4 nearest to a code of i8, the lower of two. */
static int nearest_level(int code) {
    uint8_t packed;
    int best = -1000;
    for (packed = 0; packed < 16; packed++) {
        const int level = forge_code(LEARNAE_CODEC_I4, &packed, 0);
        best = abs(level - code) < abs(best - code) ? level : best;
    }
    return best;
}

/* One group of i8, or of i4, which are that rounded again. */
static void check_group(uint32_t codec, const uint8_t *scale_at, const uint8_t *codes, size_t first,
                        const float *values, size_t n) {
    float scale, largest = 0;
    memcpy(&scale, scale_at, 4);
    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(values[i]));
    }
    const bool zero = largest < ldexpf(1, -110);
    const volatile float factor = zero ? 0 : 127 / largest;
    CHECK(scale == (zero ? 0 : largest / 127) && signbit(scale) == 0);
    for (size_t i = 0; i < n; i++) {
        const volatile float scaled = zero ? 0 : values[i] * factor;
        const int code = (int)rintf(scaled);
        CHECK(forge_code(codec, codes, first + i) ==
              (codec == LEARNAE_CODEC_I8 ? code : nearest_level(code)));
    }
}

static void check_groups(uint32_t codec, const uint8_t *block, const float *values, size_t n) {
    const size_t group = (size_t)forge_group(codec);
    for (size_t first = 0; first < n; first += group) {
        check_group(codec, block + first / group * 4, block + forge_scales(codec, n), first,
                    values + first, n - first < group ? n - first : group);
    }
}

/* Groups of any magnitude, each with its largest element near the start or at the end. */
static void test_encoding_to_groups(void) {
    enum { N = 3000 };
    static const float sizes[] = {1,         0x1p-109f, 0x1p-110f, 0x1.fffffep-111f,
                                  0x1p-140f, 0x1p120f,  0};
    float values[N];
    static uint8_t bytes[8 * N];
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (size_t n = 1 + random_below(20); n <= N; n += 1 + random_below(400)) {
            fill_floats(values, n, FILL_PLAIN);
            for (size_t i = 0; i < n; i++) {
                values[i] *= sizes[s];
                values[i] = i % 64 == 7 ? sizes[s] : values[i];
            }
            for (uint32_t codec = LEARNAE_CODEC_I8; codec <= LEARNAE_CODEC_I4; codec++) {
                encode(codec, bytes, sizeof bytes, values, n);
                check_groups(codec, bytes + BLOCK_AT, values, n);
            }
        }
    }
}

/* Every code of i8, those halfway between two levels too. */
static void test_every_level(void) {
    enum { N = 256 };
    float values[N];
    uint8_t bytes[1024];
    for (int offset = 0; offset < 5; offset++) {
        for (int i = 0; i < N; i++) {
            const int code = (i + 51 * offset) % 255 - 127;
            values[i] = i % 64 == 63 ? -127 : (float)code;
        }
        encode(LEARNAE_CODEC_I4, bytes, sizeof bytes, values, N);
        check_groups(LEARNAE_CODEC_I4, bytes + BLOCK_AT, values, N);
    }
}

/* The whole range of bits in steps of a prime, in every codec that rounds: the row in use against
 * portable. */
static void test_same_bytes_everywhere(void) {
    enum { N = 16384, STEP = 1021 };
    const char *isa = learnae_isa();
    float *values = checked_alloc(N * sizeof *values);
    uint8_t *bytes = checked_alloc(8 * N), *expected = checked_alloc(8 * N);
    for (uint32_t part = 0; part < UINT32_MAX / STEP / N + 1; part++) {
        for (uint32_t codec = LEARNAE_CODEC_BF16; codec <= FORGE_LAST_CODEC; codec++) {
            const size_t n = N - random_below(300);
            for (uint32_t i = 0; i < n; i++) {
                uint32_t bits = (part * N + i) * STEP;
                bits ^= forge_group(codec) > 0 && bits % 0x80000000u >= 0x7f800000u ? 1u << 30 : 0;
                values[i] = float_from_bits(bits);
            }
            const size_t nbytes = encode(codec, bytes, 8 * N, values, n);
            CHECK(learnae_set_isa("portable") == LEARNAE_OK);
            CHECK(encode(codec, expected, 8 * N, values, n) == nbytes);
            CHECK(learnae_set_isa(isa) == LEARNAE_OK);
            CHECK(memcmp(bytes, expected, nbytes) == 0);
        }
    }
    free(values);
    free(bytes);
    free(expected);
}

int main(void) {
    check_every_isa(test_all_16_bit_values);
    check_every_isa(test_encoding_to_16_bits);
    check_every_isa(test_encoding_to_groups);
    check_every_isa(test_every_level);
    check_every_isa(test_same_bytes_everywhere);
    return 0;
}
