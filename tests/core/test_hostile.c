/* Bytes from others: every truncation, every flipped bit, every header field out of range with
 * its checksums put right. Any bytes give a view or one error, and reading touches nothing
 * outside: the buffers end at unmapped pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

enum { N_ELEMENTS = 700, MAX_NBYTES = 1 << 15 };

struct bytes {
    uint8_t at[MAX_NBYTES];
    size_t nbytes;
};

/* A good payload with several blocks and a shorter last one. */
static void good_of(struct bytes *bytes, const struct forge *forge) {
    bytes->nbytes = (size_t)forge_nbytes(forge);
    CHECK(bytes->nbytes <= MAX_NBYTES);
    memset(bytes->at, 0, bytes->nbytes);
    const bool ternary =
        forge->codec == LEARNAE_CODEC_TERNARY; /* of which not all codes are good */
    const size_t codes = (size_t)forge_scales(forge->codec, 256);
    for (size_t i = codes; i < forge_content(forge->codec, 256); i++) { /* the first block's */
        bytes->at[LEARNAE_HEADER_NBYTES + 64 + i] =
            (uint8_t)(ternary ? (random_bits() & 0x55) * 3 : random_bits() & 0x3f);
    }
    forge_frame(forge, bytes->at);
    forge_seal(bytes->at, bytes->nbytes);
}

static void good(struct bytes *bytes, uint32_t codec) {
    const struct forge forge = {codec, 2, N_ELEMENTS, 256};
    good_of(bytes, &forge);
}

/* As a difference to itself made to stand alone: it can be put together if it names a base. */
static void use_difference(const learnae_payload *payload) {
    learnae_payload base = *payload;
    size_t nbytes;
    memset(base.base, 0, sizeof base.base);
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_F32, payload->n_vectors, payload->n_elements,
                                 &nbytes, NULL) == LEARNAE_OK);
    struct guarded buffer = guarded_new(nbytes, GUARD_END);
    const learnae_status status = learnae_payload_rebase(buffer.at, nbytes, &base, payload, NULL);
    CHECK(status == (payload->base[0] == 0 ? LEARNAE_ERR_ARGUMENT : LEARNAE_OK));
    guarded_free(&buffer);
}

