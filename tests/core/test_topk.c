/* Codec topk against sorting and plain loops: what is kept, how it lies, and what any bytes do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

static size_t kept_of(size_t parameter, size_t length, size_t block_length) {
    return (parameter * length + block_length - 1) / block_length;
}

static float rounded(float value) { /* to bf16, as test_codec checks it */
    const uint32_t bits = float_bits(value);
    return value != value ? canonical(value)
                          : float_from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

static uint32_t magnitude(float value) {
    return float_bits(value) & 0x7fffffffu;
}

static int descending(const void *a, const void *b) {
    const uint32_t x = magnitude(*(const float *)a), y = magnitude(*(const float *)b);
    return (x < y) - (x > y);
}

/* keeps[i]: whether element i is among the n_kept largest, the first of equal ones. */
static void select_kept(bool *keeps, const float *values, size_t length, size_t n_kept) {
    float *sorted = checked_alloc(length * sizeof *sorted);
    memcpy(sorted, values, length * sizeof *sorted);
    qsort(sorted, length, sizeof *sorted, descending);
    const uint32_t least = magnitude(sorted[n_kept - 1]);
    size_t n_equal = n_kept;
    for (size_t i = 0; i < n_kept; i++) {
        n_equal -= magnitude(sorted[i]) > least;
    }
    for (size_t i = 0; i < length; i++) {
        const bool equal = magnitude(values[i]) == least && n_equal > 0;
        n_equal -= equal;
        keeps[i] = magnitude(values[i]) > least || equal;
    }
    free(sorted);
}

/* ---- A block by hand ----------------------------------------------------------------------- */

static size_t low_bits_of(size_t length, size_t n_kept) {
    size_t n_low = 0;
    while (n_kept << (n_low + 1) <= length) {
        n_low++;
    }
    return n_low;
}

static size_t content_of(size_t length, size_t n_kept) {
    const size_t n_low = low_bits_of(length, n_kept);
    return 2 * n_kept + (n_kept * n_low + 7) / 8 + (n_kept + ((length - 1) >> n_low) + 7) / 8;
}

static void set_bit(uint8_t *bytes, size_t at) {
    bytes[at / 8] = (uint8_t)(bytes[at / 8] | 1u << at % 8);
}

static void put_block(uint8_t *block, const float *values, const bool *keeps, size_t length,
                      size_t n_kept) {
    const size_t n_low = low_bits_of(length, n_kept);
    uint8_t *const low = block + 2 * n_kept, *const high = low + (n_kept * n_low + 7) / 8;
    for (size_t i = 0, j = 0; i < length; i++) {
        if (!keeps[i]) {
            continue;
        }
        forge_put(block + 2 * j, float_bits(rounded(values[i])) >> 16, 2);
        for (size_t bit = 0; bit < n_low; bit++) {
            if (i >> bit & 1) {
                set_bit(low, j * n_low + bit);
            }
        }
        set_bit(high, (i >> n_low) + j);
        j++;
    }
}

/* A payload of one vector with blocks of any length, and what it decodes to. */
struct sample {
    struct guarded bytes;
    learnae_payload payload;
    float *values;
    bool *keeps;
    size_t n;
};

