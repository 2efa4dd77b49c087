/* CRC-32C: the public call, and the portable kernel (eight bytes a step, by tables).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

/* slices[k][b] is what byte b does to the register when k more bytes follow it. It is linear in
 * b, so the eight single-bit bytes determine all 256 and the preprocessor can write the table.
 * They are the successive states of the register from 0x82f63b78, the polynomial, when it is
 * stepped bit by bit: first those of slice 0 from 0x80 down to 0x01, then those of slice 1, ... */
#define BIT(b, i, state) (((b) >> (i) & 1) != 0 ? state##u : 0u)
#define ENTRY(b, s0, s1, s2, s3, s4, s5, s6, s7)                                                   \
    (BIT(b, 0, s0) ^ BIT(b, 1, s1) ^ BIT(b, 2, s2) ^ BIT(b, 3, s3) ^ BIT(b, 4, s4) ^               \
     BIT(b, 5, s5) ^ BIT(b, 6, s6) ^ BIT(b, 7, s7))
#define FOUR(b, ...)                                                                               \
    ENTRY(b, __VA_ARGS__), ENTRY((b) + 1, __VA_ARGS__), ENTRY((b) + 2, __VA_ARGS__),               \
        ENTRY((b) + 3, __VA_ARGS__)
#define SIXTEEN(b, ...)                                                                            \
    FOUR(b, __VA_ARGS__), FOUR((b) + 4, __VA_ARGS__), FOUR((b) + 8, __VA_ARGS__),                  \
        FOUR((b) + 12, __VA_ARGS__)
#define SIXTY_FOUR(b, ...)                                                                         \
    SIXTEEN(b, __VA_ARGS__), SIXTEEN((b) + 16, __VA_ARGS__), SIXTEEN((b) + 32, __VA_ARGS__),       \
        SIXTEEN((b) + 48, __VA_ARGS__)
#define SLICE(...)                                                                                 \
    {SIXTY_FOUR(0, __VA_ARGS__), SIXTY_FOUR(64, __VA_ARGS__), SIXTY_FOUR(128, __VA_ARGS__),        \
     SIXTY_FOUR(192, __VA_ARGS__)}

static const uint32_t slices[8][256] = {
    SLICE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc,
          0x82f63b78),
    SLICE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604,
          0xfbc3faf9),
    SLICE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9,
          0x8b277743),
    SLICE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7,
          0x52a0c93f),
    SLICE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae,
          0x6ea2d55c),
    SLICE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb,
          0x1c08b7d6),
    SLICE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a,
          0xf56e0ef4),
    SLICE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32,
          0x34019664),
};

uint32_t learnae_internal_crc32c(uint32_t state, const uint8_t *bytes, size_t nbytes) {
    for (; nbytes >= 8; nbytes -= 8, bytes += 8) {
        const uint32_t low = state ^ read_u32(bytes), high = read_u32(bytes + 4);
        state = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^ slices[5][low >> 16 & 0xff] ^
                slices[4][low >> 24] ^ slices[3][high & 0xff] ^ slices[2][high >> 8 & 0xff] ^
                slices[1][high >> 16 & 0xff] ^ slices[0][high >> 24];
    }
    for (; nbytes > 0; nbytes--, bytes++) {
        state = state >> 8 ^ slices[0][(state ^ *bytes) & 0xff];
    }
    return state;
}

uint32_t learnae_crc32c(uint32_t crc, const void *bytes, size_t nbytes) {
    return ~learnae_internal_kernels()->crc32c(~crc, bytes, nbytes);
}
