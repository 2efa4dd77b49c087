/* Codecs i8z and i4z: every byte back from any payload, whatever the blocks' lengths, and what any
 * bytes do. tests/kernels has the oracle for the bytes themselves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

/* A payload of i8 or i4, and what it is packed. */
struct sample {
    struct forge forge;
    struct guarded bytes, packed_bytes;
    size_t nbytes, packed_nbytes;
    learnae_payload payload, packed;
};

/* A code of `kind`: 0 always the same, 1 near zero most often, 2 one of three, 3 any. */
static uint8_t random_code(unsigned kind) {
    static const uint8_t few[3] = {0, 127, 129};
    switch (kind) {
    case 0:
        return 255;
    case 1:
        return (uint8_t)(random_below(1 + random_below(1 + random_below(256))));
    case 2:
        return few[random_below(3)];
    default:
        return (uint8_t)random_bits();
    }
}

/* Scales of 1, and codes up to the last of them; what is behind stays 0. */
static void fill_blocks(const struct forge *forge, uint8_t *at, unsigned kind) {
    for (uint64_t b = 0; b < forge_blocks(forge) * forge->n_vectors; b++) {
        const uint64_t length = forge_length(forge, b % forge_blocks(forge));
        const size_t content = (size_t)forge_content(forge->codec, length);
        const size_t scales = (size_t)forge_scales(forge->codec, length);
        for (size_t i = 0; i < scales; i += 4) {
            forge_put(at + i, 0x3f800000, 4);
        }
        for (size_t i = scales; i < content; i++) {
            at[i] = random_code(kind);
        }
        if (length * forge_bits(forge->codec) % 8 != 0) {
            at[content - 1] &= 15;
        }
        at += forge_up(content);
    }
}

static void open_sound(const struct guarded *bytes, size_t nbytes, learnae_payload *payload) {
    CHECK(learnae_payload_open(bytes->at, nbytes, UINT32_MAX, payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(payload, NULL) == LEARNAE_OK);
}

static void sample_new(struct sample *sample, struct forge forge, unsigned kind) {
    size_t bound;
    sample->forge = forge;
    sample->nbytes = (size_t)forge_nbytes(&forge);
    sample->bytes = guarded_new(sample->nbytes, random_below(2) ? GUARD_END : GUARD_START);
    memset(sample->bytes.at, 0, sample->nbytes);
    const uint64_t n_blocks = forge_blocks(&forge) * forge.n_vectors;
    fill_blocks(&forge, sample->bytes.at + LEARNAE_HEADER_NBYTES + forge_up(8 * n_blocks), kind);
    forge_frame(&forge, sample->bytes.at);
    forge_seal(sample->bytes.at, sample->nbytes);
    open_sound(&sample->bytes, sample->nbytes, &sample->payload);
    CHECK(learnae_payload_pack_bound(&sample->payload, &bound, NULL) == LEARNAE_OK);
    struct guarded room = guarded_new(bound, GUARD_END);
    memset(room.at, 0xa5, bound);
    CHECK(learnae_payload_pack(room.at, bound, &sample->payload, &sample->packed_nbytes, NULL) ==
          LEARNAE_OK);
    CHECK(sample->packed_nbytes <= bound && bound <= sample->nbytes + 64 * n_blocks);
    sample->packed_bytes =
        guarded_new(sample->packed_nbytes, random_below(2) ? GUARD_END : GUARD_START);
    memcpy(sample->packed_bytes.at, room.at, sample->packed_nbytes);
    guarded_free(&room);
    open_sound(&sample->packed_bytes, sample->packed_nbytes, &sample->packed);
}

static void sample_free(struct sample *sample) {
    guarded_free(&sample->bytes);
    guarded_free(&sample->packed_bytes);
}

static learnae_status unpack(const learnae_payload *packed, struct guarded *out, size_t *nbytes) {
    CHECK(learnae_payload_pack_bound(packed, nbytes, NULL) == LEARNAE_OK);
    *out = guarded_new(*nbytes, random_below(2) ? GUARD_END : GUARD_START);
    memset(out->at, 0x5a, *nbytes);
    return learnae_payload_unpack(out->at, *nbytes, packed, NULL);
}

static void check_exact(const struct sample *sample) {
    struct guarded out;
    size_t nbytes;
    CHECK(unpack(&sample->packed, &out, &nbytes) == LEARNAE_OK);
    CHECK(nbytes == sample->nbytes && memcmp(out.at, sample->bytes.at, nbytes) == 0);
    guarded_free(&out);
}

static void test_exact(void) {
    static const uint32_t lengths[] = {1, 2, 9, 255, 1000, 16383, 16384, 16385, 50000};
    static const uint32_t block_lengths[] = {256, 512, 16384, 1048576};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            for (size_t b = 0; b < sizeof block_lengths / sizeof block_lengths[0]; b++) {
                const struct forge forge = {b % 2 == kind % 2 ? LEARNAE_CODEC_I8 : LEARNAE_CODEC_I4,
                                            1 + kind % 2, lengths[i], block_lengths[b]};
                struct sample sample;
                sample_new(&sample, forge, kind);
                check_exact(&sample);
                sample_free(&sample);
            }
        }
    }
}

