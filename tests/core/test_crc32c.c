/* CRC-32C against published vectors (RFC 3720, appendix B.4) and against the definition.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

/* Bit by bit, as the polynomial is defined. */
static uint32_t by_definition(uint32_t crc, const uint8_t *bytes, size_t nbytes) {
    crc = ~crc;
    for (size_t i = 0; i < nbytes; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        }
    }
    return ~crc;
}

static void test_published(void) {
    uint8_t bytes[32];
    CHECK(learnae_crc32c(0, "123456789", 9) == 0xe3069283u);
    CHECK(learnae_crc32c(0, "", 0) == 0 && learnae_crc32c(0x1234u, NULL, 0) == 0x1234u);
    memset(bytes, 0, sizeof bytes);
    CHECK(learnae_crc32c(0, bytes, 32) == 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    CHECK(learnae_crc32c(0, bytes, 32) == 0x62a8ab43u);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    CHECK(learnae_crc32c(0, bytes, 32) == 0x46dd794eu);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    CHECK(learnae_crc32c(0, bytes, 32) == 0x113fdb5cu);
}

static void check_length(size_t n, enum guard guard) {
    struct guarded buffer = guarded_new(n, guard);
    for (size_t i = 0; i < n; i++) {
        buffer.at[i] = (uint8_t)random_bits();
    }
    const uint32_t start = (uint32_t)random_bits();
    const uint32_t expected = by_definition(start, buffer.at, n);
    CHECK(learnae_crc32c(start, buffer.at, n) == expected);
    const size_t cut = random_below(n + 1);
    const uint32_t first = learnae_crc32c(start, buffer.at, cut);
    CHECK(learnae_crc32c(first, buffer.at + cut, n - cut) == expected);
    guarded_free(&buffer);
}

static void test_lengths(void) {
    /* past what the hardware kernels take at once: 3 * 64, 256 and 3 * 256 */
    for (size_t n = 0; n < 840; n++) {
        check_length(n, GUARD_END);
    }
    static const size_t lengths[] = {1023, 1024, 1025, 1535, 1536, 3072, 20011, 65536, 65599};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check_length(lengths[i], GUARD_END);
        check_length(lengths[i], GUARD_START);
    }
}

int main(void) {
    check_every_isa(test_published);
    check_every_isa(test_lengths);
    return 0;
}
