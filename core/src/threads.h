/* Work cut into tiles, done by as many threads as learnae_set_threads() allowed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_THREADS_H
#define LEARNAE_THREADS_H

#include "internal.h"

#include <stdatomic.h>

/* The tiles of one call, numbered from 0. Whoever takes part takes the next. */
struct tiles {
    atomic_size_t next;
    size_t n;
};

/* Take a tile that nobody else has; false where none is left. One thread's tiles ascend. */
LEARNAE_INLINE bool next_tile(struct tiles *tiles, size_t *tile) {
    *tile = atomic_fetch_add_explicit(&tiles->next, 1, memory_order_relaxed);
    return *tile < tiles->n;
}

/* Runs once in each thread that takes part, and asks next_tile() until it says no. So what a
 * thread needs for its tiles lives on its stack. Tiles must not depend on each other. */
typedef void tiles_job(void *context, struct tiles *tiles);

/* threads.c. Have every tile done, and return. `nbytes` is the memory that all tiles together
 * read and write: below THREADED_NBYTES the caller does them alone. */
LEARNAE_HIDDEN void learnae_internal_run(tiles_job *job, void *context, size_t n_tiles,
                                         uint64_t nbytes);

#endif /* LEARNAE_THREADS_H */
