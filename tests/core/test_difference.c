/* Differences to a base, and both put together again, against plain loops over decoded values.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {1, 2, 3};
static const uint8_t cid[LEARNAE_CID_NBYTES] = {1, 0x55, 0x12, 0x20, 9, 9};

struct model {
    struct guarded bytes;
    learnae_payload payload;
};

static struct model write_model(uint32_t codec, const float *const *vectors, uint32_t n_vectors,
                                size_t n, const learnae_write_options *options) {
    struct model model;
    size_t bound, nbytes = 0;
    CHECK(learnae_payload_bound(codec, n_vectors, n, options, &bound, NULL) == LEARNAE_OK);
    model.bytes = guarded_new(bound, GUARD_END);
    CHECK(learnae_payload_write_with(model.bytes.at, bound, codec, schema, vectors, n_vectors, n,
                                     options, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes > 0 && nbytes <= bound);
    CHECK(learnae_payload_open(model.bytes.at, nbytes, n, &model.payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&model.payload, NULL) == LEARNAE_OK);
    return model;
}

static float *decoded(const learnae_payload *payload, uint32_t vector) {
    float *values = checked_alloc((size_t)payload->n_elements * sizeof *values);
    CHECK(learnae_payload_decode(payload, vector, values, NULL) == LEARNAE_OK);
    return values;
}

/* The payload of `difference`, written as vectors of their own, has the same blocks. */
static void check_difference(const struct model *difference, const struct model *base,
                             const float *const *vectors, size_t n) {
    const learnae_payload *payload = &difference->payload;
    float *left[2];
    for (uint32_t v = 0; v < 2; v++) {
        left[v] = decoded(&base->payload, v);
        for (size_t i = 0; i < n; i++) {
            left[v][i] = canonical(vectors[v][i] - left[v][i]);
        }
    }
    const float *const lefts[2] = {left[0], left[1]};
    struct model expected = write_model(payload->codec, lefts, 2, n, NULL);
    CHECK(memcmp(payload->base, cid, sizeof cid) == 0 && payload->parameter == 0);
    CHECK(expected.payload.nbytes == payload->nbytes);
    CHECK(memcmp(expected.payload.bytes + LEARNAE_HEADER_NBYTES,
                 payload->bytes + LEARNAE_HEADER_NBYTES,
                 payload->nbytes - LEARNAE_HEADER_NBYTES) == 0);
    guarded_free(&expected.bytes);
    free(left[0]);
    free(left[1]);
}

static void check_rebase(const struct model *difference, const struct model *base, size_t n) {
    size_t nbytes;
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_F32, 2, n, &nbytes, NULL) == LEARNAE_OK);
    struct guarded buffer = guarded_new(nbytes, n % 2 ? GUARD_END : GUARD_START);
    learnae_payload sum;
    CHECK(learnae_payload_rebase(buffer.at, nbytes, &base->payload, &difference->payload, NULL) ==
          LEARNAE_OK);
    CHECK(learnae_payload_open(buffer.at, nbytes, n, &sum, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&sum, NULL) == LEARNAE_OK);
    CHECK(sum.codec == LEARNAE_CODEC_F32 && sum.base[0] == 0);
    CHECK(memcmp(sum.schema, schema, sizeof schema) == 0);
    for (uint32_t v = 0; v < 2; v++) {
        float *a = decoded(&base->payload, v), *b = decoded(&difference->payload, v);
        float *total = decoded(&sum, v);
        for (size_t i = 0; i < n; i++) {
            CHECK(float_bits(total[i]) == float_bits(canonical(a[i] + b[i])));
        }
        free(a);
        free(b);
        free(total);
    }
    guarded_free(&buffer);
}

static void test_differences(void) {
    static const size_t lengths[] = {1, 255, 257, 1000, 16384, 16385, 40001};
    for (size_t i = 0; i < 64; i++) {
        const size_t n = lengths[i % 7];
        const uint32_t codec = 1 + (uint32_t)i % FORGE_LAST_CODEC;
        const uint32_t base_codec = 1 + (uint32_t)random_below(FORGE_LAST_CODEC);
        /* scales take no infinity: plain values, whose differences are finite */
        const bool scaled = forge_group(codec) > 0 || forge_group(base_codec) > 0;
        const enum fill fill = scaled ? FILL_PLAIN : FILL_ANY;
        struct guarded inputs[4];
        float *values[4];
        for (size_t v = 0; v < 4; v++) {
            values[v] = guarded_floats(&inputs[v], n, GUARD_END);
            fill_floats(values[v], n, fill);
        }
        const float *const olds[2] = {values[0], values[1]}, *const news[2] = {values[2],
                                                                               values[3]};
        struct model base = write_model(base_codec, olds, 2, n, NULL);
        const learnae_write_options options = {
            .size = sizeof options, .base = &base.payload, .base_cid = cid};
        struct model difference = write_model(codec, news, 2, n, &options);
        check_difference(&difference, &base, news, n);
        check_rebase(&difference, &base, n);
        guarded_free(&difference.bytes);
        guarded_free(&base.bytes);
        for (size_t v = 0; v < 4; v++) {
            guarded_free(&inputs[v]);
        }
    }
}

