/* A dynamically linked service that allocates; by its word it frees a block twice, or looks for files. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int number = 0; number < 97; number++)
        free(memset(malloc(100), 1, 100));
    for (int number = 0; number < 13; number++)
        free(memset(malloc(5000), 1, 5000));
    if (count > 1 && !strcmp(words[1], "twice")) {
        void *volatile block = malloc(100);
        free(block);
        free(block);
        puts("nobody minded");
    }
    if (count > 1 && !strcmp(words[1], "look")) {
        char name[64];
        for (int number = 0; number < 46; number++) { /* each of 23 twice */
            snprintf(name, sizeof name, "/etc/unexpected-%d", number % 23);
            open(name, O_RDONLY);
        }
        open("/etc/absent", O_RDONLY);
        open("/etc/evil", O_WRONLY | O_CREAT, 0600);
    }
    puts("allocated");
    pause();
    return 0;
}
