// Known workload for what the malloc recorder says of lifetimes, threads and odd processes.
// Exit status 0: all went as malloc(3) promises. Expected counts: ../test_recorder_facts.py.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 23, MANY = 200 };

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            dprintf(2, "%s:%d: %s\n", __func__, __LINE__, #condition);        \
            _exit(1);                                                         \
        }                                                                     \
    } while (0)

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

static void make_calls(int count)
{
    for (int i = 0; i < count; i++)
        i % 2 ? free(blocks[9999]) : (void)(blocks[9999] = malloc(1000));
}

static void hold_far(int index)
{
    blocks[index] = malloc(40 << 20);
    CHECK(blocks[index] != NULL);
}

static void do_lifetimes(void)
{
    for (int i = 0; i < BLOCKS; i++) { // 63 other calls: short; 64: not
        void *block = malloc(3001);
        make_calls(63);
        free(block);
        free(blocks[9999]);
        block = malloc(3002);
        make_calls(64);
        free(block);
        hold(i, 1, 3003); // never freed
    }
}

// One of the 63 other calls begins a new part of the recorder's ledger (32 MiB of addresses).
static void do_far_apart(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        void *block = malloc(3004);
        hold_far(i);
        make_calls(62);
        free(block);
    }
}

static void *free_all(void *count)
{
    drop(0, *(int *)count);
    return NULL;
}

static void do_elsewhere(void)
{
    int count = BLOCKS;
    pthread_t other;
    hold(0, BLOCKS, 3101);
    CHECK(pthread_create(&other, NULL, free_all, &count) == 0 && pthread_join(other, NULL) == 0);
    hold(0, 2 * BLOCKS, 3102);
    drop(0, BLOCKS);
}

static void do_kinds(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        void *grown = realloc(realloc(malloc(3201), 3202), 3203);
        grown = realloc(grown, 3203);
        free(grown);
        CHECK(posix_memalign(&grown, 64, 3204) == 0);
        free(realloc(grown, 3205));
        free(aligned_alloc(64, 3264));
        void *huge = memalign(2 << 20, 3206);
        CHECK(huge != NULL && (uintptr_t)huge % (2 << 20) == 0);
        free(huge);
    }
}

static sem_t begun, may_end;

static void *hold_one(void *unused)
{
    (void)unused;
    void *block = malloc(3301);
    sem_post(&begun);
    sem_wait(&may_end);
    free(block);
    return NULL;
}

