/* Payloads written from models of many arrays: the bytes are those of one array.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

enum { MAX_LEAVES = 12, N_VECTORS = 2 };

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {3, 1};
static const uint8_t cid[LEARNAE_CID_NBYTES] = {1, 0x55, 0x12, 0x20, 7};

/* The same two vectors as one array each and, between unmapped pages, as leaves. */
struct model {
    size_t n;
    size_t n_leaves;
    size_t elements[MAX_LEAVES];
    float *flat[N_VECTORS];
    struct guarded buffers[N_VECTORS * MAX_LEAVES];
    const float *leaves[N_VECTORS * MAX_LEAVES];
};

/* Leaves are empty, shorter than a block, and longer; a pointer of an empty one is NULL. */
static void model_new(struct model *model) {
    static const size_t lengths[] = {0, 1, 2, 255, 256, 1000, 16383, 16384, 16385, 40000};
    memset(model, 0, sizeof *model);
    model->n_leaves = 1 + random_below(MAX_LEAVES);
    for (size_t l = 0; l < model->n_leaves; l++) {
        model->elements[l] = lengths[random_below(sizeof lengths / sizeof lengths[0])];
        model->n += model->elements[l];
    }
    if (model->n == 0) {
        model->elements[0] = model->n = 3;
    }
    for (size_t v = 0; v < N_VECTORS; v++) {
        float *next = model->flat[v] = checked_alloc(model->n * sizeof *next);
        fill_floats(next, model->n, FILL_PLAIN);
        for (size_t l = 0; l < model->n_leaves; next += model->elements[l++]) {
            const size_t n = model->elements[l], at = v * model->n_leaves + l;
            if (n > 0) {
                float *leaf =
                    guarded_floats(&model->buffers[at], n, at % 2 ? GUARD_END : GUARD_START);
                memcpy(leaf, next, n * sizeof *leaf);
                model->leaves[at] = leaf;
            }
        }
    }
}

static void model_free(struct model *model) {
    for (size_t at = 0; at < N_VECTORS * model->n_leaves; at++) {
        if (model->leaves[at] != NULL) {
            guarded_free(&model->buffers[at]);
        }
    }
    free(model->flat[0]);
    free(model->flat[1]);
}

static uint8_t *written(const struct model *model, uint32_t codec, bool in_leaves,
                        learnae_write_options options, size_t *nbytes) {
    const float *const flat[N_VECTORS] = {model->flat[0], model->flat[1]};
    size_t bound;
    options.size = sizeof options;
    options.leaf_elements = in_leaves ? model->elements : NULL;
    options.n_leaves = in_leaves ? model->n_leaves : 0;
    CHECK(learnae_payload_bound(codec, N_VECTORS, model->n, &options, &bound, NULL) == LEARNAE_OK);
    uint8_t *out = checked_alloc(bound);
    CHECK(learnae_payload_write_with(out, bound, codec, schema, in_leaves ? model->leaves : flat,
                                     N_VECTORS, model->n, &options, nbytes, NULL) == LEARNAE_OK);
    return out;
}

static void check_same(const struct model *model, uint32_t codec, learnae_write_options options) {
    size_t n_expected, n_found;
    uint8_t *expected = written(model, codec, false, options, &n_expected);
    uint8_t *found = written(model, codec, true, options, &n_found);
    CHECK(n_found == n_expected && memcmp(found, expected, n_found) == 0);
    free(expected);
    free(found);
}

static void test_same_bytes(void) {
    for (int repeat = 0; repeat < 12; repeat++) {
        struct model model;
        learnae_write_options options = {.size = 0};
        learnae_payload base;
        size_t nbytes;
        model_new(&model);
        for (size_t i = 0; i < model.n; i += 3) {
            model.flat[1][i] = model.flat[0][i]; /* of the base alone: no leaf is written */
        }
        uint8_t *bytes = written(&model, LEARNAE_CODEC_BF16, false, options, &nbytes);
        for (size_t v = 0; v < N_VECTORS; v++) { /* flat and leaves are the same again */
            float *next = model.flat[v];
            for (size_t l = 0; l < model.n_leaves; next += model.elements[l++]) {
                if (model.elements[l] > 0) {
                    memcpy(next, model.leaves[v * model.n_leaves + l],
                           model.elements[l] * sizeof *next);
                }
            }
        }
        CHECK(learnae_payload_open(bytes, nbytes, model.n, &base, NULL) == LEARNAE_OK);
        for (uint32_t codec = LEARNAE_CODEC_F32; codec <= LEARNAE_CODEC_DELTA; codec++) {
            options = (learnae_write_options){.density = codec == LEARNAE_CODEC_TOPK ? 0.1f : 0};
            if (codec != LEARNAE_CODEC_DELTA) {
                check_same(&model, codec, options);
            }
            options.base = &base;
            options.base_cid = cid;
            check_same(&model, codec, options);
        }
        free(bytes);
        model_free(&model);
    }
}

static void test_threads(void) {
    CHECK(learnae_set_threads(3) == LEARNAE_OK);
    test_same_bytes();
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
}

static void test_nonfinite_is_named(void) {
    float first[20000] = {0}, second[300] = {0};
    const float *const leaves[3] = {first, NULL, second};
    const size_t elements[3] = {20000, 0, 300};
    const learnae_write_options options = {
        .size = sizeof options, .leaf_elements = elements, .n_leaves = 3};
    static uint8_t out[1 << 16];
    learnae_message message;
    second[7] = float_from_bits(0x7f800000);
    CHECK(learnae_payload_write_with(out, sizeof out, LEARNAE_CODEC_I8, schema, leaves, 1, 20300,
                                     &options, NULL, &message) == LEARNAE_ERR_NONFINITE);
    CHECK(strstr(message.text, "an infinity at element 20007") != NULL);
}

static void test_refused(void) {
    const float a[4] = {1, 2, 3, 4}, b[2] = {5, 6};
    const float *const leaves[2] = {a, b}, *const missing[2] = {a, NULL};
    static const size_t right[2] = {4, 2}, few[2] = {4, 1}, many[2] = {4, 3};
    static const size_t wrapped[2] = {7, SIZE_MAX};
    const struct {
        const float *const *leaves;
        const size_t *elements;
        size_t n_leaves;
    } bad[] = {{leaves, few, 2},   {leaves, many, 2}, {leaves, wrapped, 2}, {missing, right, 2},
               {leaves, right, 0}, {leaves, NULL, 2}, {leaves, right, 1}};
    uint8_t out[1024];
    learnae_message message;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const learnae_write_options options = {
            .size = sizeof options, .leaf_elements = bad[i].elements, .n_leaves = bad[i].n_leaves};
        size_t nbytes = 77;
        message.text[0] = 0;
        CHECK(learnae_payload_write_with(out, sizeof out, LEARNAE_CODEC_F32, schema, bad[i].leaves,
                                         1, 6, &options, &nbytes,
                                         &message) == LEARNAE_ERR_ARGUMENT);
        CHECK(message.text[0] != 0 && nbytes == 77);
    }
}

int main(void) {
    check_every_isa(test_same_bytes);
    check_every_isa(test_threads);
    check_every_isa(test_nonfinite_is_named);
    check_every_isa(test_refused);
    return 0;
}