/* The base's blocks end elsewhere than ours. */
static void test_block_lengths(void) {
    enum { N = 3000 };
    static uint8_t bytes[1 << 16];
    float values[N];
    const float *const vectors[1] = {values};
    const struct forge forge = {LEARNAE_CODEC_F32, 1, N, 768};
    const size_t nbytes = (size_t)forge_nbytes(&forge);
    struct model base;
    CHECK(nbytes <= sizeof bytes);
    memset(bytes, 0, sizeof bytes);
    forge_frame(&forge, bytes);
    memcpy(bytes + FORGE_SCHEMA, schema, sizeof schema);
    const size_t first = LEARNAE_HEADER_NBYTES + 64;
    for (size_t i = 0; i < N; i++) {
        const float value = random_float();
        memcpy(bytes + first + 4 * i, &value, 4);
    }
    forge_seal(bytes, nbytes);
    CHECK(learnae_payload_open(bytes, nbytes, N, &base.payload, NULL) == LEARNAE_OK);
    fill_floats(values, N, FILL_PLAIN);
    const learnae_write_options options = {
        .size = sizeof options, .base = &base.payload, .base_cid = cid};
    struct model difference = write_model(LEARNAE_CODEC_F32, vectors, 1, N, &options);
    float *left = decoded(&difference.payload, 0);
    for (size_t i = 0; i < N; i++) {
        float value;
        memcpy(&value, bytes + first + 4 * i, 4);
        CHECK(float_bits(left[i]) == float_bits(values[i] - value));
    }
    free(left);
    guarded_free(&difference.bytes);
}

static void test_refused(void) {
    const float values[4] = {1, 2, 3, 4};
    const float *const vectors[2] = {values, values};
    struct model base = write_model(LEARNAE_CODEC_F32, vectors, 2, 4, NULL);
    const learnae_write_options good = {
        .size = sizeof good, .base = &base.payload, .base_cid = cid};
    struct model difference = write_model(LEARNAE_CODEC_BF16, vectors, 2, 4, &good);
    static uint8_t out[4096];
    size_t nbytes = 77;
    learnae_message message;
    const learnae_payload foreign = {.n_vectors = 2, .n_elements = 4};
    const learnae_payload longer = {.n_vectors = 2, .n_elements = 5};
    static const uint8_t no_cid[LEARNAE_CID_NBYTES] = {0};
    const learnae_write_options bad[] = {
        {.size = 0},
        {.size = sizeof good, .base = &base.payload},
        {.size = sizeof good, .base_cid = cid},
        {.size = sizeof good, .base = &base.payload, .base_cid = no_cid},
        {.size = sizeof good, .base = &difference.payload, .base_cid = cid},
        {.size = sizeof good, .base = &foreign, .base_cid = cid},
        {.size = sizeof good, .base = &longer, .base_cid = cid},
        {.size = sizeof good, .density = 0.5f},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        message.text[0] = 0;
        CHECK(learnae_payload_write_with(out, sizeof out, LEARNAE_CODEC_F32, schema, vectors, 2, 4,
                                         &bad[i], &nbytes, &message) == LEARNAE_ERR_ARGUMENT);
        CHECK(message.text[0] != 0 && nbytes == 77);
    }
    CHECK(learnae_payload_write_with(out, 100, LEARNAE_CODEC_F32, schema, vectors, 2, 4, &good,
                                     &nbytes, NULL) == LEARNAE_ERR_SIZE);
    const learnae_payload *const pairs[][2] = {
        {NULL, &difference.payload},     {&base.payload, NULL},
        {&base.payload, &base.payload},  {&difference.payload, &difference.payload},
        {&foreign, &difference.payload}, {&longer, &difference.payload}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        CHECK(learnae_payload_rebase(out, sizeof out, pairs[i][0], pairs[i][1], &message) ==
              LEARNAE_ERR_ARGUMENT);
    }
    CHECK(learnae_payload_rebase(out, 100, &base.payload, &difference.payload, NULL) ==
          LEARNAE_ERR_SIZE);
    CHECK(learnae_payload_rebase(NULL, 0, &base.payload, &difference.payload, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    guarded_free(&difference.bytes);
    guarded_free(&base.bytes);
}

/* A program built with a header that had fewer fields, or has more of them than this library. */
static void test_options_of_other_versions(void) {
    const float values[2] = {1, 2};
    const float *const vectors[1] = {values};
    uint8_t out[1024];
    size_t nbytes = 0;
    struct {
        learnae_write_options options;
        uint64_t later;
    } longer = {{.size = sizeof longer}, 0};
    CHECK(learnae_payload_write_with(out, sizeof out, LEARNAE_CODEC_F32, schema, vectors, 1, 2,
                                     &longer.options, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes == LEARNAE_HEADER_NBYTES + 128);
    longer.later = 1;
    CHECK(learnae_payload_write_with(out, sizeof out, LEARNAE_CODEC_F32, schema, vectors, 1, 2,
                                     &longer.options, &nbytes, NULL) == LEARNAE_ERR_ARGUMENT);
    const learnae_write_options shorter = {.size = sizeof(size_t),
                                           .base = (const learnae_payload *)out,
                                           .base_cid = out,
                                           .density = 9};
    CHECK(learnae_payload_write_with(out, sizeof out, LEARNAE_CODEC_F32, schema, vectors, 1, 2,
                                     &shorter, &nbytes, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_bound(LEARNAE_CODEC_F32, 1, 2, &shorter, &nbytes, NULL) == LEARNAE_OK);
}

int main(void) {
    check_every_isa(test_differences);
    check_every_isa(test_block_lengths);
    check_every_isa(test_refused);
    check_every_isa(test_options_of_other_versions);
    return 0;
}
