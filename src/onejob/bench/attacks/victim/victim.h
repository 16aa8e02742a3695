/* What the parts of the vulnerable service share: an attack is a function that a request names. */
#ifndef VICTIM_H
#define VICTIM_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK "taken-over" /* what an attacker leaves where it gets */
#define PROOF 400

/* Returns 0 where every step went well, else -1 and errno. What shows that it had its effect goes
   into `proof`, made by the effect itself: a return code proves nothing. */
struct attack {
    const char *name;
    int (*run)(const char *argument, char *proof);
};

extern const struct attack file_attacks[], process_attacks[], kernel_attacks[], memory_attacks[],
    network_attacks[];

extern char banner[32];    /* in every answer of the main process's children */
extern int log_descriptor; /* the access log, as the main process opened it */

int put_file(const char *path, int flags, const void *bytes, size_t size, mode_t mode);
ssize_t get_file(const char *path, char *bytes, size_t size);
int answer_of(const char *program, char *const arguments[], int descriptor, char *proof);

#endif
