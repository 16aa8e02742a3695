/* Attacks with and on processes: new programs, other processes' memory, identity, exhaustion. */
#include "victim.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>

static int shell(const char *path, char *proof)
{
    char *words[] = {"sh", "-c", "echo $((6 * 7))", NULL};
    return answer_of(path, words, -1, proof);
}

static ssize_t own_program(char **bytes)
{
    enum { MOST = 1 << 20 };
    *bytes = malloc(MOST);
    return get_file("/proc/self/exe", *bytes, MOST);
}

static int run_from_memory(const char *unused, char *proof)
{
    char *bytes, *words[] = {"other", NULL};
    (void)unused;
    ssize_t size = own_program(&bytes);
    int fd = memfd_create("other", 0);
    if (size < 0 || fd < 0 || write(fd, bytes, size) != size)
        return -1;
    return answer_of(NULL, words, fd, proof);
}

static int run_written(const char *folder, char *proof)
{
    char path[PROOF], *bytes, *words[] = {"other", NULL};
    ssize_t size = own_program(&bytes);
    snprintf(path, sizeof path, "%s/other", folder);
    if (size < 0 || put_file(path, O_WRONLY | O_CREAT, bytes, size, 0755))
        return -1;
    return answer_of(path, words, -1, proof);
}

/* A file that may not be executed is only read by the loader. */
static int run_by_loader(const char *folder, char *proof)
{
    char path[PROOF], *bytes, *words[] = {"ld.so", path, NULL};
    ssize_t size = own_program(&bytes);
    snprintf(path, sizeof path, "%s/loaded", folder);
    if (size < 0 || put_file(path, O_WRONLY | O_CREAT, bytes, size, 0644))
        return -1;
    return answer_of("/lib64/ld-linux-x86-64.so.2", words, -1, proof);
}

/* The main process; not by getppid(2), which the service may not have. */
static pid_t parent(void)
{
    char text[512], *name_end;
    int number = 0;
    if (get_file("/proc/self/stat", text, sizeof text) > 0 && (name_end = strrchr(text, ')')))
        sscanf(name_end, ") %*c %d", &number);
    return number;
}

/* Change the banner in the main process, which all children inherit. */
static int trace(const char *unused, char *proof)
{
    long word;
    pid_t other = parent();
    (void)unused, (void)proof;
    memcpy(&word, MARK, sizeof word);
    if (ptrace(PTRACE_ATTACH, other, NULL, NULL) || waitpid(other, NULL, 0) < 0)
        return -1;
    int failed = (int)ptrace(PTRACE_POKEDATA, other, banner, (void *)word);
    ptrace(PTRACE_DETACH, other, NULL, NULL);
    return failed;
}

static int write_memory_of_other(const char *unused, char *proof)
{
    struct iovec here = {MARK, sizeof MARK}, there = {banner, sizeof MARK};
    (void)unused, (void)proof;
    return process_vm_writev(parent(), &here, 1, &there, 1, 0) == sizeof MARK ? 0 : -1;
}

static int write_memory_file(const char *unused, char *proof)
{
    char path[64];
    (void)unused, (void)proof;
    snprintf(path, sizeof path, "/proc/%d/mem", parent());
    int fd = open(path, O_RDWR);
    return fd < 0 || pwrite(fd, MARK, sizeof MARK, (off_t)banner) != sizeof MARK ? -1 : 0;
}

static int become_other(const char *unused, char *proof)
{
    (void)unused;
    if (setresuid(33, 33, 33))
        return -1;
    snprintf(proof, PROOF, "user %d", getuid());
    return 0;
}

/* In a new user namespace nobody has a number yet (user_namespaces(7)). */
static int look_at_numbers(char *proof)
{
    char map[256];
    if (get_file("/proc/self/uid_map", map, sizeof map) < 0)
        return -1;
    snprintf(proof, PROOF, map[0] ? "the same namespace" : "another namespace");
    return 0;
}

static int leave_by_clone(const char *unused, char *proof)
{
    int ends[2];
    (void)unused;
    if (pipe(ends))
        return -1;
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child < 0)
        return -1;
    if (child == 0) {
        look_at_numbers(proof);
        _exit(write(ends[1], proof, PROOF) != PROOF);
    }
    return read(ends[0], proof, PROOF) == PROOF ? 0 : -1;
}

static int leave_by_unshare(const char *unused, char *proof)
{
    (void)unused;
    return unshare(CLONE_NEWUSER) ? -1 : look_at_numbers(proof);
}

static int fork_bomb(const char *most, char *proof)
{
    int count = 0, limit = atoi(most), ends[2];
    if (pipe(ends))
        return -1;
    for (; count < limit; count++) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0) { /* until the one that makes them ends: hangs up */
            close(ends[1]);
            _exit((int)read(ends[0], proof, 1));
        }
    }
    snprintf(proof, PROOF, "%d processes", count);
    return 0;
}

static int memory_bomb(const char *most, char *proof)
{
    enum { MIB = 1 << 20 };
    int count = 0, limit = atoi(most);
    for (; count < limit; count++) {
        char *block = malloc(MIB);
        if (!block)
            break;
        memset(block, 1, MIB);
    }
    snprintf(proof, PROOF, "%d MiB", count);
    return 0;
}

static int use_up_descriptors(const char *path, char *proof)
{
    enum { LIMIT = 3000 };
    int count = 0;
    struct rlimit all;
    if (!getrlimit(RLIMIT_NOFILE, &all)) {
        all.rlim_cur = all.rlim_max;
        setrlimit(RLIMIT_NOFILE, &all);
    }
    while (count < LIMIT && open(path, O_RDONLY) >= 0)
        count++;
    snprintf(proof, PROOF, "%d descriptors", count);
    return 0;
}

const struct attack process_attacks[] = {
    {"shell", shell},
    {"run-from-memory", run_from_memory},
    {"run-written", run_written},
    {"run-by-loader", run_by_loader},
    {"trace", trace},
    {"write-memory-of-other", write_memory_of_other},
    {"write-memory-file", write_memory_file},
    {"become-other", become_other},
    {"leave-by-clone", leave_by_clone},
    {"leave-by-unshare", leave_by_unshare},
    {"fork-bomb", fork_bomb},
    {"memory-bomb", memory_bomb},
    {"use-up-descriptors", use_up_descriptors},
    {NULL, NULL},
};
