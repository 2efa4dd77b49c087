/* Where vectors of results go, one after the other: to memory as vec_store() has it, or past the
 * caches, so that memory is not read before it is overwritten. By the time of plain stores, medians
 * of 5 models of 5e6 take 0.91 (one thread of a Zen 4) and 0.88 (two), trimmed means 0.91 and 0.90,
 * those of 9 models 0.92 and 0.92, and 0.99 and 0.98.
 *
 * Such stores take aligned vectors only, while results start wherever the caller's memory does:
 * each vector is turned by as many elements as there are from an aligned address to its own, so
 * that of two in a row one aligned vector can be made. To collect some lines in the first-level
 * cache and copy them from there costs as much as is saved: 1.1 and 0.95 for a trimmed mean of 5.
 * With eight lanes the joining costs a trimmed mean of 9 eight per cent, so the AVX2 row does
 * without.
 *
 * Where the ISA file defines STREAMS, it has
 *   vec_stream(at, a), to an aligned address, and stream_end(), before others are told of it
 *   turn           turn_by(n), vec_turn(a, turn): element i becomes i + n, the last n the first;
 *                  vec_join(a, b, turn): the first n elements of a, the others of b
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifdef STREAMS

/* All zero: plain stores. */
struct KERNEL(sink) {
    bool past_caches;
    size_t n_carried; /* elements from an aligned address to that of the next vector */
    vec carried;      /* they come first here; others follow */
    turn turn;
};

/* What is put from `at` on goes past the caches; so does the vector before it, as memory has it. */
LEARNAE_INLINE void KERNEL(past_caches_from)(struct KERNEL(sink) * sink, const float *at) {
    if ((uintptr_t)at % sizeof(float) == 0) {
        sink->past_caches = true;
        sink->n_carried = (uintptr_t)at / sizeof(float) % LANES;
        sink->turn = turn_by((int)sink->n_carried);
        sink->carried = vec_turn(vec_load(at - LANES), sink->turn);
    }
}

LEARNAE_INLINE void KERNEL(put)(struct KERNEL(sink) * sink, float *at, vec a) {
    if (sink->past_caches) {
        const vec turned = vec_turn(a, sink->turn);
        vec_stream(at - sink->n_carried, vec_join(sink->carried, turned, sink->turn));
        sink->carried = turned;
    } else {
        vec_store(at, a);
    }
}

/* Nothing more is put; `at` is where it would have gone. */
LEARNAE_INLINE void KERNEL(end)(struct KERNEL(sink) * sink, float *at) {
    if (sink->past_caches) {
        float carried[LANES];
        vec_store(carried, sink->carried);
        memcpy(at - sink->n_carried, carried, sink->n_carried * sizeof(float));
        stream_end();
    }
}

#else

struct KERNEL(sink) {
    char nothing;
};

LEARNAE_INLINE void KERNEL(past_caches_from)(struct KERNEL(sink) * sink, const float *at) {
    (void)sink;
    (void)at;
}

LEARNAE_INLINE void KERNEL(put)(struct KERNEL(sink) * sink, float *at, vec a) {
    (void)sink;
    vec_store(at, a);
}

LEARNAE_INLINE void KERNEL(end)(struct KERNEL(sink) * sink, float *at) {
    (void)sink;
    (void)at;
}

#endif
