/* The service of test_init_rows.py: does what its first argument says, then serves until SIGQUIT. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile sig_atomic_t hups;
static void say(const char *format, ...) {
    char line[256]; va_list values; va_start(values, format);
    int length = vsnprintf(line, sizeof line - 1, format, values);
    va_end(values); line[length++] = '\n'; write(1, line, length);
}
static void on_signal(int number) { if (number == SIGQUIT) { say("quitting"); _exit(0); } hups++; }
/* One call that only some rows allow: umask is denied to all, getppid in serve, gettid to workers. */
static void try(const char *who, const char *name, long call) {
    errno = 0; long result = syscall(call, 1, 2, 3, 4, 5, 6);
    say("%s %s: %s", who, name, result == -1 && errno ? strerror(errno) : "allowed");
}
static void try_all(const char *who) {
    try(who, "umask", SYS_umask); try(who, "getppid", SYS_getppid); try(who, "gettid", SYS_gettid);
}
static int listening(void) {
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "" };
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(server, (void *)&name, sizeof(sa_family_t));
    if (listen(server, 1)) say("listen: %s", strerror(errno));
    return server;
}
static void listen_tcp(int port) {
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
    int server = socket(AF_INET, SOCK_STREAM, 0);
    bind(server, (void *)&name, sizeof name);
    if (listen(server, 1)) say("listen: %s", strerror(errno));
}
static void wait_once(int milliseconds) {
    struct epoll_event event; int poll = epoll_create1(0);
    if (epoll_wait(poll, &event, 1, milliseconds) < 0) say("epoll_wait: %s", strerror(errno));
    close(poll);
}
static void settle(void) { listening(); wait_once(0); }
static void worker(void (*work)(void)) {
    pid_t child = fork();
    if (child < 0) say("fork: %s", strerror(errno));
    if (child == 0) { work(); _exit(0); }
    waitpid(child, NULL, 0);
}
static void work_unsettled(void) { try_all("worker boot"); }
static void work(void) { work_unsettled(); wait_once(0); try_all("worker serve"); }
static void work_over(void) { wait_once(0); execl("/other", "/other", "second", NULL); say("exec: %s", strerror(errno)); }
static long switches(void) { struct rusage use; getrusage(RUSAGE_THREAD, &use); return use.ru_nvcsw; }
static char pages[100][4096];
static long faults(void) { struct rusage usage; getrusage(RUSAGE_SELF, &usage); return usage.ru_minflt; }
static void write_pages(const char *when) {
    long before = faults();
    for (int n = 0; n < 100; n += 2) pages[n][0]++;
    say("%s: %ld faults", when, faults() - before);
}
static void work_on_pages(void) { wait_once(0); write_pages("worker"); }

