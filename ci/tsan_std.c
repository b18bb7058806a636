/*
 * Linked by ci/tsan.sh where the standard library can't be built with the sanitizer: tells ThreadSanitizer what std's own
 * compiled code orders between threads, which it can't see otherwise. Generic and inlined code of std (the fast path of a
 * lock, unlock, a channel, Arc) stands in the crates and is seen as it is; what follows is the rest that the tests use.
 * Each function stands before std's own (ld's --wrap) and calls it. The script says which symbol is meant by each name.
 * Nothing may be told here that std's documentation doesn't promise: what is told too much hides a race.
 */
#include <stdatomic.h>
#include <stdint.h>

void __tsan_acquire(void *word);
void __tsan_release(void *word);

#define JOINED(a, b) a##b
#define NAME(prefix, symbol) JOINED(prefix, symbol)
#define REAL(symbol) NAME(__real_, symbol)
#define WRAP(symbol) NAME(__wrap_, symbol)

/* A lock that was taken in the slow path, by the word that the holder before it stored when it let go. */
void REAL(MUTEX)(void *word);
void WRAP(MUTEX)(void *word) {
    REAL(MUTEX)(word);
    __tsan_acquire(word);
}
void REAL(READ)(void *word);
void WRAP(READ)(void *word) {
    REAL(READ)(word);
    __tsan_acquire(word);
}
void REAL(WRITE)(void *word);
void WRAP(WRITE)(void *word) {
    REAL(WRITE)(word);
    __tsan_acquire(word);
}

/* Condvar::wait(&self, &Mutex) lets the lock go and takes it again. */
void REAL(WAIT)(void *condvar, void *mutex);
void WRAP(WAIT)(void *condvar, void *mutex) {
    __tsan_release(mutex);
    REAL(WAIT)(condvar, mutex);
    __tsan_acquire(mutex);
}
_Bool REAL(WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds);
_Bool WRAP(WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanoseconds) {
    __tsan_release(mutex);
    _Bool in_time = REAL(WAIT_TIMEOUT)(condvar, mutex, seconds, nanoseconds);
    __tsan_acquire(mutex);
    return in_time;
}

/* Barrier::wait(&self): what came before it in any thread comes before what follows it in all. It returns a small value
   in a register. */
uintptr_t REAL(BARRIER)(void *barrier);
uintptr_t WRAP(BARRIER)(void *barrier) {
    __tsan_release(barrier);
    uintptr_t leader = REAL(BARRIER)(barrier);
    __tsan_acquire(barrier);
    return leader;
}

/* The end of a thread of thread::scope, which the scope waits for by one of its three words. */
void REAL(SCOPE_END)(void *scope, _Bool panicked);
void WRAP(SCOPE_END)(void *scope, _Bool panicked) {
    for (uintptr_t word = 0; word < 3; word++)
        __tsan_release((uintptr_t *)scope + word);
    REAL(SCOPE_END)(scope, panicked);
}

/* Once::call(&self, ignore_poisoning, closure, its table, the caller's place): what the closure did comes before whoever
   finds the word complete, and std's code stores that word right after the closure returned. So the closure is called by
   one of ours, through a table of ours. */
struct table {
    void (*drop)(void *);
    uintptr_t size, align;
    void (*call_once)(void *, void *);
    void (*call_mut)(void *, void *);
};
struct closure {
    void *once, *given;
    const struct table *table;
};
static void closure_call(void *ours, void *state) {
    struct closure *closure = ours;
    closure->table->call_mut(closure->given, state);
    __tsan_release(closure->once);
}
void REAL(ONCE)(void *once, _Bool ignore, void *given, const struct table *table, const void *place);
void WRAP(ONCE)(void *once, _Bool ignore, void *given, const struct table *table, const void *place) {
    struct closure closure = {once, given, table};
    struct table own = *table;
    own.call_mut = closure_call;
    REAL(ONCE)(once, ignore, &closure, &own, place);
    __tsan_acquire(once);
}

/* A fence, which ThreadSanitizer doesn't model (std, where it is built with it, does without): Arc's last drop subtracts
   with Release, and the acquiring fence after it is about that word. So a fence is told of the word that the same thread
   subtracted from last, once. */
static _Thread_local void *subtracted;
#define SUBTRACT(bits)                                                                                                  \
    uint##bits##_t __real___tsan_atomic##bits##_fetch_sub(volatile uint##bits##_t *, uint##bits##_t, int);              \
    uint##bits##_t __wrap___tsan_atomic##bits##_fetch_sub(volatile uint##bits##_t *word, uint##bits##_t by, int order) { \
        subtracted = (void *)word;                                                                                      \
        return __real___tsan_atomic##bits##_fetch_sub(word, by, order);                                                 \
    }
SUBTRACT(64)
SUBTRACT(32)
void __real___tsan_atomic_thread_fence(int order);
void __wrap___tsan_atomic_thread_fence(int order) {
    __real___tsan_atomic_thread_fence(order);
    if (order != memory_order_release && subtracted) {
        __tsan_acquire(subtracted);
        subtracted = 0;
    }
}
