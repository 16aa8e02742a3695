/* A service that never fails while it is watched, and then, told by a signal, fails in one way. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static void overrun(size_t size) {
    volatile char small[8];
    for (size_t i = 0; i < size; i++) small[i] = 1;
}

int main(void) {
    char *volatile block = malloc(100);
    int signals[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    sigset_t all;
    sigemptyset(&all);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaddset(&all, signals[i]);
    sigprocmask(SIG_BLOCK, &all, NULL); /* none is lost that comes before we wait */
    write(1, "ready\n", 6);
    for (;;) {
        int told;
        sigwait(&all, &told);
        if (told == SIGTERM) return 0;
        if (told == SIGUSR1) assert(block == NULL);
        if (told == SIGUSR2) abort();
        if (told == SIGHUP) { free(block); free(block); }
        if (told == SIGINT) overrun(64);
        if (told == SIGQUIT) block = realloc(realloc(block, 1 << 20), 1 << 24);
        if (told == SIGQUIT) write(1, block ? "grown\n" : "not grown\n", block ? 6 : 10);
    }
}