static void count_stops(const char *when, int calls) {
    long before = switches();
    for (int n = 0; n < calls; n++) syscall(SYS_getuid);
    say("%s: %ld switches", when, switches() - before);
}
static int gate[2], answers[2];
static void *other_thread(void *unused) {
    char byte; read(gate[0], &byte, 1); try_all("thread"); write(answers[1], "x", 1); return NULL;
}
static void *polling_thread(void *unused) {
    struct epoll_event event; int poll = epoll_create1(0);
    write(answers[1], "x", 1);
    int found = epoll_wait(poll, &event, 1, 1500);
    say("long epoll_wait: %s", found ? strerror(errno) : "timed out");
    wait_once(0); try_all("polling"); write(answers[1], "x", 1); return NULL;
}
static void in_thread(void *(*body)(void *), int ready_first, void (*then)(void)) {
    pthread_t thread; char byte;
    pipe(gate); pipe(answers); pthread_create(&thread, NULL, body, NULL);
    if (ready_first) { read(answers[0], &byte, 1); usleep(100000); }
    then(); write(gate[1], "x", 1); read(answers[0], &byte, 1); pthread_join(thread, NULL);
}
static void just_listen(void) { listening(); }
static void *executing_thread(void *unused) { execl("/other", "/other", "second", NULL); return NULL; }
static void children(int count) {
    int good = 0;
    for (int n = 0; n < count; n++) {
        pid_t child = n % 2 ? fork() : vfork(); int status;
        if (child == 0) _exit(n % 128);
        if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == n % 128) good++;
    }
    say("%d of %d children", good, count);
}
static void signals(void) {
    for (int n = 0; n < 23; n++) raise(SIGHUP);
    pid_t child = fork(); int status;
    if (child == 0) { raise(SIGSTOP); for (int n = 0; n < 7; n++) raise(SIGHUP); _exit(hups); }
    waitpid(child, &status, WUNTRACED); say("stopped: %d", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(child, SIGCONT); waitpid(child, &status, 0);
    say("child got %d, main %d", WEXITSTATUS(status), hups);
    if ((child = fork()) == 0) for (;;) pause();
    usleep(50000); kill(child, SIGKILL); waitpid(child, &status, 0); say("killed by %d", WTERMSIG(status));
}
static void storm(void) { /* signals that arrive while the filter is being put on */
    pid_t main = getpid(), child = fork();
    if (child == 0) { for (int n = 0; n < 2000; n++) kill(main, SIGHUP); kill(main, SIGUSR1); _exit(0); }
    sigset_t set, old; sigemptyset(&set); sigaddset(&set, SIGUSR1); sigprocmask(SIG_BLOCK, &set, &old);
    listening(); for (int n = 0; n < 5; n++) { struct epoll_event e; int p = epoll_create1(0); epoll_wait(p, &e, 1, 1); close(p); }
    int status; while (waitpid(child, &status, 0) < 0) ;
    sigprocmask(SIG_SETMASK, &old, NULL);
    say("after the storm"); try_all("main serve");
}
static void ignored(void) { /* a signal that is ignored ends no wait */
    pid_t main = getpid();
    if (fork() == 0) { for (int n = 0; n < 23; n++) { usleep(20000); kill(main, SIGWINCH); } _exit(0); } /* SIGCHLD, too */
    struct timeval limit = { 1, 0 }; char byte; int pair[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int status; pid_t child; struct epoll_event event;
    if ((child = fork()) == 0) { signal(SIGWINCH, SIG_DFL); epoll_wait(epoll_create1(0), &event, 1, -1); say("epoll_wait: %s", strerror(errno)); _exit(0); }
    for (int n = 0; n < 5; n++) { usleep(20000); kill(child, SIGWINCH); }
    usleep(20000); kill(child, SIGKILL); waitpid(child, &status, 0);
    say("recv: %s", recv(pair[0], &byte, 1, 0) < 0 ? strerror(errno) : "data");
}
static void killed_makers(int count) { /* each is killed while it makes children for its own parent */
    for (int n = 0; n < count; n++) {
        pid_t maker = fork();
        while (maker == 0) if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) _exit(0);
        usleep(n % 20 * 50); kill(maker, SIGKILL);
    }
    while (waitpid(-1, NULL, 0) > 0) ;
    say("no child is left");
}
static void own_filter(void) { /* whoever adds another one is killed */
    struct sock_filter code[] = { { 0x20, 0, 0, 0 }, { 0x15, 0, 1, SYS_seccomp }, { 6, 0, 0, 0x80000000 }, { 6, 0, 0, 0x7fff0000 } };
    struct sock_fprog program = { 4, code };
    if (syscall(SYS_seccomp, 1, 0, &program)) say("seccomp: %s", strerror(errno));
}
static char marked[3 * 4096];
static void *idle(void *unused) { for (;;) pause(); }
static void fail(void) { /* with a second thread, and words that only its memory has together */
    pthread_t thread; pthread_create(&thread, NULL, idle, NULL); usleep(50000);
    strcpy(marked + 4096, "the memory "); strcat(marked + 4096, "of the failed one");
    *(volatile int *)16 = 7;
}
static void failures(int count) {
    for (int n = 0; n < count; n++) {
        int status; pid_t child = fork();
        if (child == 0) fail();
        waitpid(child, &status, 0); say("child ended by %d", WTERMSIG(status));
    }
}
int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "serve";
    signal(SIGHUP, on_signal); signal(SIGUSR1, on_signal); signal(SIGQUIT, on_signal);
    if (!strcmp(verb, "second")) { try_all("second"); settle(); try_all("second serve"); verb = "serve"; }
    if (!strcmp(verb, "phases")) { try_all("main boot"); settle(); try_all("main serve"); }
    if (!strcmp(verb, "wait-first")) { wait_once(0); try_all("main boot"); listening(); try_all("main listens"); }
    if (!strcmp(verb, "denied")) { settle(); for (int n = 0; n < 23; n++) { errno = 0; syscall(SYS_getppid, 1, 2, 3, 4, 5, 6); } say("errno %d", errno); }
    if (!strcmp(verb, "workers")) { listening(); worker(work); wait_once(0); worker(work); try_all("main serve"); }
    if (!strcmp(verb, "pages")) { listening(); write_pages("main"); worker(work_on_pages); wait_once(0); write_pages("main again"); }
    if (!strcmp(verb, "worker-execs")) { listening(); worker(work_over); }
    if (!strcmp(verb, "tcp")) { listen_tcp(atoi(words[2])); wait_once(0); }
    if (!strcmp(verb, "exec")) execl("/other", "/other", "second", NULL);
    if (!strcmp(verb, "thread")) in_thread(other_thread, 0, settle);
    if (!strcmp(verb, "polling")) { in_thread(polling_thread, 1, just_listen); try_all("main serve"); }
    if (!strcmp(verb, "thread-execs")) { pthread_t t; pthread_create(&t, NULL, executing_thread, NULL); for (;;) pause(); }
    if (!strcmp(verb, "cost")) { count_stops("before", 10000); listening(); count_stops("listening", 1000); wait_once(0); count_stops("settled", 100000); }
    if (!strcmp(verb, "restless")) { listening(); count_stops("restless", 100000); count_stops("later", 10000); wait_once(0); try_all("main boot"); }
    if (!strcmp(verb, "listen-exec")) { settle(); execl("/other", "/other", "inherits", NULL); }
    if (!strcmp(verb, "inherits")) { try_all("second"); wait_once(0); try_all("second serve"); }
    if (!strcmp(verb, "leave-worker")) { settle(); if (fork() == 0) for (;;) sleep(1); }
    if (!strcmp(verb, "own-filter")) { own_filter(); settle(); try_all("main serve"); }
    if (!strcmp(verb, "ignored")) ignored();
    if (!strcmp(verb, "killed-makers")) killed_makers(atoi(words[2]));
    if (!strcmp(verb, "exec-whoami")) execl("/other", "/other", "whoami", NULL);
    if (!strcmp(verb, "whoami")) say("users %d %d", getuid(), geteuid());
    if (!strcmp(verb, "children")) { settle(); children(atoi(words[2])); }
    if (!strcmp(verb, "signals")) signals();
    if (!strcmp(verb, "storm")) storm();
    if (!strcmp(verb, "exit")) { settle(); _exit(atoi(words[2])); }
    if (!strcmp(verb, "phases-fail")) { try_all("main boot"); settle(); try_all("main serve"); _exit(3); }
    if (!strcmp(verb, "abort-once")) { int mark = open("/run/mark", O_CREAT | O_EXCL | O_WRONLY, 0600); if (mark >= 0) kill(getpid(), SIGABRT); }
    if (!strcmp(verb, "die")) { settle(); signal(SIGQUIT, SIG_DFL); kill(getpid(), SIGQUIT); }
    if (!strcmp(verb, "fail")) { settle(); fail(); }
    if (!strcmp(verb, "failures")) { settle(); failures(atoi(words[2])); }
    if (!strcmp(verb, "caught")) { signal(SIGSEGV, on_signal); settle(); kill(getpid(), SIGSEGV); say("hups %d", hups); }
    if (!strcmp(verb, "deaf")) { signal(SIGQUIT, SIG_IGN); settle(); }
    if (!strcmp(verb, "leave")) { settle(); if (fork() == 0) { signal(SIGTERM, SIG_IGN); say("stubborn"); for (;;) pause(); } usleep(200000); _exit(3); }
    say("ready");
    for (;;) pause();
}
