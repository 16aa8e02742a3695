/* A service that never fails while it is watched, and then, told by a signal, fails in one way. */
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t told;
static void note(int number) { told = number; }

__attribute__((noinline)) static void overrun(size_t size) {
    volatile char small[8];
    for (size_t i = 0; i < size; i++) small[i] = 1;
}

int main(void) {
    char *volatile block = malloc(100);
    int signals[] = {SIGUSR1, SIGUSR2, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], note);
    write(1, "ready\n", 6);
    for (;;) {
        pause();
        if (told == SIGTERM) return 0;
        if (told == SIGUSR1) assert(block == NULL);
        if (told == SIGUSR2) abort();
        if (told == SIGHUP) { free(block); free(block); }
        if (told == SIGINT) overrun(64);
        if (told == SIGQUIT) block = realloc(realloc(block, 1 << 20), 1 << 24);
        if (told == SIGQUIT) write(1, block ? "grown\n" : "not grown\n", block ? 6 : 10);
    }
}