/* Small where codes are unequally frequent, and never much larger. */
static void test_sizes(void) {
    static const size_t least[4] = {15, 78, 22, 100}, most[4] = {16, 86, 25, 101}; /* per cent */
    for (unsigned kind = 0; kind < 4; kind++) {
        const struct forge forge = {LEARNAE_CODEC_I8, 1, 100000, 16384};
        struct sample sample;
        sample_new(&sample, forge, kind);
        CHECK(100 * sample.packed_nbytes >= least[kind] * sample.nbytes);
        CHECK(100 * sample.packed_nbytes <= most[kind] * sample.nbytes);
        sample_free(&sample);
    }
}

/* Blocks are written by several threads at places of their own, and then moved together. */
static void test_threads(void) {
    const struct forge forge = {LEARNAE_CODEC_I4, 2, 3000000, 16384};
    const uint64_t state = check_random_state;
    struct sample alone, shared;
    sample_new(&alone, forge, 1);
    CHECK(learnae_set_threads(3) == LEARNAE_OK);
    check_random_state = state;
    sample_new(&shared, forge, 1);
    check_exact(&shared);
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
    check_exact(&alone);
    CHECK(alone.packed_nbytes == shared.packed_nbytes);
    CHECK(memcmp(alone.packed_bytes.at, shared.packed_bytes.at, alone.packed_nbytes) == 0);
    sample_free(&alone);
    sample_free(&shared);
}

