/* The thread pool: a queue of tiles that the caller works off itself, and sleeping workers that
 * help if they come in time.
 *
 * A worker takes part in two steps. Waking up, it joins the call under way by counting itself
 * into `state`; then it takes tiles until none is left. The caller does the same without being
 * woken. When it finds no tile left it closes `state`, and waits for those that have joined,
 * each of them busy with its last tile. A worker that the operating system has not yet run,
 * because the other cores are busy, finds the call closed and goes back to sleep: nobody waited
 * for it. That is why work is not split in advance: with one core taken, a static split over
 * two threads was up to 2.75 times slower than one thread.
 *
 * One call at a time has the pool: a second one, from another thread, works alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#if !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* -std=c11 hides the signal mask */
#endif
#include "threads.h"

#if !defined(LEARNAE_NO_THREADS) && (defined(__unix__) || defined(__APPLE__))

#include <pthread.h>
#include <signal.h>
#include <time.h>

/* Waking a worker costs the caller some microseconds and the worker some tens: as much as a core
 * needs for a megabyte out of the second-level cache. */
#define THREADED_NBYTES (1u << 20)

/* The header promises to live in 192 KiB; the rest is for signal frames and sanitizers. */
#define STACK_NBYTES (512u << 10)

/* Where other programs keep the cores busy, a worker may lose its core in the middle of a tile, for
 * some milliseconds that the caller then has to wait. So after a wait of a millisecond or more the
 * caller does the next calls alone, up to 63 of them where that happens again and again; only
 * calls so large that they take longer than such a wait try each time. */
#define LONG_WAIT_NS 1000000
#define MAX_ALONE 63
#define ALWAYS_SHARED_NBYTES (256u << 20)

/* Turns of a worker that waits for the next call without going to sleep: some 20 microseconds.
 * Calls that follow each other at once then need no system call. */
#define N_SPINS 500

/* Bit 31 of `state`: the call under way may be joined. Below it: how many have. */
#define OPEN 0x80000000u

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER; /* held by the call that has the pool */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* workers: there is a call, or an end of all calls */
    pthread_cond_t done; /* the caller: all that joined have left */
    /* Under `owner`: */
    pthread_t workers[LEARNAE_N_THREADS_MAX - 1];
    size_t n_workers;
    tiles_job *job;
    void *context;
    struct tiles *tiles;
    unsigned n_alone;    /* calls still to be done alone */
    unsigned next_alone; /* how many it will be after the next long wait */
    /* Changed under `mutex`; read without it by those that spin: */
    atomic_uint call; /* counts calls */
    atomic_bool stop;
    size_t n_asleep; /* under `mutex` */
    atomic_uint state;
    atomic_uint n_left;
    atomic_bool caller_waits;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static atomic_size_t n_threads = 1;

static void pause_a_little(void) {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("isb"); /* "yield" does nothing on most cores */
#endif
}

/* ---- Workers ------------------------------------------------------------------------- */

/* Wait until there is another call than `seen`; false where the worker shall end. */
static bool wait_for_call(unsigned *seen) {
    for (int spin = 0; spin < N_SPINS; spin++) {
        const unsigned call = atomic_load(&pool.call);
        if (call != *seen) {
            *seen = call;
            return true;
        }
        pause_a_little();
    }
    pthread_mutex_lock(&pool.mutex);
    pool.n_asleep++;
    while (atomic_load(&pool.call) == *seen && !atomic_load(&pool.stop)) {
        pthread_cond_wait(&pool.wake, &pool.mutex);
    }
    pool.n_asleep--;
    *seen = atomic_load(&pool.call);
    const bool stop = atomic_load(&pool.stop);
    pthread_mutex_unlock(&pool.mutex);
    return !stop;
}

/* Whichever call is open, be it a later one than the worker was woken for. */
static bool join_call(void) {
    unsigned state = atomic_load(&pool.state);
    while (state & OPEN) {
        if (atomic_compare_exchange_weak(&pool.state, &state, state + 1)) {
            return true;
        }
    }
    return false;
}

static void leave_call(void) {
    atomic_fetch_add(&pool.n_left, 1);
    if (atomic_load(&pool.caller_waits)) {
        pthread_mutex_lock(&pool.mutex);
        pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.mutex);
    }
}

static void *work(void *unused) {
    (void)unused;
    unsigned seen = 0;
    while (wait_for_call(&seen)) {
        if (join_call()) {
            pool.job(pool.context, pool.tiles);
            leave_call();
        }
    }
    return NULL;
}

/* ---- The caller ---------------------------------------------------------------------- */

