/* Payloads written and read: sizes, block lengths, and everything that reads them against plain
 * loops over the decoded values, in buffers between unmapped pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

#include <math.h>

enum { MAX_PAYLOADS = 9 };

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {9, 8, 7, 6, 5};

/* A payload, and what it decodes to by definition: codecs with scales keep scale and code. */
struct sample {
    struct guarded bytes;
    learnae_payload payload;
    struct forge forge;
    float *values; /* n_vectors * n_elements, decoded */
    float *scales; /* of each element, or 1 */
    float *codes;  /* or the values */
};

/* One block, encoded with the library a group of blocks at a time: test_codec checks that. */
static void forge_block(struct sample *sample, uint8_t *at, const float *src, size_t length,
                        size_t index) {
    static uint8_t scratch[1 << 17];
    const uint32_t codec = sample->forge.codec;
    const size_t group = (size_t)forge_group(codec);
    uint8_t *const codes = at + forge_scales(codec, length);
    for (size_t start = 0; start < length; start += LEARNAE_BLOCK_LENGTH) {
        const size_t left = length - start;
        const size_t n = left < LEARNAE_BLOCK_LENGTH ? left : LEARNAE_BLOCK_LENGTH;
        const float *const vectors[1] = {src + start};
        CHECK(learnae_payload_write(scratch, sizeof scratch, codec, schema, vectors, 1, n, NULL) ==
              LEARNAE_OK);
        const uint8_t *block = scratch + LEARNAE_HEADER_NBYTES + 64;
        const size_t nbytes = (size_t)forge_content(codec, n);
        learnae_payload one;
        CHECK(learnae_payload_open(scratch, LEARNAE_HEADER_NBYTES + 64 + (size_t)forge_up(nbytes),
                                   n, &one, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_decode(&one, 0, sample->values + index + start, NULL) == LEARNAE_OK);
        const size_t scales_nbytes = (size_t)forge_scales(codec, n);
        memcpy(at + forge_scales(codec, start), block, scales_nbytes);
        memcpy(codes + start * forge_bits(codec) / 8, block + scales_nbytes,
               nbytes - scales_nbytes);
    }
    for (size_t i = 0; i < length; i++) {
        sample->scales[index + i] = 1;
        sample->codes[index + i] = sample->values[index + i];
        if (group > 0) {
            memcpy(&sample->scales[index + i], at + i / group * 4, 4);
            sample->codes[index + i] = (float)forge_code(codec, codes, i);
        }
    }
}

static void sample_new(struct sample *sample, const struct forge *forge, enum fill fill,
                       enum guard guard) {
    const size_t n = (size_t)forge->n_elements, total = n * forge->n_vectors;
    const size_t nbytes = (size_t)forge_nbytes(forge);
    float *src = checked_alloc(total * sizeof *src);
    fill_floats(src, total, forge_group(forge->codec) > 0 && fill == FILL_ANY ? FILL_FINITE : fill);
    sample->forge = *forge;
    sample->values = checked_alloc(total * sizeof(float));
    sample->scales = checked_alloc(total * sizeof(float));
    sample->codes = checked_alloc(total * sizeof(float));
    /* The size is a multiple of 64: ending at a guard page it starts on such a boundary too. */
    const size_t offset = guard == GUARD_START ? random_below(64) : 0;
    sample->bytes = guarded_new(offset + nbytes, guard);
    uint8_t *const bytes = sample->bytes.at + offset;
    forge_frame(forge, bytes);
    memcpy(bytes + FORGE_SCHEMA, schema, sizeof schema);
    const uint64_t blocks = forge_blocks(forge);
    uint8_t *at = bytes + LEARNAE_HEADER_NBYTES + forge_up(8 * blocks * forge->n_vectors);
    for (uint64_t i = 0; i < blocks * forge->n_vectors; i++) {
        const size_t length = (size_t)forge_length(forge, i % blocks);
        const size_t index = (size_t)(i / blocks * n + i % blocks * forge->block_length);
        forge_block(sample, at, src + index, length, index);
        at += forge_up(forge_content(forge->codec, length));
    }
    forge_seal(bytes, nbytes);
    learnae_message message;
    CHECK(learnae_payload_open(bytes, nbytes, n, &sample->payload, &message) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&sample->payload, &message) == LEARNAE_OK);
    CHECK(memcmp(sample->payload.schema, schema, sizeof schema) == 0);
    free(src);
}

static void sample_free(struct sample *sample) {
    guarded_free(&sample->bytes);
    free(sample->values);
    free(sample->scales);
    free(sample->codes);
}

