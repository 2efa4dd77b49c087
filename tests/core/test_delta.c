/* Codec delta: every bit back from any base and model, whatever the blocks' lengths, and what any
 * bytes do. tests/kernels has the oracle for the bytes themselves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {3};
static const uint8_t cid[LEARNAE_CID_NBYTES] = {1, 0x55, 0x12, 0x20};

/* A base, a model, and the payload that makes one of the other. */
struct sample {
    struct guarded base_bytes, bytes;
    learnae_payload base, payload;
    float *old, *new;
    size_t n;
};

/* A model that is `kind` away: 0 the same, 1 near, 2 half of it near, 3 any bits. */
static void move_floats(float *new, const float *old, size_t n, unsigned kind) {
    for (size_t i = 0; i < n; i++) {
        new[i] = old[i];
        if (kind == 3) {
            new[i] = float_from_bits((uint32_t)random_bits());
        } else if (kind == 1 || (kind == 2 && random_below(2) == 0)) {
            new[i] = old[i] + random_float() * 1e-3f;
        }
    }
}

static void sample_new(struct sample *sample, size_t n, uint32_t n_vectors, unsigned kind) {
    const float *olds[LEARNAE_N_VECTORS_MAX], *news[LEARNAE_N_VECTORS_MAX];
    size_t nbytes, bound;
    sample->n = n;
    sample->old = checked_alloc(n * n_vectors * sizeof(float));
    sample->new = checked_alloc(n * n_vectors * sizeof(float));
    fill_floats(sample->old, n * n_vectors, kind == 3 ? FILL_ANY : FILL_PLAIN);
    move_floats(sample->new, sample->old, n * n_vectors, kind);
    for (uint32_t v = 0; v < n_vectors; v++) {
        olds[v] = sample->old + v * n;
        news[v] = sample->new + v * n;
    }
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_F32, n_vectors, n, &nbytes, NULL) == LEARNAE_OK);
    sample->base_bytes = guarded_new(nbytes, GUARD_END);
    CHECK(learnae_payload_write(sample->base_bytes.at, nbytes, LEARNAE_CODEC_F32, schema, olds,
                                n_vectors, n, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_open(sample->base_bytes.at, nbytes, n, &sample->base, NULL) ==
          LEARNAE_OK);
    const learnae_write_options options = {
        .size = sizeof options, .base = &sample->base, .base_cid = cid};
    CHECK(learnae_payload_bound(LEARNAE_CODEC_DELTA, n_vectors, n, &options, &bound, NULL) ==
          LEARNAE_OK);
    struct guarded room = guarded_new(bound, GUARD_END);
    memset(room.at, 0xa5, bound);
    CHECK(learnae_payload_write_with(room.at, bound, LEARNAE_CODEC_DELTA, schema, news, n_vectors,
                                     n, &options, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes <= bound);
    sample->bytes = guarded_new(nbytes, random_below(2) ? GUARD_END : GUARD_START);
    memcpy(sample->bytes.at, room.at, nbytes);
    guarded_free(&room);
    CHECK(learnae_payload_open(sample->bytes.at, nbytes, n, &sample->payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&sample->payload, NULL) == LEARNAE_OK);
}

static void sample_free(struct sample *sample) {
    guarded_free(&sample->base_bytes);
    guarded_free(&sample->bytes);
    free(sample->old);
    free(sample->new);
}

static learnae_status rebase(const struct sample *sample, const learnae_payload *payload,
                             struct guarded *out, size_t *nbytes) {
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_F32, payload->n_vectors, payload->n_elements, nbytes,
                                 NULL) == LEARNAE_OK);
    *out = guarded_new(*nbytes, random_below(2) ? GUARD_END : GUARD_START);
    return learnae_payload_rebase(out->at, *nbytes, &sample->base, payload, NULL);
}

static void check_exact(const struct sample *sample) {
    struct guarded out;
    size_t nbytes;
    learnae_payload model;
    CHECK(rebase(sample, &sample->payload, &out, &nbytes) == LEARNAE_OK);
    CHECK(learnae_payload_open(out.at, nbytes, sample->n, &model, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&model, NULL) == LEARNAE_OK);
    float *values = checked_alloc(sample->n * sizeof *values);
    for (uint32_t v = 0; v < model.n_vectors; v++) {
        CHECK(learnae_payload_decode(&model, v, values, NULL) == LEARNAE_OK);
        CHECK(memcmp(values, sample->new + v * sample->n, sample->n * sizeof *values) == 0);
    }
    free(values);
    guarded_free(&out);
}

static void test_exact(void) {
    static const size_t lengths[] = {1, 2, 3, 4, 5, 255, 1000, 16383, 16384, 16385, 50000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            struct sample sample;
            sample_new(&sample, lengths[i], 1 + kind % 2, kind);
            check_exact(&sample);
            sample_free(&sample);
        }
    }
}

/* Blocks are written by several threads at places of their own, and then moved together. */
static void test_threads(void) {
    struct sample alone, shared;
    const uint64_t state = check_random_state;
    sample_new(&alone, 300000, 2, 2);
    CHECK(learnae_set_threads(3) == LEARNAE_OK);
    check_random_state = state;
    sample_new(&shared, 300000, 2, 2);
    check_exact(&shared);
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
    check_exact(&alone);
    CHECK(alone.payload.nbytes == shared.payload.nbytes);
    CHECK(memcmp(alone.bytes.at, shared.bytes.at, shared.payload.nbytes) == 0);
    sample_free(&alone);
    sample_free(&shared);
}

