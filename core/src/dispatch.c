/* Which kernel tables this binary holds, which of them this CPU can run, and which is in use.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define HAVE_X86 1
#include <cpuid.h>
#elif defined(__GNUC__) && defined(__aarch64__)
#define HAVE_NEON 1
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

static bool runs_always(void) {
    return true;
}

#ifdef HAVE_X86
/* Whether the operating system saves these parts of the registers: without, the instructions in
 * the CPU are of no use. Needs OSXSAVE. */
static bool saves(unsigned state) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}

static bool runs_avx2(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return false;
    }
    const unsigned needed = 1u << 1 | 1u << 12 | 1u << 20 | 1u << 27 | 1u << 28 | 1u << 29;
    /* PCLMUL, FMA, SSE4.2, OSXSAVE, AVX, F16C */
    if ((c & needed) != needed || !saves(1u << 1 | 1u << 2)) { /* XMM and YMM */
        return false;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 5) != 0;
}

#ifdef KNOWS_AVX512
/* VBMI leaves out the first CPUs with AVX-512 (Skylake, Cascade Lake), which lower their clock for
 * it, so that AVX2 is as good there. Of those with VBMI all but Cannon Lake have the rest. */
static bool runs_avx512(void) {
    unsigned a, b, c, d;
    if (!runs_avx2() || !saves(7u << 5)) { /* mask registers, ZMM, and the upper sixteen */
        return false;
    }
    const unsigned needed = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F DQ BW VL */
    const unsigned more = 1u << 1 | 1u << 6 | 1u << 10 | 1u << 11; /* VBMI VBMI2 VPCLMULQDQ VNNI */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & needed) == needed && (c & more) == more;
}
#endif

/* In no row: CPUs with AVX2 may lack it, and some without have it. */
static bool has_sha(void) {
    unsigned a, b, c, d;
    const unsigned needed = 1u << 9 | 1u << 19; /* SSSE3, SSE4.1 */
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed) {
        return false;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29) != 0;
}
#else
static bool has_sha(void) {
    return false;
}
#endif

#ifdef HAVE_NEON
/* Every aarch64 has NEON. The few of the first generation without the CRC-32 instructions run
 * portable, which the compiler vectorises anyway. */
static bool runs_neon(void) {
#if defined(__linux__)
    const unsigned long asimd = 1ul << 1, crc32 = 1ul << 7;
    const unsigned long needed = asimd | crc32;
    return (getauxval(AT_HWCAP) & needed) == needed;
#elif defined(__APPLE__) || defined(__ARM_FEATURE_CRC32)
    return true;
#else
    return false;
#endif
}
#endif

/* Best first. One more ISA is one file in isa/ and one row here. */
static const struct {
    const struct kernel_table *table;
    bool (*runs)(void);
} rows[] = {
#ifdef HAVE_X86
#ifdef KNOWS_AVX512
    {&learnae_internal_avx512, runs_avx512},
#endif
    {&learnae_internal_avx2, runs_avx2},
#endif
#ifdef HAVE_NEON
    {&learnae_internal_neon, runs_neon},
#endif
    {&learnae_internal_portable, runs_always},
};

#define N_ROWS (sizeof rows / sizeof rows[0])

/* NULL until first needed. Threads that get there together all store the same pointer, to
 * constant data, so that relaxed order is enough. */
static _Atomic(const struct kernel_table *) in_use;

/* The i-th table that runs here, or NULL. */
static const struct kernel_table *runnable(size_t i) {
    for (size_t row = 0; row < N_ROWS; row++) {
        if (rows[row].runs() && i-- == 0) {
            return rows[row].table;
        }
    }
    return NULL;
}

const struct kernel_table *learnae_internal_kernels(void) {
    const struct kernel_table *table = atomic_load_explicit(&in_use, memory_order_relaxed);
    if (table == NULL) {
        table = runnable(0);
        atomic_store_explicit(&in_use, table, memory_order_relaxed);
    }
    return table;
}

size_t learnae_n_isas(void) {
    size_t n = 0;
    while (runnable(n) != NULL) {
        n++;
    }
    return n;
}

const char *learnae_isa_name(size_t i) {
    const struct kernel_table *table = runnable(i);
    return table == NULL ? NULL : table->isa;
}

const char *learnae_isa(void) {
    return learnae_internal_kernels()->isa;
}

learnae_status learnae_set_isa(const char *name) {
    const bool best = name == NULL || strcmp(name, "best") == 0;
    for (size_t row = 0; row < N_ROWS; row++) {
        /* The name first: asking the CPU is slow where a hypervisor answers. */
        if ((best || strcmp(name, rows[row].table->isa) == 0) && rows[row].runs()) {
            atomic_store_explicit(&in_use, rows[row].table, memory_order_relaxed);
            return LEARNAE_OK;
        }
    }
    return LEARNAE_ERR_ARGUMENT;
}

int learnae_sha256_in_hardware(void) {
    /* Asking the CPU is slow where a hypervisor answers. */
    static _Atomic int answer; /* 0: not asked yet, 1: no, 2: yes */
    int known = atomic_load_explicit(&answer, memory_order_relaxed);
    if (known == 0) {
        known = has_sha() ? 2 : 1;
        atomic_store_explicit(&answer, known, memory_order_relaxed);
    }
    return known == 2 ? 1 : 0;
}