static struct forge random_forge(uint64_t n_elements, uint32_t n_vectors) {
    static const uint32_t lengths[] = {256, 512, 768, 16384, 32768, 1048576};
    const struct forge forge = {1 + (uint32_t)random_below(FORGE_LAST_CODEC), n_vectors, n_elements,
                                lengths[random_below(6)]};
    return forge;
}

/* ---- What the library writes --------------------------------------------------------------- */

static void check_write(uint32_t codec, uint32_t n_vectors, size_t n) {
    struct sample sample;
    const struct forge forge = {codec, n_vectors, n, LEARNAE_BLOCK_LENGTH};
    struct guarded inputs[4], output;
    const float *vectors[4];
    check_random_state = n; /* the same values as sample_new() draws */
    for (uint32_t v = 0; v < n_vectors; v++) {
        float *values = guarded_floats(&inputs[v], n, GUARD_END);
        fill_floats(values, n, FILL_FINITE);
        vectors[v] = values;
    }
    check_random_state = n;
    sample_new(&sample, &forge, FILL_FINITE, GUARD_END);
    size_t nbytes;
    CHECK(learnae_payload_nbytes(codec, n_vectors, n, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes == forge_nbytes(&forge));
    output = guarded_new(nbytes, n % 2 ? GUARD_END : GUARD_START);
    memset(output.at, 0xa5, nbytes);
    CHECK(learnae_payload_write(output.at, nbytes, codec, schema, vectors, n_vectors, n, NULL) ==
          LEARNAE_OK);
    CHECK(memcmp(output.at, sample.bytes.at, nbytes) == 0);
    guarded_free(&output);
    for (uint32_t v = 0; v < n_vectors; v++) {
        guarded_free(&inputs[v]);
    }
    sample_free(&sample);
}

static void test_write(void) {
    static const size_t lengths[] = {1,   2,    15,    16,    17,    255,  256,
                                     257, 1000, 16383, 16384, 16385, 40000};
    for (uint32_t codec = LEARNAE_CODEC_F32; codec <= FORGE_LAST_CODEC; codec++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            check_write(codec, 1 + (uint32_t)i % 4, lengths[i]);
        }
    }
}

/* ---- What reads them ----------------------------------------------------------------------- */

static void check_decode(const struct sample *sample, uint32_t vector, enum guard guard) {
    const size_t n = (size_t)sample->forge.n_elements;
    struct guarded buffer;
    float *out = guarded_floats(&buffer, n, guard);
    CHECK(learnae_payload_decode(&sample->payload, vector, out, NULL) == LEARNAE_OK);
    CHECK(memcmp(out, sample->values + vector * n, n * sizeof *out) == 0);
    guarded_free(&buffer);
}

static float add_value(float sum, float weight, const struct sample *sample, size_t i) {
    const volatile float product = weight * sample->codes[i];
    const volatile float result = sum + product;
    return result;
}

/* i8 and i4: the sum of one pass in units of its group. */
static float add_units(float sum, const float *weights, const struct sample *const *samples,
                       size_t n_samples, size_t i) {
    float factors[8], largest = 0;
    int64_t count = 0;
    for (size_t k = 0; k < n_samples; k++) {
        const volatile float factor = weights[k] * samples[k]->scales[i];
        factors[k] = factor;
        if (factor - factor != 0) {
            return float_from_bits(0x7fc00000);
        }
        largest = fabsf(factor) > largest ? fabsf(factor) : largest;
    }
    const volatile float inverse = largest > 0x1p-110f ? 16383 / largest : 0;
    const volatile float unit = largest > 0x1p-110f ? largest / 16383 : 0;
    for (size_t k = 0; k < n_samples; k++) {
        const volatile float share = factors[k] * inverse;
        count += lrintf(share) * (int64_t)samples[k]->codes[i];
    }
    CHECK(count > -(1 << 24) && count < 1 << 24);
    const volatile float product = unit * (float)count;
    const volatile float result = sum + product;
    return result;
}

/* sign and ternary: the sum of the products of a pass, of two next to each other, and so on. */
static float add_pairs(float sum, const float *weights, const struct sample *const *samples,
                       size_t n_samples, size_t i) {
    float sums[8];
    for (size_t k = 0; k < n_samples; k++) {
        const volatile float factor = weights[k] * samples[k]->scales[i];
        const volatile float product = factor * samples[k]->codes[i];
        sums[k] = product;
    }
    for (size_t n = n_samples; n > 1; n = (n + 1) / 2) {
        for (size_t k = 0; k < n; k += 2) {
            const volatile float both = k + 1 < n ? sums[k] + sums[k + 1] : sums[k];
            sums[k / 2] = both;
        }
    }
    const volatile float result = sum + sums[0];
    return result;
}