static void open_call(tiles_job *job, void *context, struct tiles *tiles) {
    pool.job = job;
    pool.context = context;
    pool.tiles = tiles;
    atomic_store(&pool.n_left, 0);
    atomic_store(&pool.state, OPEN);
    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.call, 1);
    const bool asleep = pool.n_asleep > 0;
    pthread_mutex_unlock(&pool.mutex);
    if (asleep) {
        pthread_cond_broadcast(&pool.wake);
    }
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Those that joined are in their last tile: they are waited for awake, then asleep, so that a
 * worker whose core was taken from it may have this one. False where that took long. */
static bool close_call(void) {
    const unsigned joined = atomic_exchange(&pool.state, 0) & ~OPEN;
    for (int spin = 0; spin < N_SPINS; spin++) {
        if (atomic_load(&pool.n_left) == joined) {
            return true;
        }
        pause_a_little();
    }
    const int64_t start = now_ns();
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.caller_waits, true);
    while (atomic_load(&pool.n_left) != joined) {
        pthread_cond_wait(&pool.done, &pool.mutex);
    }
    atomic_store(&pool.caller_waits, false);
    pthread_mutex_unlock(&pool.mutex);
    return now_ns() - start < LONG_WAIT_NS;
}

/* With `owner` held. */
static void share(tiles_job *job, void *context, struct tiles *tiles, uint64_t nbytes) {
    if (pool.n_workers == 0 || (pool.n_alone > 0 && nbytes < ALWAYS_SHARED_NBYTES)) {
        pool.n_alone -= pool.n_alone > 0;
        job(context, tiles);
        return;
    }
    open_call(job, context, tiles);
    job(context, tiles);
    const bool quick = close_call();
    if (nbytes < ALWAYS_SHARED_NBYTES) {
        pool.n_alone = quick ? 0 : pool.next_alone;
        pool.next_alone = quick ? 1 : 2 * pool.n_alone + 1;
        pool.next_alone = pool.next_alone < MAX_ALONE ? pool.next_alone : MAX_ALONE;
    }
}

void learnae_internal_run(tiles_job *job, void *context, size_t n_tiles, uint64_t nbytes) {
    struct tiles tiles = {0, n_tiles};
    const bool alone = n_tiles < 2 || nbytes < THREADED_NBYTES ||
                       atomic_load_explicit(&n_threads, memory_order_relaxed) < 2 ||
                       pthread_mutex_trylock(&owner) != 0;
    if (alone) {
        job(context, &tiles);
        return;
    }
    share(job, context, &tiles, nbytes);
    pthread_mutex_unlock(&owner);
}

/* ---- Starting and ending workers ------------------------------------------------------ */

static void end_workers(void) {
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.stop, true);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
    for (size_t i = 0; i < pool.n_workers; i++) {
        pthread_join(pool.workers[i], NULL);
    }
    pool.n_workers = 0;
    pool.n_alone = 0;
    pool.next_alone = 1;
    atomic_store(&pool.stop, false);
    atomic_store(&pool.call, 0); /* where a new worker begins to count */
}

/* Workers take no signal: the host's handlers expect the host's threads. */
static bool start_workers(size_t n) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attributes, STACK_NBYTES);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.n_workers < n &&
           pthread_create(&pool.workers[pool.n_workers], &attributes, work, NULL) == 0) {
        pool.n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return pool.n_workers == n;
}

/* fork() waits for the end of the call under way, and copies the thread that called it alone: in
 * the child the workers do not exist, and nobody holds a lock or sleeps on a condition. */
static void before_fork(void) {
    pthread_mutex_lock(&owner);
    pthread_mutex_lock(&pool.mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&pool.mutex);
    pthread_mutex_unlock(&owner);
}

static void after_fork_in_child(void) {
    pool.n_workers = 0;
    pool.n_asleep = 0;
    atomic_store(&pool.call, 0);
    atomic_store(&n_threads, 1);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    after_fork();
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

learnae_status learnae_set_threads(size_t n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (n < 1 || n > LEARNAE_N_THREADS_MAX) {
        return LEARNAE_ERR_ARGUMENT;
    }
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&owner);
    end_workers();
    const bool started = start_workers(n - 1);
    if (!started) {
        end_workers();
    }
    atomic_store(&n_threads, pool.n_workers + 1);
    pthread_mutex_unlock(&owner);
    return started ? LEARNAE_OK : LEARNAE_ERR_SIZE;
}

size_t learnae_n_threads(void) {
    return atomic_load(&n_threads);
}

#else

void learnae_internal_run(tiles_job *job, void *context, size_t n_tiles, uint64_t nbytes) {
    struct tiles tiles = {0, n_tiles};
    (void)nbytes;
    job(context, &tiles);
}

learnae_status learnae_set_threads(size_t n) {
    const bool valid = n >= 1 && n <= LEARNAE_N_THREADS_MAX;
    return n == 1 ? LEARNAE_OK : valid ? LEARNAE_ERR_SIZE : LEARNAE_ERR_ARGUMENT;
}

size_t learnae_n_threads(void) {
    return 1;
}

#endif