static void sample_new(struct sample *sample, const float *values, size_t n, size_t parameter,
                       size_t block_length) {
    const size_t blocks = (n + block_length - 1) / block_length;
    size_t nbytes = LEARNAE_HEADER_NBYTES + (size_t)forge_up(8 * blocks);
    for (size_t start = 0; start < n; start += block_length) {
        const size_t length = n - start < block_length ? n - start : block_length;
        nbytes += (size_t)forge_up(content_of(length, kept_of(parameter, length, block_length)));
    }
    const struct forge forge = {LEARNAE_CODEC_F32, 1, n, (uint32_t)block_length};
    uint8_t *const frame = checked_alloc((size_t)forge_nbytes(&forge));
    memset(frame, 0, (size_t)forge_nbytes(&forge));
    sample->bytes = guarded_new(nbytes, random_below(2) ? GUARD_END : GUARD_START);
    sample->values = checked_alloc(n * sizeof(float));
    sample->keeps = checked_alloc(n * sizeof(bool));
    sample->n = n;
    forge_frame(&forge, frame); /* for its header */
    uint8_t *const bytes = sample->bytes.at, *at = bytes + nbytes;
    memcpy(bytes, frame, LEARNAE_HEADER_NBYTES);
    free(frame);
    forge_put(bytes + FORGE_CODEC, LEARNAE_CODEC_TOPK, 2);
    forge_put(bytes + FORGE_PARAMETER, parameter, 4);
    forge_put(bytes + FORGE_NBYTES, nbytes, 8);
    at = bytes + LEARNAE_HEADER_NBYTES + forge_up(8 * blocks);
    for (size_t block = 0; block < blocks; block++) {
        const size_t start = block * block_length;
        const size_t length = n - start < block_length ? n - start : block_length;
        const size_t n_kept = kept_of(parameter, length, block_length);
        select_kept(sample->keeps + start, values + start, length, n_kept);
        put_block(at, values + start, sample->keeps + start, length, n_kept);
        const size_t content = (size_t)forge_up(content_of(length, n_kept));
        forge_put(bytes + LEARNAE_HEADER_NBYTES + 8 * block, content, 4);
        at += content;
    }
    for (size_t i = 0; i < n; i++) {
        sample->values[i] = sample->keeps[i] ? rounded(values[i]) : 0.0f;
    }
    forge_seal(bytes, nbytes);
    CHECK(learnae_payload_open(bytes, nbytes, n, &sample->payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&sample->payload, NULL) == LEARNAE_OK);
    CHECK(sample->payload.parameter == parameter);
}

static void sample_free(struct sample *sample) {
    guarded_free(&sample->bytes);
    free(sample->values);
    free(sample->keeps);
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void check_write(size_t n, float density, enum fill fill) {
    const double kept = (double)(density == 0 ? 0.01f : density) * LEARNAE_BLOCK_LENGTH;
    const size_t parameter = (size_t)kept + ((double)(size_t)kept < kept);
    struct guarded input;
    float *values = guarded_floats(&input, n, GUARD_END);
    fill_floats(values, n, fill);
    for (size_t i = 0; i < n; i++) {
        values[i] = random_below(3) == 0 ? 0.5f : values[i]; /* many equal ones */
    }
    struct sample expected;
    sample_new(&expected, values, n, parameter, LEARNAE_BLOCK_LENGTH);
    const learnae_write_options options = {.size = sizeof options, .density = density};
    const float *const vectors[1] = {values};
    size_t bound, nbytes;
    CHECK(learnae_payload_bound(LEARNAE_CODEC_TOPK, 1, n, &options, &bound, NULL) == LEARNAE_OK);
    struct guarded output = guarded_new(bound, n % 2 ? GUARD_END : GUARD_START);
    memset(output.at, 0xa5, bound);
    CHECK(learnae_payload_write_with(output.at, bound, LEARNAE_CODEC_TOPK, expected.payload.schema,
                                     vectors, 1, n, &options, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes == bound && nbytes == expected.payload.nbytes);
    CHECK(memcmp(output.at, expected.payload.bytes, nbytes) == 0);
    guarded_free(&output);
    guarded_free(&input);
    sample_free(&expected);
}

static void test_write(void) {
    static const size_t lengths[] = {1, 2, 99, 100, 101, 256, 1000, 16383, 16384, 16385, 40000};
    static const float densities[] = {0, 1, 0.5f, 0.3f, 0.01f, 1e-9f, 0.999f};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t k = 0; k < sizeof densities / sizeof densities[0]; k++) {
            check_write(lengths[i], densities[k], k % 2 ? FILL_ANY : FILL_PLAIN);
        }
    }
}

