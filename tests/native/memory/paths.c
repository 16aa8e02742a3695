/* Asks for paths in vain, by each function that takes one: what the memory manager has to note. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char name[4096];

static void must(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static const char *at(const char *folder, const char *last) {
    snprintf(name, sizeof name, "%s/%s", folder, last);
    return name;
}

#define FAILS(call) must((call) < 0 && errno == ENOENT, #call)
#define IS_NULL(call) must((call) == NULL && errno == ENOENT, #call)

/* 23 names, each once. */
static void each_function(const char *f) {
    struct stat found;
    struct stat64 found64;
    struct statx more;
    char *const none[] = {NULL};
    pid_t child;
    FAILS(open(at(f, "01-open"), O_RDONLY));
    FAILS(open64(at(f, "02-open64"), O_RDONLY));
    FAILS(openat(AT_FDCWD, at(f, "03-openat"), O_RDONLY));
    FAILS(openat64(AT_FDCWD, at(f, "04-openat64"), O_WRONLY | O_APPEND));
    FAILS(creat(at(f, "none/05-creat"), 0600));
    IS_NULL(fopen(at(f, "06-fopen"), "r"));
    IS_NULL(fopen64(at(f, "07-fopen64"), "r+"));
    IS_NULL(opendir(at(f, "08-opendir")));
    FAILS(stat(at(f, "09-stat"), &found));
    FAILS(lstat(at(f, "10-lstat"), &found));
    FAILS(stat64(at(f, "11-stat64"), &found64));
    FAILS(fstatat(AT_FDCWD, at(f, "12-fstatat"), &found, 0));
    FAILS(statx(AT_FDCWD, at(f, "13-statx"), 0, STATX_MODE, &more));
    FAILS(access(at(f, "14-access"), R_OK));
    FAILS(faccessat(AT_FDCWD, at(f, "15-faccessat"), R_OK, 0));
    FAILS(readlink(at(f, "16-readlink"), (char *)&found, 8));
    FAILS(execve(at(f, "17-execve"), none, none));
    must(posix_spawn(&child, at(f, "18-posix_spawn"), NULL, NULL, none, none) == ENOENT, "spawn");
    FAILS(unlink(at(f, "19-unlink")));
    FAILS(rename(at(f, "20-rename"), "/tmp/onejob-nowhere"));
    FAILS(truncate(at(f, "21-truncate"), 0));
    FAILS(chmod(at(f, "22-chmod"), 0600));
    FAILS(mkdir(at(f, "none/23-mkdir"), 0700));
}

static void spellings(const char *f) {
    struct stat found;
    snprintf(name, sizeof name, "%s//./same", f);
    FAILS(stat(name, &found));
    must(chdir(f) == 0, "chdir");
    FAILS(stat("same", &found));
    FAILS(stat("./same", &found));
    int folder = open(f, O_DIRECTORY | O_PATH);
    must(folder >= 0, "open the folder");
    FAILS(openat(folder, "of-a-descriptor", O_RDONLY)); /* of which folder, nobody is asked */
    must(fchdir(folder) == 0, "fchdir");
    FAILS(stat("of-a-descriptor", &found));
    FAILS(stat("", &found));
    must(stat(f, &found) == 0, "stat of what is there");
    const char *volatile nowhere = NULL;
    must(open(nowhere, O_RDONLY) < 0 && errno == EFAULT, "open of nothing");
    must(open(f, O_WRONLY) < 0 && errno == EISDIR, "open of a folder");
}

static void *ask_often(void *folder) {
    char mine[256];
    struct stat found;
    for (int i = 0; i < 1000; i++) {
        snprintf(mine, sizeof mine, "%s/common-%d", (char *)folder, i % 5);
        FAILS(stat(mine, &found));
    }
    return NULL;
}

static void threads_and_children(const char *f) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        must(pthread_create(&threads[i], NULL, ask_often, (void *)f) == 0, "thread");
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pid_t child = fork();
    if (child == 0) {
        ask_often((void *)f);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "child");
}

static volatile sig_atomic_t handled;

static void handle(int signal) {
    (void)signal;
    handled = open("/nothing-for-a-handler", O_RDONLY) < 0 && errno == ENOENT;
}

static void in_a_handler(void) {
    signal(SIGUSR1, handle);
    errno = EBADMSG;
    raise(SIGUSR1);
    must(handled, "handler");
}

static void many(const char *f, int folders, int names) {
    struct stat found;
    for (int i = 0; i < folders; i++)
        for (int j = 0; j < names; j++) {
            snprintf(name, sizeof name, "%s/%d/%d", f, i, j);
            FAILS(stat(name, &found));
        }
}

static void long_name(const char *f) {
    struct stat found;
    char part[201];
    memset(part, 'x', 200);
    part[200] = 0;
    snprintf(name, sizeof name, "%s/%s/%s/%s", f, part, part, part);
    FAILS(stat(name, &found));
}

static void refused(const char *f) {
    struct stat found;
    must(stat(at(f, "file/below"), &found) < 0 && errno == ENOTDIR, "ENOTDIR");
    must(unlink("/proc/version") < 0 && errno == EPERM, "EPERM");
    must(open("/proc/self/mem/x", O_RDONLY) < 0 && errno == ENOTDIR, "ENOTDIR in /proc");
    must(setuid(65534) == 0, "setuid");
    must(open(at(f, "secret"), O_RDWR | O_CREAT, 0600) < 0 && errno == EACCES, "EACCES");
}

int main(int count, char **words) {
    must(count == 3, "arguments: WHAT FOLDER");
    const char *what = words[1], *folder = words[2];
    if (!strcmp(what, "each"))
        each_function(folder);
    if (!strcmp(what, "spellings"))
        spellings(folder);
    if (!strcmp(what, "threads"))
        threads_and_children(folder);
    if (!strcmp(what, "handler"))
        in_a_handler();
    if (!strcmp(what, "one-folder"))
        many(folder, 1, 100);
    if (!strcmp(what, "many-folders"))
        many(folder, 40, 10);
    if (!strcmp(what, "long"))
        long_name(folder);
    if (!strcmp(what, "refused"))
        refused(folder);
    return 0;
}