/* One block is taken as it is into a frame with longer blocks: the writer makes no such. */
static void test_long_blocks(void) {
    struct sample sample;
    sample_new(&sample, 9999, 1, 2);
    uint8_t *const bytes = sample.bytes.at;
    forge_put(bytes + FORGE_BLOCK_LENGTH, LEARNAE_BLOCK_LENGTH_MAX, 4);
    forge_seal(bytes, sample.payload.nbytes);
    CHECK(learnae_payload_open(bytes, sample.payload.nbytes, 9999, &sample.payload, NULL) ==
          LEARNAE_OK);
    CHECK(learnae_payload_verify(&sample.payload, NULL) == LEARNAE_OK);
    check_exact(&sample);
    sample_free(&sample);
}

static void test_refused(void) {
    struct sample sample;
    float out[8] = {0};
    double distance2, norm2;
    size_t nbytes;
    const float *const vectors[1] = {out};
    const float weights[2] = {1, 1};
    uint8_t bytes[1024];
    learnae_message message;
    sample_new(&sample, 8, 1, 1);
    const learnae_payload *const list[2] = {&sample.base, &sample.payload};
    const learnae_payload *const delta = &sample.payload;
    CHECK(learnae_payload_decode(delta, 0, out, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "learnae_payload_rebase") != NULL);
    CHECK(learnae_payload_accumulate(delta, 0, 1, out, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_average(out, 1, list, weights, 2, 0, 8, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_distance(delta, 0, out, &distance2, &norm2, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(out, NULL, list, 2, 0, 8, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_DELTA, 1, 8, &nbytes, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_write(bytes, sizeof bytes, LEARNAE_CODEC_DELTA, schema, vectors, 1, 8,
                                NULL) == LEARNAE_ERR_ARGUMENT);
    const learnae_write_options options = {
        .size = sizeof options, .base = &sample.base, .base_cid = cid};
    CHECK(learnae_payload_write_with(bytes, 200, LEARNAE_CODEC_DELTA, schema, vectors, 1, 8,
                                     &options, &nbytes, NULL) == LEARNAE_ERR_SIZE);
    sample_free(&sample);
}

/* Header and table that contradict the blocks. */
static void test_frames(void) {
    static const struct {
        size_t at, nbytes;
        uint64_t value;
    } changes[] = {
        {FORGE_BASE, 1, 0},
        {FORGE_NBYTES, 8, 0},
        {FORGE_NBYTES, 8, UINT64_MAX},
        {FORGE_N_ELEMENTS, 8, 1}, /* the block is more than the most for one */
        {FORGE_PARAMETER, 4, 1},
        {LEARNAE_HEADER_NBYTES, 4, 0},
        {LEARNAE_HEADER_NBYTES, 4, 63},
        {LEARNAE_HEADER_NBYTES, 4, UINT32_MAX},
        {LEARNAE_HEADER_NBYTES + 8, 4, 128},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct sample sample;
        learnae_payload payload;
        sample_new(&sample, 700, 2, 3);
        forge_put(sample.bytes.at + changes[i].at, changes[i].value, changes[i].nbytes);
        forge_seal(sample.bytes.at, sample.payload.nbytes);
        CHECK(learnae_payload_open(sample.bytes.at, sample.payload.nbytes, 700, &payload, NULL) ==
              LEARNAE_ERR_FORMAT);
        sample_free(&sample);
    }
}

/* Blocks that lie: refused by the one who looks first, and never more than refused. */
static void test_any_bytes(void) {
    unsigned n_of[3] = {0};
    for (int repeat = 0; repeat < 8000; repeat++) {
        struct sample sample;
        struct guarded out;
        size_t nbytes;
        sample_new(&sample, 1 + random_below(500), 1 + (uint32_t)random_below(2),
                   1 + (unsigned)random_below(3));
        uint8_t *const bytes = sample.bytes.at;
        const size_t first = LEARNAE_HEADER_NBYTES + 64, all = sample.payload.nbytes;
        for (size_t change = 1 + random_below(3); change-- > 0;) {
            const size_t range = random_below(3) ? all - first : 48;
            bytes[first + random_below(range)] ^= (uint8_t)(1u << random_below(8));
        }
        forge_seal(bytes, all);
        learnae_payload payload;
        CHECK(learnae_payload_open(bytes, all, sample.n, &payload, NULL) == LEARNAE_OK);
        const learnae_status verified = learnae_payload_verify(&payload, NULL);
        const learnae_status rebased = rebase(&sample, &payload, &out, &nbytes);
        CHECK(verified == LEARNAE_OK || verified == LEARNAE_ERR_FORMAT);
        CHECK(rebased == LEARNAE_OK || rebased == LEARNAE_ERR_FORMAT);
        CHECK(verified == LEARNAE_OK || rebased == LEARNAE_ERR_FORMAT);
        n_of[(verified == LEARNAE_OK) + (rebased == LEARNAE_OK)]++;
        guarded_free(&out);
        sample_free(&sample);
    }
    CHECK(n_of[0] > 100 && n_of[1] > 100 && n_of[2] > 100);
}

int main(void) {
    check_every_isa(test_exact);
    check_every_isa(test_threads);
    check_every_isa(test_long_blocks);
    check_every_isa(test_refused);
    check_every_isa(test_frames);
    check_every_isa(test_any_bytes);
    return 0;
}