/* Everything that can be done with an accepted payload. */
static void use(const learnae_payload *payload) {
    struct guarded buffer;
    const size_t n = (size_t)payload->n_elements;
    float *out = guarded_floats(&buffer, n, random_below(2) ? GUARD_END : GUARD_START);
    const learnae_payload *const list[5] = {payload, payload, payload, payload, payload};
    const float weights[5] = {1, 2, 3, 4, 5};
    double distance2, norm2, far[9];
    for (uint32_t v = 0; v < payload->n_vectors; v++) {
        CHECK(learnae_payload_decode(payload, v, out, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_accumulate(payload, v, 0.5f, out, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_average(out, 1, list, weights, 5, v, n, NULL) == LEARNAE_OK);
        const learnae_status status =
            learnae_payload_distance(payload, v, out, &distance2, &norm2, NULL);
        CHECK(status == LEARNAE_OK || status == LEARNAE_ERR_NONFINITE);
        CHECK(learnae_payload_median(out, out, list, 2, v, n, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_distances(far, out, list, 2, v, n, NULL) == LEARNAE_OK);
    }
    guarded_free(&buffer);
    use_difference(payload);
}

/* Open and verify from a buffer of exactly nbytes; use whatever opens, verified or not. */
static learnae_status try(const uint8_t *bytes, size_t nbytes) {
    struct guarded buffer = guarded_new(nbytes, GUARD_END);
    learnae_payload payload;
    learnae_message message = {{0}};
    memcpy(buffer.at, bytes, nbytes);
    learnae_status status = learnae_payload_open(buffer.at, nbytes, 100000, &payload, &message);
    if (status == LEARNAE_OK) {
        status = learnae_payload_verify(&payload, &message);
        use(&payload);
    }
    CHECK((status == LEARNAE_OK) == (message.text[0] == 0));
    guarded_free(&buffer);
    return status;
}

static void test_truncated(void) {
    struct bytes bytes;
    good(&bytes, LEARNAE_CODEC_I8);
    CHECK(try(bytes.at, bytes.nbytes) == LEARNAE_OK);
    for (size_t n = 0; n < bytes.nbytes; n++) {
        CHECK(try(bytes.at, n) == LEARNAE_ERR_FORMAT);
    }
    bytes.at[bytes.nbytes] = 0;
    CHECK(try(bytes.at, bytes.nbytes + 1) == LEARNAE_ERR_FORMAT);
}

/* Every bit is under a checksum or a check: no flip goes unnoticed. */
static void test_flipped(void) {
    struct bytes bytes;
    for (uint32_t codec = LEARNAE_CODEC_F32; codec <= FORGE_LAST_CODEC; codec++) {
        good(&bytes, codec);
        for (size_t i = 0; i < bytes.nbytes; i++) {
            const uint8_t bit = (uint8_t)(1u << random_below(8));
            bytes.at[i] ^= bit;
            const learnae_status status = try(bytes.at, bytes.nbytes);
            const bool named = i < FORGE_CODEC; /* magic and version come before checksums */
            CHECK(status == (named ? LEARNAE_ERR_FORMAT : LEARNAE_ERR_CHECKSUM));
            bytes.at[i] ^= bit;
        }
        CHECK(try(bytes.at, bytes.nbytes) == LEARNAE_OK);
    }
}

static const struct {
    size_t at, nbytes;
    uint64_t value;
    learnae_status status;
} mutations[] = {
    {0, 1, 0x88, LEARNAE_ERR_FORMAT},
    {7, 1, 0, LEARNAE_ERR_FORMAT},
    {FORGE_VERSION, 2, 0, LEARNAE_ERR_FORMAT},
    {FORGE_VERSION, 2, 2, LEARNAE_ERR_FORMAT},
    {FORGE_VERSION, 2, 0x100, LEARNAE_ERR_FORMAT},
    {FORGE_CODEC, 2, 0, LEARNAE_ERR_FORMAT},
    {FORGE_CODEC, 2, 2, LEARNAE_ERR_FORMAT}, /* exists, but then the sizes are wrong */
    {FORGE_CODEC, 2, 1000, LEARNAE_ERR_FORMAT},
    {FORGE_CODEC, 2, 0xffff, LEARNAE_ERR_FORMAT},
    {FORGE_N_VECTORS, 4, 0, LEARNAE_ERR_FORMAT},
    {FORGE_N_VECTORS, 4, 1, LEARNAE_ERR_FORMAT},
    {FORGE_N_VECTORS, 4, 3, LEARNAE_ERR_FORMAT},
    {FORGE_N_VECTORS, 4, 5, LEARNAE_ERR_FORMAT},
    {FORGE_N_VECTORS, 4, UINT32_MAX, LEARNAE_ERR_FORMAT},
    {FORGE_N_ELEMENTS, 8, 0, LEARNAE_ERR_FORMAT},
    {FORGE_N_ELEMENTS, 8, 1, LEARNAE_ERR_FORMAT},
    {FORGE_N_ELEMENTS, 8, N_ELEMENTS - 1, LEARNAE_OK}, /* same sizes: pads are zero. A good one */
    {FORGE_N_ELEMENTS, 8, 768, LEARNAE_ERR_FORMAT},
    {FORGE_N_ELEMENTS, 8, 100000, LEARNAE_ERR_FORMAT},
    {FORGE_N_ELEMENTS, 8, 100001, LEARNAE_ERR_SIZE},
    {FORGE_N_ELEMENTS, 8, (uint64_t)1 << 32 | N_ELEMENTS, LEARNAE_ERR_SIZE},
    {FORGE_N_ELEMENTS, 8, UINT64_MAX, LEARNAE_ERR_SIZE},
    {FORGE_BLOCK_LENGTH, 4, 0, LEARNAE_ERR_FORMAT},
    {FORGE_BLOCK_LENGTH, 4, 255, LEARNAE_ERR_FORMAT},
    {FORGE_BLOCK_LENGTH, 4, 257, LEARNAE_ERR_FORMAT},
    {FORGE_BLOCK_LENGTH, 4, 512, LEARNAE_ERR_FORMAT},
    {FORGE_BLOCK_LENGTH, 4, 1048576, LEARNAE_ERR_FORMAT},
    {FORGE_BLOCK_LENGTH, 4, 1048576 + 256, LEARNAE_ERR_FORMAT},
    {FORGE_BLOCK_LENGTH, 4, 0xffffff00, LEARNAE_ERR_FORMAT},
    {FORGE_N_BLOCKS, 4, 0, LEARNAE_ERR_FORMAT},
    {FORGE_N_BLOCKS, 4, 5, LEARNAE_ERR_FORMAT},
    {FORGE_N_BLOCKS, 4, 7, LEARNAE_ERR_FORMAT},
    {FORGE_N_BLOCKS, 4, UINT32_MAX, LEARNAE_ERR_FORMAT},
    {FORGE_NBYTES, 8, 0, LEARNAE_ERR_FORMAT},
    {FORGE_NBYTES, 8, UINT64_MAX, LEARNAE_ERR_FORMAT},
    {FORGE_NBYTES, 1, 1, LEARNAE_ERR_FORMAT},
    {FORGE_SCHEMA + 5, 4, 0x12345678, LEARNAE_OK}, /* the reader's caller compares it */
    {FORGE_BASE, 1, 1, LEARNAE_OK},                /* a CIDv1; what it names is not ours to know */
    {FORGE_BASE, 1, 2, LEARNAE_ERR_FORMAT},
    {FORGE_BASE + 1, 1, 1, LEARNAE_ERR_FORMAT},
    {FORGE_PARAMETER - 1, 1, 0x80, LEARNAE_ERR_FORMAT},
    {FORGE_PARAMETER, 4, 1, LEARNAE_ERR_FORMAT},
    {FORGE_PARAMETER, 4, UINT32_MAX, LEARNAE_ERR_FORMAT},
    {FORGE_RESERVED, 1, 1, LEARNAE_ERR_FORMAT},
    {FORGE_HEADER_CRC - 1, 1, 1, LEARNAE_ERR_FORMAT},
    {LEARNAE_HEADER_NBYTES, 4, 0, LEARNAE_ERR_FORMAT}, /* table: a block's size */
    {LEARNAE_HEADER_NBYTES + 8, 4, 384, LEARNAE_ERR_FORMAT},
    {LEARNAE_HEADER_NBYTES + 40, 4, UINT32_MAX, LEARNAE_ERR_FORMAT},
    {LEARNAE_HEADER_NBYTES + 48, 1, 1, LEARNAE_ERR_FORMAT}, /* table: its padding */
    {LEARNAE_HEADER_NBYTES + 63, 1, 0x80, LEARNAE_ERR_FORMAT},
};

static void test_mutated(void) {
    struct bytes bytes;
    for (size_t i = 0; i < sizeof mutations / sizeof mutations[0]; i++) {
        good(&bytes, LEARNAE_CODEC_I8);
        forge_put(bytes.at + mutations[i].at, mutations[i].value, mutations[i].nbytes);
        forge_seal(bytes.at, bytes.nbytes);
        const learnae_status status = try(bytes.at, bytes.nbytes);
        if (status != mutations[i].status) {
            fprintf(stderr, "mutation %zu gives %s\n", i, learnae_status_name(status));
        }
        CHECK(status == mutations[i].status);
    }
}

/* What only learnae_payload_verify() sees, in a vector's first block and in its last of 188 (or
 * 187) elements. i8: a scale of 4 bytes, 256 codes, 60 bytes of padding. i4: four scales, 128 bytes
 * of codes; in the last block three scales and 94 bytes. sign and ternary: a scale, then 32 or 64
 * bytes. */
static void test_blocks(void) {
    static const struct {
        uint32_t codec, n_elements;
        size_t block, at;
        uint32_t value;
        learnae_status status;
    } changes[] = {
        {LEARNAE_CODEC_I8, 700, 0, 0, 0x7f7fffff, LEARNAE_OK},
        {LEARNAE_CODEC_I8, 700, 0, 0, 0x7f800000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I8, 700, 0, 0, 0x7fc00000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I8, 700, 0, 0, 0xff800000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I8, 700, 0, 0, 0x80000001, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I8, 700, 0, 0, 0xbf800000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I8, 700, 0, 0, 0x80000000, LEARNAE_OK},
        {LEARNAE_CODEC_I8, 700, 0, 4, 0x80808080, LEARNAE_OK}, /* codes of -128 */
        {LEARNAE_CODEC_I8, 700, 0, 260, 1, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I8, 700, 0, 316, 0x80000000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I4, 700, 0, 12, 0x7f7fffff, LEARNAE_OK},
        {LEARNAE_CODEC_I4, 700, 0, 12, 0x7f800000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I4, 700, 0, 16, 0xffffffff, LEARNAE_OK},
        {LEARNAE_CODEC_I4, 700, 0, 140, 0xff800000, LEARNAE_OK},
        {LEARNAE_CODEC_I4, 700, 0, 144, 1, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I4, 700, 2, 8, 0xffc00000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I4, 700, 2, 102, 0xffffffff, LEARNAE_OK},
        {LEARNAE_CODEC_I4, 700, 2, 103, 0xff000000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_I4, 699, 2, 104, 0x0f00, LEARNAE_OK}, /* half of the last byte */
        {LEARNAE_CODEC_I4, 699, 2, 104, 0x1f00, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_SIGN, 700, 0, 0, 0x7f800000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_SIGN, 700, 0, 32, 0xffffffff, LEARNAE_OK},
        {LEARNAE_CODEC_SIGN, 700, 0, 36, 1, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_SIGN, 700, 2, 24, 0x0fffffff,
         LEARNAE_OK}, /* 188 bits end in its last byte */
        {LEARNAE_CODEC_SIGN, 700, 2, 24, 0x1fffffff, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_TERNARY, 700, 0, 0, 0xff800000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_TERNARY, 700, 0, 64, 0x7f, LEARNAE_OK},
        {LEARNAE_CODEC_TERNARY, 700, 0, 12, 0x02, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_TERNARY, 700, 0, 64, 0x80000000, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_TERNARY, 699, 2, 47, 0x3fffffff, LEARNAE_OK}, /* the last byte has 3 codes */
        {LEARNAE_CODEC_TERNARY, 699, 2, 47, 0x7fffffff, LEARNAE_ERR_FORMAT},
        {LEARNAE_CODEC_TERNARY, 699, 2, 47, 0x2fffffff, LEARNAE_ERR_FORMAT},
    };
    struct bytes bytes;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct forge forge = {changes[i].codec, 2, changes[i].n_elements, 256};
        const size_t full = (size_t)forge_up(forge_content(forge.codec, 256));
        good_of(&bytes, &forge);
        forge_put(bytes.at + LEARNAE_HEADER_NBYTES + 64 + changes[i].block * full + changes[i].at,
                  changes[i].value, 4);
        forge_seal(bytes.at, bytes.nbytes);
        CHECK(try(bytes.at, bytes.nbytes) == changes[i].status);
    }
}

/* Bytes at random, more of them in the header; half of the cases with right checksums. */
static void test_random(void) {
    struct bytes bytes;
    for (int repeat = 0; repeat < 4000; repeat++) {
        good(&bytes, 1 + (uint32_t)random_below(FORGE_LAST_CODEC));
        for (size_t change = random_below(4); change-- > 0;) {
            const size_t range = random_below(2) ? 192 : bytes.nbytes;
            bytes.at[random_below(range)] = (uint8_t)random_bits();
        }
        if (random_below(2)) {
            forge_seal(bytes.at, bytes.nbytes);
        }
        (void)try(bytes.at, random_below(9) == 0 ? random_below(bytes.nbytes) : bytes.nbytes);
    }
}

int main(void) {
    check_every_isa(test_truncated);
    check_every_isa(test_flipped);
    check_every_isa(test_mutated);
    check_every_isa(test_blocks);
    check_every_isa(test_random);
    return 0;
}
