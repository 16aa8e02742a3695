/* The service of test_init.py: does what its first argument says, then serves until SIGQUIT. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
extern char **environ;
static void say(const char *words) { write(1, words, strlen(words)); write(1, "\n", 1); }
static void on_signal(int number) {
    if (number == SIGQUIT) { say("quitting"); _exit(0); }
    say(number == SIGHUP ? "got HUP" : "got USR1");
}
static void serve(void) {
    signal(SIGHUP, on_signal); signal(SIGUSR1, on_signal); signal(SIGQUIT, on_signal);
    say("ready");
    for (;;) pause();
}
static void show_status(void) {
    char line[256]; FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Sig", 3)
            || !strncmp(line, "Uid", 3) || !strncmp(line, "Gid", 3) || !strncmp(line, "Groups", 6)
            || !strncmp(line, "NSsid", 5)) fputs(line, stdout);
    fclose(status);
    for (int fd = 0; fd < 64; fd++) if (fcntl(fd, F_GETFD) >= 0) printf("open %d\n", fd);
    struct rlimit limit; getrlimit(RLIMIT_NOFILE, &limit);
    printf("nofile %lu %lu\n", limit.rlim_cur, limit.rlim_max);
    fflush(stdout);
}
int main(int count, char **words) {
    const char *verb = count > 1 ? words[1] : "serve";
    if (!strcmp(verb, "environment")) for (char **word = environ; *word; word++) say(*word);
    if (!strcmp(verb, "status")) show_status();
    if (!strcmp(verb, "exit")) _exit(atoi(words[2]));
    if (!strcmp(verb, "die")) { signal(atoi(words[2]), SIG_DFL); kill(getpid(), atoi(words[2])); }
    if (!strcmp(verb, "denied")) for (int n = 0; n < 23; n++) {
        long result = syscall(SYS_ptrace, PTRACE_TRACEME, 1, 2, 3);
        if (n == 0) { printf("ptrace: %s\n", result ? strerror(errno) : "allowed"); fflush(stdout); }
    }
    if (!strcmp(verb, "orphans")) {
        if (fork() == 0) { for (int n = 0; n < 23; n++) if (fork() == 0) { usleep(200000); _exit(0); } _exit(0); }
        wait(NULL);
    }
    if (!strcmp(verb, "leave")) {
        if (fork() == 0) { signal(SIGTERM, SIG_IGN); say("stubborn"); for (;;) pause(); }
        usleep(200000); _exit(3);
    }
    if (!strcmp(verb, "deaf")) { signal(SIGQUIT, SIG_IGN); say("ready"); for (;;) pause(); }
    if (!strcmp(verb, "lines")) for (int n = 0, most = atoi(words[2]); n < most; n++) {
        printf("line %07d of the service\n", n); fflush(stdout);
    }
    if (!strcmp(verb, "reopen")) { int file = open("/proc/self/fd/2", O_WRONLY); write(file, "reopened\n", 9); }
    if (!strcmp(verb, "fill")) {
        int file = open("/var/log/job/big", O_CREAT | O_WRONLY, 0644); static char page[4096];
        while (write(file, page, sizeof page) > 0) {}
    }
    if (!strcmp(verb, "stream")) for (int n = 0; n < 20000; n++) say("a line that nobody reads, or much later, 0123456789");
    serve();
}