static void do_many_threads(void) // all alive at once, thrice
{
    static pthread_t threads[MANY];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            CHECK(pthread_create(&threads[i], NULL, hold_one, NULL) == 0);
        for (int i = 0; i < MANY; i++)
            sem_wait(&begun);
        for (int i = 0; i < MANY; i++)
            sem_post(&may_end);
        for (int i = 0; i < MANY; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static pthread_barrier_t turn;

static void *take_turns(void *number)
{
    void *mine[BLOCKS];
    for (int round = 0; round < 100; round++) {
        pthread_barrier_wait(&turn);
        if (round % 2 != *(int *)number)
            continue;
        for (int i = 0; i < BLOCKS; i++)
            mine[i] = malloc(3401);
        for (int i = 0; i < BLOCKS; i++)
            free(mine[i]);
    }
    return NULL;
}

static void do_turns(void) // two threads hold 23 each, but never both
{
    pthread_t threads[2];
    int numbers[2] = {0, 1};
    pthread_barrier_init(&turn, NULL, 2);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, take_turns, &numbers[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void check_child(pid_t child)
{
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static void do_fork_without_handlers(void)
{
    hold(0, 10, 3501);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        drop(0, 10);
        hold(0, BLOCKS, 3502);
        _exit(0);
    }
    check_child(child);
    drop(0, 10);
}

static void do_vfork(void)
{
    hold(0, BLOCKS, 3601);
    pid_t child = vfork();
    if (child == 0) {
        blocks[50] = malloc(3602); // the parent's memory, the parent's block
        _exit(0);
    }
    check_child(child);
    free(blocks[50]);
}

static void do_children(int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            hold(0, 1, size);
            i % 2 ? _exit(0) : kill(getpid(), SIGKILL);
        }
        int status;
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
    }
}

static volatile int struck;

static void strike(int number)
{
    (void)number;
    free(malloc(3701)); // not allowed by POSIX, and done all the same
    errno = EDOM;
    struck++;
}

static void do_signals(void) // only between malloc's own calls: its locks are not ours
{
    CHECK(signal(SIGUSR1, strike) != SIG_ERR);
    for (int i = 0; i < BLOCKS; i++) {
        hold(0, 1, 3702);
        raise(SIGUSR1);
        drop(0, 1);
    }
    CHECK(struck == BLOCKS);
}

static void do_errno(void)
{
    errno = EDOM;
    hold(0, BLOCKS, 3801);
    void *far = malloc((size_t)1 << 30); // a part of the address space that is new
    free(far);
    free(aligned_alloc(64, 64));
    drop(0, BLOCKS);
    CHECK(errno == EDOM);
    pid_t child = fork();
    if (child == 0)
        _exit(errno == EDOM ? 0 : 1);
    check_child(child);
    volatile size_t huge = PTRDIFF_MAX;
    CHECK(malloc(huge) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(memalign(64, huge) == NULL && errno == ENOMEM);
    CHECK(posix_memalign(blocks, 64, huge) == ENOMEM);
}

static void do_no_descriptors(void)
{
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    do_children(2, 3901);
    hold(0, BLOCKS, 3902);
}

static void do_room(void)
{
    for (size_t size = 0; size < 300; size++) {
        void *fresh = malloc(size), *zeroed = calloc(1, size), *aligned = memalign(64, size);
        CHECK(malloc_usable_size(fresh) >= size && malloc_usable_size(zeroed) >= size);
        CHECK((uintptr_t)fresh % 16 == 0 && (uintptr_t)aligned % 64 == 0);
        memset(fresh, 1, malloc_usable_size(fresh));
        memset(aligned, 1, malloc_usable_size(aligned));
        fresh = realloc(fresh, size / 2 + 1);
        free(fresh);
        free(zeroed);
        free(aligned);
    }
}

enum { FILTERED_SIZES = 400 };

// Whoever calls what the recorder could need, and malloc, threads and fork do not, is killed.
static struct sock_filter deadly[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#define KILL(number)                                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
    KILL(SYS_madvise), KILL(SYS_open), KILL(SYS_openat), KILL(SYS_ftruncate), KILL(SYS_mremap),
    KILL(SYS_readlink), KILL(SYS_unlink), KILL(SYS_prlimit64), KILL(SYS_getrlimit),
    KILL(SYS_clock_gettime), KILL(SYS_getpid), KILL(SYS_close), KILL(SYS_prctl), KILL(SYS_seccomp),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void hold_sizes(int first, size_t size)
{
    for (int i = 0; i < FILTERED_SIZES; i++)
        hold(first + i, 1, size + i);
}

static void *hold_filtered(void *done)
{
    hold_sizes(FILTERED_SIZES, 20000);
    sem_post(done);
    pause();
    return NULL;
}

static void *wait_and_hold(void *semaphores)
{
    sem_wait(semaphores);
    hold_sizes(2 * FILTERED_SIZES, 30000);
    sem_post((sem_t *)semaphores + 1);
    pause();
    return NULL;
}

static void do_filter(const char *how)
{
    struct sock_fprog program = {sizeof deadly / sizeof *deadly, deadly};
    pthread_t other;
    sem_t semaphores[3];
    for (int i = 0; i < 3; i++)
        CHECK(sem_init(&semaphores[i], 0, 0) == 0);
    CHECK(pthread_create(&other, NULL, wait_and_hold, semaphores) == 0);
    hold(9000, BLOCKS, 4201);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    // What only asks is no filter, nor is one that the kernel refuses: this child is recorded.
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, ~0U, &program) == -1 && errno == EINVAL);
    pid_t child = fork();
    if (child == 0) {
        hold(0, BLOCKS, 4202);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    if (!strcmp(how, "prctl"))
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    else
        CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
    hold_sizes(0, 10000);
    hold(9100, 1, 64 << 20); // a new part of the ledger
    sem_post(&semaphores[0]);
    sem_wait(&semaphores[1]);
    CHECK(pthread_create(&other, NULL, hold_filtered, &semaphores[2]) == 0);
    sem_wait(&semaphores[2]);
    child = fork();
    if (child == 0) {
        hold(9200, BLOCKS, 4203);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    _exit(0);
}

int main(int count, char **arguments)
{
    const char *command = count > 1 ? arguments[1] : "";
    if (!strcmp(command, "lifetimes")) do_lifetimes();
    else if (!strcmp(command, "far-apart")) do_far_apart();
    else if (!strcmp(command, "filter")) do_filter(arguments[2]);
    else if (!strcmp(command, "elsewhere")) do_elsewhere();
    else if (!strcmp(command, "kinds")) do_kinds();
    else if (!strcmp(command, "many-threads")) do_many_threads();
    else if (!strcmp(command, "turns")) do_turns();
    else if (!strcmp(command, "clone")) do_fork_without_handlers();
    else if (!strcmp(command, "vfork")) do_vfork();
    else if (!strcmp(command, "children")) do_children(atoi(arguments[2]), 4001);
    else if (!strcmp(command, "signals")) do_signals();
    else if (!strcmp(command, "errno")) do_errno();
    else if (!strcmp(command, "no-descriptors")) do_no_descriptors();
    else if (!strcmp(command, "room")) do_room();
    else return 2;
    return 0;
}
