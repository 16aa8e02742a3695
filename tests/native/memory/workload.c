// Known allocations for the memory manager: the first argument names what is done. Exits with 0 if
// all that it checks itself holds. Nothing else here allocates: no stdio.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 23
#define PAIRS 100
#define CHECK(condition) \
    do { \
        if (!(condition)) fail(__LINE__); \
    } while (0)

static void fail(int line) {
    char digits[] = "check failed in line 0000\n";
    for (int place = 24; line; line /= 10) digits[place--] = '0' + line % 10;
    (void)!write(2, digits, sizeof digits - 1);
    _exit(9);
}

static void fill(void *block, size_t size, int mark) {
    memset(block, mark, size);
}

static int holds(const void *block, size_t size, int mark) {
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)mark) return 0;
    return 1;
}

// BLOCKS alive at once, none of which touches another, then PAIRS pairs.
static void blocks(size_t size) {
    void *all[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(all[i] = malloc(size));
        CHECK((uintptr_t)all[i] % 16 == 0);
        fill(all[i], size, i);
    }
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(holds(all[i], size, i));
        free(all[i]);
    }
    for (int i = 0; i < PAIRS; i++) free(malloc(size));
}

static void run_blocks(void) {
    blocks(1000);
}

static void run_unexpected(void) {
    blocks(3001);
}

static void run_large(void) {
    blocks(1 << 20);
}

static void run_calloc(void) {
    for (int round = 0; round < 2; round++) {
        void *all[BLOCKS];
        for (int i = 0; i < BLOCKS; i++) {
            CHECK(all[i] = calloc(10, 100));
            CHECK(holds(all[i], 1000, 0));
            fill(all[i], 1000, 255);
        }
        for (int i = 0; i < BLOCKS; i++) free(all[i]);
    }
    errno = 0;
    void *volatile none = calloc(SIZE_MAX / 2, 3);
    CHECK(!none && errno == ENOMEM);
}

static void run_realloc(void) {
    // 1000 and 1008 are of one array, 2000 is of another, 3001 of none, a mebibyte is the kernel's.
    static const size_t sizes[] = {1000, 1008, 2000, 3001, 1 << 20, 2 << 20, 5000, 1000};
    char *block = realloc(NULL, sizes[0]);
    fill(block, 1000, 7);
    for (size_t i = 1; i < sizeof sizes / sizeof *sizes; i++) {
        char *moved = realloc(block, sizes[i]);
        CHECK(moved && holds(moved, 1000, 7));
        CHECK(i != 1 || moved == block);
        CHECK(malloc_usable_size(moved) >= sizes[i]);
        fill(moved + 1000, sizes[i] - 1000, 8);
        block = moved;
    }
    errno = 0;
    void *volatile none = reallocarray(block, SIZE_MAX / 2, 3);
    CHECK(!none && errno == ENOMEM);
    CHECK(realloc(block, 0) == NULL);
    CHECK(realloc(malloc(3001), SIZE_MAX / 2) == NULL);
}

static void check_aligned(void *block, size_t alignment, size_t size) {
    CHECK(block && (uintptr_t)block % alignment == 0);
    CHECK(malloc_usable_size(block) >= size);
    fill(block, size, 1);
    free(block);
}

extern void free_sized(void *, size_t) __attribute__((weak));
extern void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));

// 2048 has an array, whose blocks are aligned to that; 1000 has one whose are not.
static void run_family(void) {
    void *block = NULL;
    check_aligned(aligned_alloc(256, 2048), 256, 2048);
    check_aligned(aligned_alloc(256, 1000), 256, 1000);
    check_aligned(memalign(1 << 16, 100), 1 << 16, 100);
    check_aligned(memalign(48, 100), 64, 100);
    check_aligned(valloc(2048), 4096, 2048);
    check_aligned(pvalloc(100), 4096, 4096);
    check_aligned(memalign(1 << 21, 1 << 20), 1 << 21, 1 << 20);
    CHECK(posix_memalign(&block, 64, 2048) == 0);
    check_aligned(block, 64, 2048);
    CHECK(posix_memalign(&block, 24, 100) == EINVAL);
    CHECK(posix_memalign(&block, 4, 100) == EINVAL);
    CHECK(posix_memalign(&block, 64, SIZE_MAX - 4096) == ENOMEM);
    CHECK(free_sized && free_aligned_sized);
    free_sized(malloc(2048), 2048);
    free_aligned_sized(aligned_alloc(64, 2048), 64, 2048);
    free(reallocarray(NULL, 2, 1024));
    void *zero = malloc(0), *other = malloc(0);
    CHECK(zero && other && zero != other);
    free(zero);
    free(other);
    free(NULL);
    CHECK(malloc_usable_size(NULL) == 0);
    errno = 0;
    void *volatile none = malloc((size_t)-4096);
    CHECK(!none && errno == ENOMEM);
}

// All blocks of an array, each byte: their pages are there, so nothing faults.
static void run_faults(void) {
    static void *all[512];
    struct rusage before, after;
    free(malloc(4096));
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < 512; i++) {
        CHECK(all[i] = malloc(4096));
        fill(all[i], 4096, i);
    }
    for (int i = 0; i < 512; i++) free(all[i]);
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_minflt - before.ru_minflt <= 1); // getrusage's own, and the table's
    CHECK(after.ru_majflt == before.ru_majflt);
}

#define QUEUE 8
#define REMOTE 5000
static void *volatile queue[QUEUE];

static void *free_remotely(void *unused) {
    for (long i = 0; i < REMOTE; i++) {
        void *volatile *place = &queue[i % QUEUE];
        void *block;
        while (!(block = __atomic_load_n(place, __ATOMIC_ACQUIRE))) sched_yield();
        CHECK(holds(block, 1000, (int)i));
        __atomic_store_n(place, NULL, __ATOMIC_RELEASE);
        free(block);
    }
    return unused;
}

