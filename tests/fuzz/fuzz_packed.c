/* libFuzzer target for codecs i8z and i4z: the input is what a sender puts into one block, and a
 * right frame is made around it. The invariant: any block unpacks to one that is as sound as it is
 * itself, or gives one named error; what was unpacked packs again, and nothing is read or written
 * outside (AddressSanitizer watches; all buffers are exactly sized).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../core/forge.h"
#include "require.h"

enum { MAX_ELEMENTS = 9000, HEAD_NBYTES = 4, FIRST = LEARNAE_HEADER_NBYTES + 64 };

static uint8_t *allocate(size_t nbytes) {
    uint8_t *memory = calloc(1, nbytes);
    REQUIRE(memory != NULL);
    return memory;
}

/* A payload of one block of the input's bytes, in a codec that is packed or not. */
static uint8_t *framed(uint32_t codec, uint32_t n, const uint8_t *content, size_t size,
                       size_t *nbytes) {
    const struct forge forge = {LEARNAE_CODEC_F32, 1, n, LEARNAE_BLOCK_LENGTH};
    REQUIRE(learnae_payload_bound(codec, 1, n, NULL, nbytes, NULL) == LEARNAE_OK);
    const int packed = codec == LEARNAE_CODEC_I8Z || codec == LEARNAE_CODEC_I4Z;
    const size_t own = size == 0 ? 64 : (size_t)forge_up(size), most = *nbytes - FIRST;
    const size_t room = !packed || own > most ? most : own;
    *nbytes = FIRST + room;
    uint8_t *bytes = allocate(*nbytes);
    forge_frame(&forge, bytes);
    forge_put(bytes + FORGE_CODEC, codec, 2);
    forge_put(bytes + FORGE_NBYTES, *nbytes, 8);
    forge_put(bytes + LEARNAE_HEADER_NBYTES, room, 4);
    memcpy(bytes + FIRST, content, size < room ? size : room);
    forge_seal(bytes, *nbytes);
    return bytes;
}

/* The packed form; `payload` is the library's own view of it. */
static uint8_t *packed_of(const learnae_payload *payload, size_t *nbytes) {
    REQUIRE(learnae_payload_pack_bound(payload, nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes = allocate(*nbytes);
    REQUIRE(learnae_payload_pack(bytes, *nbytes, payload, nbytes, NULL) == LEARNAE_OK);
    bytes = realloc(bytes, *nbytes);
    REQUIRE(bytes != NULL);
    return bytes;
}

/* What the library packs, changed where the input is not zero: random bytes alone would hardly ever
 * make a complete prefix code. */
static uint8_t *changed(uint32_t codec, uint32_t n, const uint8_t *changes, size_t size,
                        size_t *nbytes) {
    static uint8_t codes[2 * MAX_ELEMENTS];
    learnae_payload payload;
    for (uint32_t i = 0; i < n + 200; i++) {
        codes[i] = (uint8_t)(i < 200 ? 0 : i % (1 + i % (1 + i % 50)));
    }
    uint8_t *plain = framed(codec, n, codes, n + 200, nbytes);
    REQUIRE(learnae_payload_open(plain, *nbytes, n, &payload, NULL) == LEARNAE_OK);
    uint8_t *bytes = packed_of(&payload, nbytes);
    for (size_t i = 0; i < size && FIRST + i < *nbytes; i++) {
        bytes[FIRST + i] ^= changes[i];
    }
    forge_seal(bytes, *nbytes);
    free(plain);
    return bytes;
}

/* Unpack, and if that goes, pack again and unpack that. */
static void use(const learnae_payload *packed) {
    learnae_payload plain, again;
    size_t nbytes, again_nbytes;
    const learnae_status verified = learnae_payload_verify(packed, NULL);
    REQUIRE(verified == LEARNAE_OK || verified == LEARNAE_ERR_FORMAT);
    REQUIRE(learnae_payload_pack_bound(packed, &nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes = allocate(nbytes), *twice = allocate(nbytes);
    const learnae_status unpacked = learnae_payload_unpack(bytes, nbytes, packed, NULL);
    REQUIRE(unpacked == LEARNAE_OK || unpacked == LEARNAE_ERR_FORMAT);
    if (unpacked == LEARNAE_OK) {
        REQUIRE(learnae_payload_open(bytes, nbytes, MAX_ELEMENTS, &plain, NULL) == LEARNAE_OK);
        REQUIRE(learnae_payload_verify(&plain, NULL) == verified);
        uint8_t *repacked = packed_of(&plain, &again_nbytes);
        REQUIRE(learnae_payload_open(repacked, again_nbytes, MAX_ELEMENTS, &again, NULL) ==
                LEARNAE_OK);
        REQUIRE(learnae_payload_unpack(twice, nbytes, &again, NULL) == LEARNAE_OK);
        REQUIRE(memcmp(bytes, twice, nbytes) == 0);
        free(repacked);
    }
    free(bytes);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD_NBYTES) {
        return 0;
    }
    const uint32_t range = data[0] % 16 == 0 ? MAX_ELEMENTS : 900; /* small ones are fast */
    const uint32_t n = 1 + (uint32_t)forge_get(data, 2) % range;
    const int wide = data[3] % 2;
    size_t nbytes;
    learnae_payload payload;
    uint8_t *bytes = data[3] / 4 % 2 == 0
                         ? framed(wide ? LEARNAE_CODEC_I8Z : LEARNAE_CODEC_I4Z, n,
                                  data + HEAD_NBYTES, size - HEAD_NBYTES, &nbytes)
                         : changed(wide ? LEARNAE_CODEC_I8 : LEARNAE_CODEC_I4, n,
                                   data + HEAD_NBYTES, size - HEAD_NBYTES, &nbytes);
    REQUIRE(learnae_payload_open(bytes, nbytes, n, &payload, NULL) == LEARNAE_OK);
    use(&payload);
    free(bytes);
    return 0;
}