static void test_density(void) {
    static const float good[] = {0, 1e-30f, 1}, bad[] = {-0.1f, 1.01f, 1e30f};
    size_t nbytes;
    learnae_write_options options = {.size = sizeof options};
    for (size_t i = 0; i < 3; i++) {
        options.density = good[i];
        CHECK(learnae_payload_bound(LEARNAE_CODEC_TOPK, 1, 9, &options, &nbytes, NULL) ==
              LEARNAE_OK);
        options.density = bad[i];
        CHECK(learnae_payload_bound(LEARNAE_CODEC_TOPK, 1, 9, &options, &nbytes, NULL) ==
              LEARNAE_ERR_ARGUMENT);
    }
    options.density = float_from_bits(0x7fc00000);
    CHECK(learnae_payload_bound(LEARNAE_CODEC_TOPK, 1, 9, &options, &nbytes, NULL) ==
          LEARNAE_ERR_ARGUMENT);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void check_decode(const struct sample *sample) {
    struct guarded buffer;
    float *out = guarded_floats(&buffer, sample->n, GUARD_END);
    CHECK(learnae_payload_decode(&sample->payload, 0, out, NULL) == LEARNAE_OK);
    CHECK(memcmp(out, sample->values, sample->n * sizeof *out) == 0);
    guarded_free(&buffer);
}

static void add(float *sum, float weight, const struct sample *sample) {
    for (size_t i = 0; i < sample->n; i++) {
        const volatile float product = weight * sample->values[i];
        sum[i] = sample->keeps[i] ? canonical(sum[i] + product) : sum[i];
    }
}

/* Six of them take two passes; elements that none keeps keep their bits, NaN and -0 too. */
static void check_add(const struct sample *samples, size_t n_samples, float own_weight) {
    const size_t n = samples[0].n;
    const learnae_payload *payloads[6];
    float weights[6];
    struct guarded buffer;
    float *dst = guarded_floats(&buffer, n, random_below(2) ? GUARD_END : GUARD_START);
    float *expected = checked_alloc(n * sizeof *expected);
    fill_floats(dst, n, FILL_ANY);
    for (size_t i = 0; i < n; i++) {
        expected[i] = own_weight == 1 ? dst[i] : canonical(own_weight * dst[i]);
    }
    for (size_t k = 0; k < n_samples; k++) {
        payloads[k] = &samples[k].payload;
        weights[k] = random_value(FILL_ANY);
        add(expected, weights[k], &samples[k]);
    }
    if (n_samples == 1 && own_weight == 1) {
        CHECK(learnae_payload_accumulate(payloads[0], 0, weights[0], dst, NULL) == LEARNAE_OK);
    } else {
        CHECK(learnae_payload_average(dst, own_weight, payloads, weights, n_samples, 0, n, NULL) ==
              LEARNAE_OK);
    }
    CHECK(memcmp(dst, expected, n * sizeof *dst) == 0);
    guarded_free(&buffer);
    free(expected);
}

static void test_read(void) {
    static const size_t block_lengths[] = {256, 512, 16384, 32768, 1048576};
    for (size_t repeat = 0; repeat < 60; repeat++) {
        const size_t n = 1 + random_below(repeat % 10 == 0 ? 100000 : 3000);
        struct sample samples[6];
        const size_t n_samples = 1 + random_below(6);
        float *values = checked_alloc(n * sizeof *values);
        for (size_t k = 0; k < n_samples; k++) {
            const size_t length = block_lengths[random_below(5)];
            fill_floats(values, n, repeat % 2 ? FILL_ANY : FILL_PLAIN);
            sample_new(&samples[k], values, n,
                       1 + random_below(repeat % 3 == 0 ? length : length / 100 + 1), length);
            check_decode(&samples[k]);
            check_add(&samples[k], 1, 1);
        }
        check_add(samples, n_samples, repeat % 4 == 0 ? 1 : random_float());
        for (size_t k = 0; k < n_samples; k++) {
            sample_free(&samples[k]);
        }
        free(values);
    }
}

/* ---- Any bytes ----------------------------------------------------------------------------- */

static void average(float *dst, const learnae_payload *payload, size_t n) {
    const learnae_payload *const payloads[3] = {payload, payload, payload};
    const float weights[3] = {0.5f, -1, 2};
    for (size_t i = 0; i < n; i++) {
        dst[i] = (float)(i % 7) - 3;
    }
    CHECK(learnae_payload_average(dst, 0.5f, payloads, weights, 3, 0, n, NULL) == LEARNAE_OK);
}

/* Every instruction set makes the same of them as the portable one, which is the last. */
static void check_average(const learnae_payload *payload, float *dst) {
    const size_t n = (size_t)payload->n_elements;
    const char *const isa = learnae_isa();
    float *expected = checked_alloc(n * sizeof *expected);
    average(dst, payload, n);
    CHECK(learnae_set_isa(learnae_isa_name(learnae_n_isas() - 1)) == LEARNAE_OK);
    average(expected, payload, n);
    CHECK(learnae_set_isa(isa) == LEARNAE_OK);
    CHECK(memcmp(dst, expected, n * sizeof *dst) == 0);
    free(expected);
}

static learnae_status use(const learnae_payload *payload) {
    const size_t n = (size_t)payload->n_elements;
    struct guarded buffer;
    float *out = guarded_floats(&buffer, n, random_below(2) ? GUARD_END : GUARD_START);
    double distance2, norm2;
    const learnae_status status = learnae_payload_verify(payload, NULL);
    CHECK(learnae_payload_decode(payload, 0, out, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_accumulate(payload, 0, 2, out, NULL) == LEARNAE_OK);
    check_average(payload, out);
    (void)learnae_payload_distance(payload, 0, NULL, &distance2, &norm2, NULL);
    guarded_free(&buffer);
    return status;
}

static void test_any_bytes(void) {
    unsigned n_valid = 0, n_wrong = 0;
    for (size_t repeat = 0; repeat < 6000; repeat++) {
        const size_t n = 1 + random_below(900), length = 256 * (1 + random_below(4));
        struct sample sample;
        float values[900];
        fill_floats(values, n, FILL_ANY);
        sample_new(&sample, values, n, 1 + random_below(length), length);
        uint8_t *const bytes = sample.bytes.at;
        const size_t first = LEARNAE_HEADER_NBYTES + 64, nbytes = sample.payload.nbytes;
        for (size_t change = 1 + random_below(3); change-- > 0;) {
            bytes[first + random_below(nbytes - first)] ^= (uint8_t)(1u << random_below(8));
        }
        forge_seal(bytes, nbytes);
        CHECK(learnae_payload_open(bytes, nbytes, n, &sample.payload, NULL) == LEARNAE_OK);
        const learnae_status status = use(&sample.payload);
        CHECK(status == LEARNAE_OK || status == LEARNAE_ERR_FORMAT);
        n_valid += status == LEARNAE_OK;
        n_wrong += status != LEARNAE_OK;
        sample_free(&sample);
    }
    CHECK(n_valid > 500 && n_wrong > 500);
}

/* A block that is read in several pieces, whose bitmap has more ones than the block keeps before
 * the second piece starts: what is skipped there must not be taken for kept. */
static void test_too_many_ones(void) {
    static float values[65536];
    fill_floats(values, 65536, FILL_PLAIN);
    for (size_t repeat = 0; repeat < 40; repeat++) {
        const size_t n = 40000 + random_below(65536 - 40000), n_kept = 1 + random_below(2000);
        struct sample sample;
        sample_new(&sample, values, n, n_kept, 65536);
        const size_t kept = kept_of(n_kept, n, 65536), nbytes = sample.payload.nbytes;
        const size_t n_low = low_bits_of(n, kept), n_high = kept + ((n - 1) >> n_low);
        uint8_t *const block = sample.bytes.at + LEARNAE_HEADER_NBYTES + (size_t)forge_up(8);
        uint8_t *const high = block + 2 * kept + (kept * n_low + 7) / 8;
        const size_t first = repeat % 2 ? random_below(n_high) : 0;
        for (size_t bit = first; bit < n_high; bit++) {
            set_bit(high, bit);
        }
        forge_seal(sample.bytes.at, nbytes);
        CHECK(learnae_payload_open(sample.bytes.at, nbytes, n, &sample.payload, NULL) ==
              LEARNAE_OK);
        CHECK(use(&sample.payload) == LEARNAE_ERR_FORMAT);
        sample_free(&sample);
    }
}

static void test_parameter(void) {
    static const struct {
        uint32_t parameter;
        learnae_status status;
    } cases[] = {{0, LEARNAE_ERR_FORMAT},   {1, LEARNAE_ERR_FORMAT},
                 {26, LEARNAE_OK},          {60, LEARNAE_ERR_FORMAT},
                 {257, LEARNAE_ERR_FORMAT}, {UINT32_MAX, LEARNAE_ERR_FORMAT}};
    float values[600];
    struct sample sample;
    fill_floats(values, 600, FILL_PLAIN);
    sample_new(&sample, values, 600, 26, 256);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        learnae_payload payload;
        forge_put(sample.bytes.at + FORGE_PARAMETER, cases[i].parameter, 4);
        forge_seal(sample.bytes.at, sample.payload.nbytes);
        CHECK(learnae_payload_open(sample.bytes.at, sample.payload.nbytes, 600, &payload, NULL) ==
              cases[i].status);
    }
    sample_free(&sample);
}

int main(void) {
    check_every_isa(test_write);
    check_every_isa(test_density);
    check_every_isa(test_read);
    check_every_isa(test_any_bytes);
    check_every_isa(test_too_many_ones);
    check_every_isa(test_parameter);
    return 0;
}