/* The header's rule: passes over payloads of one codec that follow each other. */
static float add_all(float sum, const float *weights, const struct sample *const *samples,
                     size_t n_samples, size_t i) {
    for (size_t done = 0, n; done < n_samples; done += n) {
        const uint32_t codec = samples[done]->forge.codec;
        if (codec < LEARNAE_CODEC_I8) {
            sum = add_value(sum, weights[done], samples[done], i);
            n = 1;
            continue;
        }
        size_t run = 1;
        while (done + run < n_samples && samples[done + run]->forge.codec == codec) {
            run++;
        }
        const size_t n_passes = (run + 7) / 8;
        n = (run + n_passes - 1) / n_passes;
        sum = (codec < LEARNAE_CODEC_SIGN ? add_units : add_pairs)(sum, weights + done,
                                                                   samples + done, n, i);
    }
    return sum;
}

static void check_accumulate(const struct sample *sample, uint32_t vector, enum guard guard) {
    const size_t n = (size_t)sample->forge.n_elements;
    struct guarded buffer;
    float *acc = guarded_floats(&buffer, n, guard), *expected = checked_alloc(n * sizeof *expected);
    const float weight = random_below(5) == 0 ? random_value(FILL_ANY) : random_float();
    fill_floats(acc, n, FILL_ANY);
    for (size_t i = 0; i < n; i++) {
        expected[i] = canonical(add_all(acc[i], &weight, &sample, 1, vector * n + i));
    }
    CHECK(learnae_payload_accumulate(&sample->payload, vector, weight, acc, NULL) == LEARNAE_OK);
    CHECK(memcmp(acc, expected, n * sizeof *acc) == 0);
    guarded_free(&buffer);
    free(expected);
}

static void check_distance(const struct sample *sample, uint32_t vector, bool has_reference) {
    const size_t n = (size_t)sample->forge.n_elements;
    const float *values = sample->values + vector * n;
    struct guarded buffer;
    float *reference = guarded_floats(&buffer, n, GUARD_END);
    double distance[8] = {0}, norm[8] = {0}, d = -1, s = -1;
    bool finite = true;
    fill_floats(reference, n, FILL_FINITE);
    for (size_t start = 0; start < n; start += 256) {
        volatile float far[8] = {0}, size[8] = {0};
        for (size_t i = start; i < n && i < start + 256; i++) {
            const volatile float x = values[i], y = x - (has_reference ? reference[i] : 0);
            const volatile float difference2 = y * y, x2 = x * x;
            far[i % 8] = far[i % 8] + difference2;
            size[i % 8] = size[i % 8] + x2;
            finite = finite && x - x == 0;
        }
        for (int lane = 0; lane < 8; lane++) {
            distance[lane] += (double)far[lane];
            norm[lane] += (double)size[lane];
        }
    }
    const learnae_status status = learnae_payload_distance(
        &sample->payload, vector, has_reference ? reference : NULL, &d, &s, NULL);
    CHECK(status == (finite ? LEARNAE_OK : LEARNAE_ERR_NONFINITE));
    for (int lane = 1; lane < 8; lane++) {
        distance[0] += distance[lane];
        norm[0] += norm[lane];
    }
    CHECK(finite ? d == distance[0] && s == norm[0] : d == -1 && s == -1);
    guarded_free(&buffer);
}

/* Of one codec, or with 0 of any: then a pass seldom has many sources. */
static void check_payload_average(uint32_t codec, size_t n, size_t n_payloads, enum guard guard) {
    struct sample samples[MAX_PAYLOADS];
    const learnae_payload *payloads[MAX_PAYLOADS + 1];
    const struct sample *in_order[MAX_PAYLOADS + 1];
    float weights[MAX_PAYLOADS + 1];
    const uint32_t vector = (uint32_t)random_below(2);
    for (size_t k = 0; k < n_payloads; k++) {
        struct forge forge = random_forge(n, vector + 1 + (uint32_t)random_below(2));
        forge.codec = codec == 0 ? forge.codec : codec;
        sample_new(&samples[k], &forge, random_below(2) ? FILL_ANY : FILL_PLAIN,
                   random_below(2) ? GUARD_END : GUARD_START);
    }
    const size_t listed = n_payloads == 0 ? 0 : n_payloads + 1; /* one of them twice */
    for (size_t k = 0; k < listed; k++) {
        in_order[k] = &samples[k < n_payloads ? k : random_below(n_payloads)];
        payloads[k] = &in_order[k]->payload;
        weights[k] = random_below(20) == 0 ? random_value(FILL_ANY) : random_float();
    }
    struct guarded buffer;
    float *dst = guarded_floats(&buffer, n, guard), *expected = checked_alloc(n * sizeof *expected);
    const float own_weight = random_float();
    fill_floats(dst, n, FILL_ANY);
    for (size_t i = 0; i < n; i++) {
        const volatile float sum = own_weight * dst[i];
        expected[i] = canonical(add_all(sum, weights, in_order, listed, vector * n + i));
    }
    CHECK(learnae_payload_average(dst, own_weight, payloads, weights, listed, vector, n, NULL) ==
          LEARNAE_OK);
    CHECK(memcmp(dst, expected, n * sizeof *dst) == 0);
    guarded_free(&buffer);
    free(expected);
    for (size_t k = 0; k < n_payloads; k++) {
        sample_free(&samples[k]);
    }
}