// One thread allocates, the other frees.
static void run_remote(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_remotely, NULL) == 0);
    for (long i = 0; i < REMOTE; i++) {
        void *volatile *place = &queue[i % QUEUE];
        while (__atomic_load_n(place, __ATOMIC_ACQUIRE)) sched_yield();
        void *block = malloc(1000);
        CHECK(block);
        fill(block, 1000, (int)i);
        __atomic_store_n(place, block, __ATOMIC_RELEASE);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

static void *churn(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed;
    void *all[16] = {0};
    size_t sizes[16] = {0};
    for (int i = 0; i < 4000; i++) {
        state = state * 1664525 + 1013904223;
        int place = state >> 28;
        CHECK(holds(all[place], all[place] ? sizes[place] : 0, place));
        free(all[place]);
        sizes[place] = (state >> 8) % 2990;
        CHECK(all[place] = malloc(sizes[place]));
        fill(all[place], sizes[place], place);
    }
    for (int i = 0; i < 16; i++) free(all[i]);
    return NULL;
}

static void run_threads(void) {
    // Threads that end give back what they had: all of them together never lack a block.
    for (int round = 0; round < 8; round++) {
        pthread_t threads[4];
        for (uintptr_t i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
        for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (int i = 0; i < BLOCKS; i++) CHECK(malloc(1000));
}

static volatile int stopped;

static void *churn_on(void *seed) {
    while (!stopped) churn(seed);
    return NULL;
}

// Forks while other threads are in the middle of malloc. Each child can use all of it.
static void run_fork_with_threads(void) {
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, churn_on, (void *)(i + 1)) == 0);
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            churn((void *)7);
            for (int block = 0; block < BLOCKS; block++) CHECK(malloc(3001) && malloc(1 << 20));
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    stopped = 1;
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void run_fork(void) {
    void *inherited = malloc(1000);
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            free(inherited);
            blocks(1000);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    free(inherited);
}

static void run_double(void) {
    void *volatile block = malloc(1000);
    free(block);
    free(block);
}

static void run_double_in_store(void) {
    // More than the cache keeps: the block is in the bitmap when it is freed again.
    void *volatile all[512];
    for (int i = 0; i < 512; i++) all[i] = malloc(4096);
    for (int i = 0; i < 512; i++) free(all[i]);
    free(all[0]);
}

static void *free_it(void *block) {
    free(block);
    return NULL;
}

static void run_double_by_thread(void) {
    void *volatile block = malloc(1000);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_it, block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    free(block);
}

static void run_misaligned(void) {
    char *volatile block = malloc(1000);
    free(block + 8);
}

static void run_inside(void) {
    char *volatile block = malloc(1000);
    free(block + 496);
}

static void run_realloc_freed(void) {
    void *volatile block = malloc(1000);
    free(block);
    CHECK(!realloc(block, 2000));
}

static void run_usable_freed(void) {
    void *volatile block = malloc(1000);
    free(block);
    CHECK(malloc_usable_size(block) == 0);
}

static void run_foreign_stack(void) {
    char place[64];
    void *volatile block = place + 16;
    free(block);
}

static void run_foreign_mapping(void) {
    void *volatile block = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(block);
}

static void run_double_large(void) {
    void *volatile block = malloc(1 << 20);
    free(block);
    free(block);
}

// The block waits; somebody still writes to it; then it has waited long enough.
static void run_use_after_free(void) {
    char *volatile block = malloc(1000);
    free(block);
    block[40] = 1;
    for (int i = 0; i < 64; i++) free(malloc(1000));
}

static void run_delay(void) {
    void *volatile block = malloc(1000);
    free(block);
    for (int i = 0; i < 4; i++) CHECK(malloc(1000) != block);
    // Used up: what waits is used after all, before anything is relayed.
    for (int i = 4; i < 32; i++) CHECK(malloc(1000));
}

static void run_exec(void) {
    free(malloc(1000));
    execl("/proc/self/exe", "workload", "blocks", (char *)NULL);
    fail(__LINE__);
}

static const char *library;

static void run_dlopen(void) {
    void *handle = dlopen(library, RTLD_NOW);
    CHECK(handle);
    void *(*make)(void) = (void *(*)(void))dlsym(handle, "make_block");
    CHECK(make);
    for (int i = 0; i < BLOCKS; i++) free(make());
    CHECK(dlclose(handle) == 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"blocks", run_blocks}, {"unexpected", run_unexpected}, {"large", run_large},
    {"calloc", run_calloc}, {"realloc", run_realloc}, {"family", run_family},
    {"faults", run_faults}, {"remote", run_remote}, {"threads", run_threads},
    {"fork", run_fork}, {"fork-with-threads", run_fork_with_threads}, {"double", run_double},
    {"double-in-store", run_double_in_store}, {"double-by-thread", run_double_by_thread},
    {"misaligned", run_misaligned}, {"inside", run_inside}, {"realloc-freed", run_realloc_freed},
    {"usable-freed", run_usable_freed}, {"foreign-stack", run_foreign_stack},
    {"foreign-mapping", run_foreign_mapping}, {"double-large", run_double_large},
    {"use-after-free", run_use_after_free}, {"delay", run_delay}, {"exec", run_exec},
    {"dlopen", run_dlopen},
};

int main(int count, char **words) {
    library = count > 2 ? words[2] : "";
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (count > 1 && strcmp(words[1], commands[i].name) == 0) {
            commands[i].run();
            return 0;
        }
    return 8;
}
