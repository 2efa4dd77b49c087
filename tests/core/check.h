/* What the C tests share: CHECK, random numbers, and buffers that end at unmapped pages.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_CHECK_H
#define LEARNAE_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <learnae.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* Stops at the first failure: later ones are mostly its consequence. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failed(__FILE__, __LINE__, #condition);                                          \
        }                                                                                          \
    } while (0)

static UNUSED void check_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: with %s, false: %s\n", file, line, learnae_isa(), condition);
    exit(1);
}

/* Call `test` under every instruction set of this machine, "portable" last. */
static UNUSED void check_every_isa(void (*test)(void)) {
    for (size_t i = 0; i < learnae_n_isas(); i++) {
        CHECK(learnae_set_isa(learnae_isa_name(i)) == LEARNAE_OK);
        test();
    }
}

/* ---- Random numbers: splitmix64, the same sequence in every run ------------------------- */

static UNUSED uint64_t check_random_state = 20240229;

static UNUSED uint64_t random_bits(void) {
    uint64_t z = check_random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static UNUSED size_t random_below(size_t n) {
    return (size_t)(random_bits() % n);
}

static UNUSED float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static UNUSED uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The header's rule for NaN. */
static UNUSED float canonical(float value) {
    return value == value ? value : float_from_bits(0x7fc00000);
}

/* In (-1, 1). */
static UNUSED float random_float(void) {
    return (float)((double)(int32_t)(uint32_t)random_bits() * 0x1p-31);
}

enum fill { FILL_PLAIN, FILL_FINITE, FILL_ANY };

/* PLAIN is like a model; FINITE adds zeros, subnormals and any exponent; ANY takes all bits. */
static UNUSED float random_value(enum fill fill) {
    const uint64_t draw = random_bits();
    if (fill == FILL_PLAIN || draw % 4 != 0) {
        return random_float();
    }
    uint32_t bits = (uint32_t)(draw >> 32);
    switch (draw / 4 % 8) {
    case 0:
        bits &= 0x80000000u; /* zero */
        break;
    case 1:
        bits &= 0x807fffffu; /* subnormal */
        break;
    case 2:
        bits = 0x33000000u + bits % 0x14800000u; /* what f16 has, and around it */
        break;
    case 3:
        bits = fill == FILL_ANY ? bits | 0x7f800000u : bits; /* NaN */
        break;
    case 4:
        bits = fill == FILL_ANY ? (bits & 0x80000000u) | 0x7f800000u : bits; /* infinity */
        break;
    default:
        break;
    }
    if (fill == FILL_FINITE && (bits & 0x7f800000u) == 0x7f800000u) {
        bits ^= 0x00800000u;
    }
    return float_from_bits(bits);
}

static UNUSED void fill_floats(float *values, size_t n, enum fill fill) {
    for (size_t i = 0; i < n; i++) {
        values[i] = random_value(fill);
    }
}

/* ---- Buffers between two unmapped pages ------------------------------------------------- */

struct guarded {
    uint8_t *at; /* the buffer */
    uint8_t *mapped;
    size_t mapped_nbytes;
};

enum guard { GUARD_END, GUARD_START };

/* A buffer whose end (or whose start) touches an unmapped page: one byte too far is a fault. */
static UNUSED struct guarded guarded_new(size_t nbytes, enum guard guard) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (nbytes + page - 1) / page * page + (nbytes == 0 ? page : 0);
    struct guarded buffer = {.mapped_nbytes = body + 2 * page};
    buffer.mapped = mmap(NULL, buffer.mapped_nbytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(buffer.mapped != MAP_FAILED);
    CHECK(mprotect(buffer.mapped, page, PROT_NONE) == 0);
    CHECK(mprotect(buffer.mapped + page + body, page, PROT_NONE) == 0);
    buffer.at = buffer.mapped + page + (guard == GUARD_END ? body - nbytes : 0);
    return buffer;
}

static UNUSED void guarded_free(struct guarded *buffer) {
    CHECK(munmap(buffer->mapped, buffer->mapped_nbytes) == 0);
    memset(buffer, 0, sizeof *buffer);
}

/* The same, aligned to nothing better than a float. */
static UNUSED float *guarded_floats(struct guarded *buffer, size_t n, enum guard guard) {
    *buffer = guarded_new(n * sizeof(float), guard);
    return (float *)(void *)buffer->at;
}

static UNUSED void *checked_alloc(size_t nbytes) {
    void *memory = malloc(nbytes == 0 ? 1 : nbytes);
    CHECK(memory != NULL);
    return memory;
}

#endif /* LEARNAE_CHECK_H */