static void test_read(void) {
    for (int repeat = 0; repeat < 250; repeat++) {
        const size_t n = 1 + random_below(repeat % 25 == 0 ? 70000 : 1500);
        const struct forge forge = random_forge(n, 1 + (uint32_t)random_below(4));
        const enum guard guard = repeat % 2 ? GUARD_END : GUARD_START;
        struct sample sample;
        sample_new(&sample, &forge, repeat % 3 ? FILL_PLAIN : FILL_ANY, guard);
        const uint32_t vector = (uint32_t)random_below(forge.n_vectors);
        check_decode(&sample, vector, guard);
        check_accumulate(&sample, vector, guard);
        check_distance(&sample, vector, repeat % 4 != 0);
        sample_free(&sample);
    }
}

static void test_payload_average(void) {
    for (size_t n_payloads = 0; n_payloads <= MAX_PAYLOADS; n_payloads++) {
        for (int repeat = 0; repeat < 8; repeat++) {
            const size_t n = 1 + random_below(repeat == 0 ? 50000 : 1500);
            check_payload_average(0, n, n_payloads, repeat % 2 ? GUARD_END : GUARD_START);
        }
        for (uint32_t codec = LEARNAE_CODEC_F32; codec <= FORGE_LAST_CODEC; codec++) {
            const size_t n = 1 + random_below(1500);
            check_payload_average(codec, n, n_payloads, codec % 2 ? GUARD_END : GUARD_START);
        }
    }
}

static void test_distance_to_nan(void) {
    const struct forge forge = {LEARNAE_CODEC_F32, 1, 11, 256};
    struct sample sample;
    float reference[11] = {0};
    double distance2, norm2;
    uint64_t bits;
    sample_new(&sample, &forge, FILL_PLAIN, GUARD_END);
    reference[9] = float_from_bits(0xffc01234);
    CHECK(learnae_payload_distance(&sample.payload, 0, reference, &distance2, &norm2, NULL) ==
          LEARNAE_OK);
    memcpy(&bits, &distance2, sizeof bits);
    CHECK(bits == 0x7ff8000000000000u && norm2 > 0 && norm2 < 11);
    sample_free(&sample);
}

/* Enough to go past the caches, at addresses of every kind, by one thread and by three. */
static void test_large(void) {
    const size_t n = 8500000;
    float *values = checked_alloc(n * sizeof *values), *back = checked_alloc(n * sizeof *back);
    const float *const vectors[1] = {values};
    size_t nbytes;
    for (size_t i = 0; i < n; i++) {
        values[i] = float_from_bits((uint32_t)(i * 2654435761u));
    }
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_F32, 1, n, &nbytes, NULL) == LEARNAE_OK);
    for (size_t offset = 0; offset < 64; offset += offset == 0 ? 5 : 11) {
        struct guarded buffer = guarded_new(nbytes + offset, offset == 0 ? GUARD_END : GUARD_START);
        uint8_t *const bytes = buffer.at + offset;
        learnae_payload payload;
        CHECK(learnae_set_threads(offset % 2 ? 3 : 1) == LEARNAE_OK);
        CHECK(learnae_payload_write(bytes, nbytes, LEARNAE_CODEC_F32, schema, vectors, 1, n,
                                    NULL) == LEARNAE_OK);
        CHECK(learnae_payload_open(bytes, nbytes, n, &payload, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_verify(&payload, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_decode(&payload, 0, back, NULL) == LEARNAE_OK);
        CHECK(memcmp(back, values, n * sizeof *back) == 0);
        guarded_free(&buffer);
    }
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
    free(values);
    free(back);
}

int main(void) {
    check_every_isa(test_write);
    check_every_isa(test_read);
    check_every_isa(test_large);
    check_every_isa(test_payload_average);
    check_every_isa(test_distance_to_nan);
    return 0;
}
