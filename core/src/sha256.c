/* SHA-256 (FIPS 180-4) of the chunks of an object, which is what content addresses are made of.
 *
 * A round waits for the one before it, so one chunk leaves the CPU's SHA unit idle half of the
 * time. Chunks do not depend on each other: two are hashed in turns, in the time of one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#define BLOCK_NBYTES ((size_t)64)
#define DIGEST_NBYTES ((size_t)32)
#define PAIR 2

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* Likewise of the square roots of the first eight: the state before the first block. */
static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* Takes `n_blocks` blocks from each source into its state. */
typedef void absorb_kernel(uint32_t (*states)[8], const uint8_t *const *sources, size_t n_blocks);

LEARNAE_INLINE uint32_t read_big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

LEARNAE_INLINE uint32_t rotated(uint32_t value, unsigned n) {
    return value >> n | value << (32 - n);
}

static void absorb_portable(uint32_t (*states)[8], const uint8_t *const *sources, size_t n_blocks) {
    uint32_t *const state = states[0];
    for (size_t block = 0; block < n_blocks; block++) {
        uint32_t words[64], s[8];
        for (size_t i = 0; i < 16; i++) {
            words[i] = read_big_endian(sources[0] + block * BLOCK_NBYTES + 4 * i);
        }
        for (size_t i = 16; i < 64; i++) {
            const uint32_t a = words[i - 15], b = words[i - 2];
            words[i] = words[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + words[i - 7] +
                       (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        memcpy(s, state, sizeof s);
        for (size_t i = 0; i < 64; i++) {
            const uint32_t t = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) +
                               ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + words[i];
            const uint32_t u = (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) +
                               ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof s[0]);
            s[4] += t;
            s[0] = t + u;
        }
        for (size_t i = 0; i < 8; i++) {
            state[i] += s[i];
        }
    }
}

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))

#include <immintrin.h>

/* Clang takes loops of constant length apart by itself. */
#if !defined(__clang__) && __GNUC__ >= 8
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

#define WITH_SHA __attribute__((target("sha,sse4.1")))
#define WITH_SHA_INLINE WITH_SHA static inline __attribute__((always_inline))

/* The unit wants the state as two vectors, named by their words from the top: ABEF and CDGH. */
struct halves {
    __m128i abef, cdgh;
};

