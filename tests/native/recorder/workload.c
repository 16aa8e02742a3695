// Known workload for the malloc recorder: each command allocates known numbers of known sizes.
// Exit status 0: all went as malloc(3) promises. The expected counts are in ../test_recorder.py.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 23, THREADS = 4 };

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            dprintf(2, "%s:%d: %s\n", __func__, __LINE__, #condition);        \
            _exit(1);                                                         \
        }                                                                     \
    } while (0)

extern void *__libc_malloc(size_t size); // glibc's own malloc, behind the recorder's back

static void *blocks[10000];

static void hold(int first, int count, size_t size)
{
    for (int i = first; i < first + count; i++) {
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 0xff, size);
    }
}

static void drop(int first, int count)
{
    for (int i = first; i < first + count; i++)
        free(blocks[i]);
}

static void do_blocks(void)
{
    static const size_t sizes[] = {0, 1000, 1009, 2003, 131101, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        hold(0, BLOCKS, sizes[i]);
        drop(0, BLOCKS);
        for (int pair = 0; pair < 100; pair++) {
            hold(0, 1, sizes[i]);
            drop(0, 1);
        }
    }
}

static void do_calloc(void)
{
    hold(0, BLOCKS, 1001); // leave dirt behind
    drop(0, BLOCKS);
    for (int i = 0; i < BLOCKS; i++) {
        unsigned char *block = blocks[i] = calloc(7, 143);
        for (int k = 0; k < 1001; k++)
            CHECK(block[k] == 0);
        memset(block, 0xff, 1001);
    }
    drop(0, BLOCKS);
    volatile size_t huge = SIZE_MAX / 2;
    errno = 0;
    CHECK(calloc(huge, 3) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(NULL, huge, 3) == NULL && errno == ENOMEM);
    free(reallocarray(NULL, 7, 145));
}

static void fill(unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        block[i] = (unsigned char)(i * 7);
}

static void check_filled(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        CHECK(block[i] == (unsigned char)(i * 7));
}

static void do_realloc(void)
{
    for (int i = 0; i < BLOCKS; i++) { // 1100 -> 1101 -> 300001 -> 1102, each once per block
        blocks[i] = realloc(NULL, 1100);
        fill(blocks[i], 1100);
        blocks[i] = realloc(blocks[i], 1101);
        blocks[i] = realloc(blocks[i], 300001);
        blocks[i] = realloc(blocks[i], 1102);
        check_filled(blocks[i], 1100);
    }
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = realloc(blocks[i], 1102);
    volatile size_t huge = SIZE_MAX - 4;
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(realloc(blocks[i], huge) == NULL && errno == ENOMEM);
        check_filled(blocks[i], 1100);
    }
    drop(0, 20);
    volatile size_t nothing = 0;
    for (int i = 20; i < BLOCKS; i++)
        CHECK(realloc(blocks[i], nothing) == NULL);
}

static void do_aligned(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        void **five = blocks + 5 * i;
        five[0] = aligned_alloc(64, 1216);
        CHECK(posix_memalign(&five[1], 4096, 1300) == 0);
        five[2] = memalign(256, 1301);
        five[3] = valloc(1302);
        five[4] = pvalloc(1303);
        static const size_t alignment[] = {64, 4096, 256, 4096, 4096};
        static const size_t room[] = {1216, 1300, 1301, 1302, 4096};
        for (int k = 0; k < 5; k++) {
            CHECK(five[k] != NULL && (uintptr_t)five[k] % alignment[k] == 0);
            CHECK(malloc_usable_size(five[k]) >= room[k]);
            memset(five[k], 0xff, malloc_usable_size(five[k]));
        }
    }
    drop(0, 5 * BLOCKS);
    void *unchanged = blocks;
    CHECK(posix_memalign(&unchanged, 3, 1304) == EINVAL && unchanged == blocks);
}

static void do_usable(void)
{
    CHECK(malloc_usable_size(NULL) == 0);
    for (size_t size = 0; size < 3000; size++) {
        unsigned char *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        CHECK(usable >= size);
        fill(block, usable);
        CHECK(malloc_usable_size(block) == usable);
        block = realloc(block, size + 1);
        check_filled(block, size);
        memset(block, 0xff, malloc_usable_size(block));
        free(block);
    }
}