/* What has no values as it is says which call gives them. */
static void check_valueless(const learnae_payload *plain, const learnae_payload *packed) {
    static const uint8_t cid[LEARNAE_CID_NBYTES] = {1};
    float out[8] = {0};
    double distance2, norm2;
    size_t nbytes;
    uint8_t bytes[1024];
    learnae_message message;
    learnae_payload difference = *packed;
    const learnae_payload *const list[2] = {plain, packed};
    const float *const vectors[1] = {out};
    const float weights[2] = {1, 1};
    const learnae_write_options options = {.size = sizeof options, .base = packed, .base_cid = cid};
    memcpy(difference.base, cid, sizeof cid);
    CHECK(learnae_payload_decode(packed, 0, out, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "learnae_payload_unpack") != NULL);
    CHECK(learnae_payload_accumulate(packed, 0, 1, out, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_average(out, 1, list, weights, 2, 0, 8, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_distance(packed, 0, out, &distance2, &norm2, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_median(out, NULL, list, 2, 0, 8, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_write_with(bytes, sizeof bytes, LEARNAE_CODEC_F32, plain->schema, vectors,
                                     1, 8, &options, &nbytes, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_rebase(bytes, sizeof bytes, plain, &difference, &message) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "learnae_payload_unpack") != NULL);
}

static void test_refused(void) {
    const struct forge forge = {LEARNAE_CODEC_I8, 1, 8, 16384};
    struct sample sample;
    size_t nbytes, bound;
    uint8_t bytes[1024];
    const float values[8] = {0};
    const float *const vectors[1] = {values};
    learnae_message message;
    learnae_payload other;
    sample_new(&sample, forge, 3);
    check_valueless(&sample.payload, &sample.packed);
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_I8Z, 1, 8, &nbytes, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_bound(LEARNAE_CODEC_I8Z, 1, 8, NULL, &bound, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_pack_bound(&sample.payload, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes == bound);
    CHECK(learnae_payload_write(bytes, sizeof bytes, LEARNAE_CODEC_I4Z, sample.payload.schema,
                                vectors, 1, 8, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "learnae_payload_pack") != NULL);
    CHECK(learnae_payload_pack(bytes, bound - 1, &sample.payload, &nbytes, NULL) ==
          LEARNAE_ERR_SIZE);
    CHECK(learnae_payload_pack(bytes, bound, &sample.packed, &nbytes, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_pack(NULL, bound, &sample.payload, &nbytes, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_pack(bytes, bound, NULL, &nbytes, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_pack(bytes, bound, &sample.payload, NULL, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_unpack(bytes, sample.nbytes - 1, &sample.packed, NULL) ==
          LEARNAE_ERR_SIZE);
    CHECK(learnae_payload_unpack(bytes, sizeof bytes, &sample.payload, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_write(bytes, sizeof bytes, LEARNAE_CODEC_F32, sample.payload.schema,
                                vectors, 1, 8, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_open(bytes, LEARNAE_HEADER_NBYTES + 128, 8, &other, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_pack_bound(&other, &nbytes, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "f32") != NULL);
    sample_free(&sample);
}

/* A lie about the block at `at`, with the checksums put right: what verifying and unpacking say. */
static void check_lie(struct forge forge, unsigned kind, size_t at, uint8_t value, bool sound,
                      bool unpacks) {
    struct sample sample;
    struct guarded out;
    learnae_payload payload;
    size_t nbytes;
    sample_new(&sample, forge, kind);
    uint8_t *const bytes = sample.packed_bytes.at;
    bytes[LEARNAE_HEADER_NBYTES + 64 + at] ^= value;
    forge_seal(bytes, sample.packed_nbytes);
    CHECK(learnae_payload_open(bytes, sample.packed_nbytes, UINT32_MAX, &payload, NULL) ==
          LEARNAE_OK);
    CHECK(learnae_payload_verify(&payload, NULL) == (sound ? LEARNAE_OK : LEARNAE_ERR_FORMAT));
    CHECK(unpack(&payload, &out, &nbytes) == (unpacks ? LEARNAE_OK : LEARNAE_ERR_FORMAT));
    guarded_free(&out);
    sample_free(&sample);
}

/* i8, 1,000 elements in a block: four scales from byte 4 on, lengths from 20, sizes from 148, and
 * the streams from 164. i4, 999: 16 scales, and raw codes from byte 68 to 567. */
static void test_lies(void) {
    const struct forge i8 = {LEARNAE_CODEC_I8, 1, 1000, 16384};
    const struct forge i4 = {LEARNAE_CODEC_I4, 1, 999, 16384};
    check_lie(i8, 0, 0, 0, true, true);
    check_lie(i8, 0, 0, 1, false, false);            /* no mode 3 */
    check_lie(i8, 0, 0, 2, false, false);            /* nor 0 */
    check_lie(i8, 0, 1, 1, false, false);            /* what must be zero */
    check_lie(i8, 0, 7, 0x80, false, true);          /* a scale of -1 */
    check_lie(i8, 0, 20, 1, false, false);           /* a code that is not complete */
    check_lie(i8, 0, 148, 1, true, false);           /* a size that its stream does not fill */
    check_lie(i8, 0, 148, 64, false, false);         /* or that the block does not hold */
    check_lie(i8, 0, 164, 1, true, true);            /* another code: 0, which has the other word */
    check_lie(i8, 0, 164 + 31, 0x80, true, false);   /* 250 bits end before the last byte does */
    check_lie(i8, 0, 164 + 32 * 4, 1, false, false); /* padding */
    check_lie(i4, 3, 4, 1, true, true);
    check_lie(i4, 3, 68 + 499, 0x10, false, false); /* half a byte left over */
}

/* Blocks that lie: refused by the one who looks first, and never more than refused. */
static void test_any_bytes(void) {
    unsigned n_of[3] = {0};
    for (int repeat = 0; repeat < 8000; repeat++) {
        const struct forge forge = {random_below(2) ? LEARNAE_CODEC_I8 : LEARNAE_CODEC_I4, 1,
                                    300 + random_below(900), 2048};
        struct sample sample;
        struct guarded out;
        size_t nbytes;
        learnae_payload payload, model;
        sample_new(&sample, forge, (unsigned)random_below(3));
        uint8_t *const bytes = sample.packed_bytes.at;
        const size_t first = LEARNAE_HEADER_NBYTES + 64, all = sample.packed_nbytes;
        for (size_t change = 1 + random_below(3); change-- > 0;) {
            bytes[first + random_below(all - first)] ^= (uint8_t)(1u << random_below(8));
        }
        forge_seal(bytes, all);
        CHECK(learnae_payload_open(bytes, all, UINT32_MAX, &payload, NULL) == LEARNAE_OK);
        const learnae_status verified = learnae_payload_verify(&payload, NULL);
        const learnae_status unpacked = unpack(&payload, &out, &nbytes);
        CHECK(verified == LEARNAE_OK || verified == LEARNAE_ERR_FORMAT);
        CHECK(unpacked == LEARNAE_OK || unpacked == LEARNAE_ERR_FORMAT);
        if (unpacked == LEARNAE_OK) { /* all is in order but for scales, which are as they were */
            CHECK(learnae_payload_open(out.at, nbytes, UINT32_MAX, &model, NULL) == LEARNAE_OK);
            CHECK(learnae_payload_verify(&model, NULL) == verified);
        }
        n_of[verified != LEARNAE_OK ? 0 : unpacked != LEARNAE_OK ? 1 : 2]++;
        guarded_free(&out);
        sample_free(&sample);
    }
    CHECK(n_of[0] > 100 && n_of[1] > 100 && n_of[2] > 100);
}

int main(void) {
    check_every_isa(test_exact);
    check_every_isa(test_sizes);
    check_every_isa(test_threads);
    check_every_isa(test_refused);
    check_every_isa(test_lies);
    check_every_isa(test_any_bytes);
    return 0;
}