WITH_SHA_INLINE __m128i load(const void *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

WITH_SHA_INLINE struct halves load_state(const uint32_t *state) {
    const __m128i cdab = _mm_shuffle_epi32(load(state), 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(load(state + 4), 0x1b);
    return (struct halves){_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

WITH_SHA_INLINE void store_state(uint32_t *state, struct halves s) {
    const __m128i feba = _mm_shuffle_epi32(s.abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(s.cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

WITH_SHA_INLINE struct halves four_rounds(struct halves s, __m128i words, int i) {
    const __m128i sum = _mm_add_epi32(words, load(constants + 4 * i));
    s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, sum);
    s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, _mm_shuffle_epi32(sum, 0x0e));
    return s;
}

/* The next four words of the schedule from the last sixteen, `a` the oldest. */
WITH_SHA_INLINE __m128i next_words(__m128i a, __m128i b, __m128i c, __m128i d) {
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
    return _mm_sha256msg2_epu32(sum, d);
}

WITH_SHA_INLINE void absorb(uint32_t (*states)[8], const uint8_t *const *sources, size_t n_blocks,
                            const int n_sources) {
    const __m128i big_endian = _mm_set_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
    struct halves now[PAIR];
    for (int k = 0; k < n_sources; k++) {
        now[k] = load_state(states[k]);
    }
    for (size_t block = 0; block < n_blocks; block++) {
        struct halves before[PAIR];
        __m128i words[PAIR][4];
        for (int k = 0; k < n_sources; k++) {
            const uint8_t *const at = sources[k] + block * BLOCK_NBYTES;
            before[k] = now[k];
            UNROLLED
            for (int i = 0; i < 4; i++) {
                words[k][i] = _mm_shuffle_epi8(load(at + 16 * i), big_endian);
            }
        }
        UNROLLED
        for (int i = 0; i < 16; i++) {
            UNROLLED
            for (int k = 0; k < n_sources; k++) {
                __m128i *const w = words[k];
                now[k] = four_rounds(now[k], w[i % 4], i);
                if (i < 12) {
                    w[i % 4] = next_words(w[i % 4], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]);
                }
            }
        }
        for (int k = 0; k < n_sources; k++) {
            now[k].abef = _mm_add_epi32(now[k].abef, before[k].abef);
            now[k].cdgh = _mm_add_epi32(now[k].cdgh, before[k].cdgh);
        }
    }
    for (int k = 0; k < n_sources; k++) {
        store_state(states[k], now[k]);
    }
}

WITH_SHA static void absorb_one_sha(uint32_t (*states)[8], const uint8_t *const *sources,
                                    size_t n_blocks) {
    absorb(states, sources, n_blocks, 1);
}

WITH_SHA static void absorb_two_sha(uint32_t (*states)[8], const uint8_t *const *sources,
                                    size_t n_blocks) {
    absorb(states, sources, n_blocks, PAIR);
}

#else

#define absorb_one_sha absorb_portable
#define absorb_two_sha absorb_portable /* never called */

#endif

/* The digests of `n_sources` chunks of the same length. */
static void hash(uint8_t *digests, const uint8_t *const *sources, size_t n_sources, size_t nbytes,
                 absorb_kernel *kernel) {
    uint32_t states[PAIR][8];
    uint8_t ends[PAIR][2 * BLOCK_NBYTES];
    const uint8_t *at_ends[PAIR];
    const size_t n_whole = nbytes / BLOCK_NBYTES, n_left = nbytes % BLOCK_NBYTES;
    /* A one, zeros, and the length in bits in the last eight bytes. */
    const size_t n_end = n_left + 9 <= BLOCK_NBYTES ? 1 : 2;
    for (size_t k = 0; k < n_sources; k++) {
        memcpy(states[k], initial, sizeof initial);
        memset(ends[k], 0, sizeof ends[k]);
        if (n_left > 0) {
            memcpy(ends[k], sources[k] + n_whole * BLOCK_NBYTES, n_left);
        }
        ends[k][n_left] = 0x80;
        for (size_t i = 0; i < 8; i++) {
            ends[k][n_end * BLOCK_NBYTES - 1 - i] = (uint8_t)((uint64_t)nbytes << 3 >> 8 * i);
        }
        at_ends[k] = ends[k];
    }
    kernel(states, sources, n_whole);
    kernel(states, at_ends, n_end);
    for (size_t k = 0; k < n_sources; k++) {
        for (size_t i = 0; i < DIGEST_NBYTES; i++) {
            digests[k * DIGEST_NBYTES + i] = (uint8_t)(states[k][i / 4] >> 8 * (3 - i % 4));
        }
    }
}

void learnae_sha256_chunks(uint8_t *digests, const void *bytes, size_t nbytes,
                           size_t chunk_nbytes) {
    const bool in_hardware = learnae_sha256_in_hardware() != 0 &&
                             learnae_internal_kernels() != &learnae_internal_portable;
    const uint8_t *at = bytes;
    const size_t whole = chunk_nbytes == 0 ? nbytes : chunk_nbytes;
    bool is_first = true; /* an object without bytes has one chunk without bytes */
    while (in_hardware && whole > 0 && nbytes / 2 >= whole) {
        const uint8_t *const sources[PAIR] = {at, at + whole};
        hash(digests, sources, PAIR, whole, absorb_two_sha);
        is_first = false;
        nbytes -= 2 * whole;
        at += 2 * whole;
        digests += 2 * DIGEST_NBYTES;
    }
    while (is_first || nbytes > 0) {
        const size_t length = nbytes < whole ? nbytes : whole;
        hash(digests, &at, 1, length, in_hardware ? absorb_one_sha : absorb_portable);
        is_first = false;
        nbytes -= length;
        if (length > 0) { /* NULL may not even have 0 added to it */
            at += length;
        }
        digests += DIGEST_NBYTES;
    }
}