static pthread_barrier_t all_hold;

static void *thread(void *unused)
{
    (void)unused;
    void *mine[6];
    for (int i = 0; i < 1000; i++)
        free(malloc(1400 + i % 3));
    for (int i = 0; i < 6; i++)
        mine[i] = malloc(1410);
    pthread_barrier_wait(&all_hold);
    for (int i = 0; i < 6; i++)
        free(mine[i]);
    return NULL;
}

static void do_threads(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&all_hold, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static int status_of(pid_t child)
{
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void do_fork(void)
{
    hold(0, 10, 1500);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        hold(10, 13, 1500);
        hold(23, BLOCKS, 1501);
        drop(0, 23);
        _exit(0);
    }
    CHECK(status_of(child) == 0);
    hold(10, 1, 1500);
    drop(0, 11);
}

static volatile int stop_churning;

static void *churn(void *unused)
{
    (void)unused;
    while (!stop_churning)
        free(malloc(1450));
    return NULL;
}

static void do_fork_with_threads(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            hold(0, BLOCKS, 1451);
            drop(0, BLOCKS);
            _exit(0);
        }
        CHECK(status_of(child) == 0);
    }
    stop_churning = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void fork_and_hold(size_t size)
{
    pid_t child = fork();
    if (child == 0) {
        hold(100, BLOCKS, size);
        _exit(0);
    }
    CHECK(status_of(child) == 0);
}

static void do_setuid(void)
{
    hold(0, BLOCKS, 1800);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    hold(BLOCKS, BLOCKS, 1801);
    fork_and_hold(1802);
}

static void do_daemon(const char *root)
{
    CHECK(chroot(root) == 0 && chdir("/") == 0 && close_range(0, ~0U, 0) == 0);
    CHECK(unsetenv("ONEJOB_RECORDER_DIR") == 0);
    hold(0, BLOCKS, 1900);
    fork_and_hold(1901);
}

static void do_file_limit(void)
{
    struct rlimit limit = {1000, 1000};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    fork_and_hold(1950);
}

static void do_many_sizes(void)
{
    for (int i = 0; i < 5000; i++)
        hold(i, 1, 10000 + i);
    drop(0, 5000);
}

static void do_untagged(void)
{
    for (int i = 0; i < BLOCKS; i++)
        free(__libc_malloc(2100));
    for (int i = 0; i < BLOCKS; i++)
        free(realloc(__libc_malloc(2100), 2101));
}

static void do_exec_chain(char *program, char *rest)
{
    char left[16];
    hold(0, BLOCKS, 1700);
    snprintf(left, sizeof left, "%d", atoi(rest) - 1);
    if (strcmp(rest, "1"))
        execv(program, (char *[]){program, "exec-chain", left, NULL});
}

int main(int count, char **arguments)
{
    const char *command = count > 1 ? arguments[1] : "";
    if (!strcmp(command, "blocks")) do_blocks();
    else if (!strcmp(command, "calloc")) do_calloc();
    else if (!strcmp(command, "realloc")) do_realloc();
    else if (!strcmp(command, "aligned")) do_aligned();
    else if (!strcmp(command, "usable")) do_usable();
    else if (!strcmp(command, "threads")) do_threads();
    else if (!strcmp(command, "fork")) do_fork();
    else if (!strcmp(command, "fork-with-threads")) do_fork_with_threads();
    else if (!strcmp(command, "setuid")) do_setuid();
    else if (!strcmp(command, "daemon")) do_daemon(arguments[2]);
    else if (!strcmp(command, "file-limit")) do_file_limit();
    else if (!strcmp(command, "many-sizes")) do_many_sizes();
    else if (!strcmp(command, "untagged")) do_untagged();
    else if (!strcmp(command, "exec-chain")) do_exec_chain(arguments[0], arguments[2]);
    else {
        hold(0, BLOCKS, 1700);
        if (!strcmp(command, "_exit")) _exit(0);
        if (!strcmp(command, "SIGKILL")) raise(SIGKILL);
        if (!strcmp(command, "exec")) execv(arguments[0], (char *[]){arguments[0], "calloc", NULL});
        return 2;
    }
    return 0;
}
