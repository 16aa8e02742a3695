/* The service's second program: counts how often it was asked, in a file that only it writes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    char text[32] = "";
    int fd = count < 2 ? -1 : open(arguments[1], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) {
        perror("count");
        return 1;
    }
    /* A block of its own for each call: it is noticed where the disk is full. */
    char block[4096];
    memset(block, '\n', sizeof block);
    int called = atoi(text) + 1;
    block[snprintf(text, sizeof text, "%d", called)] = '\n';
    memcpy(block, text, strlen(text));
    if (pwrite(fd, block, strlen(text) + 1, 0) < 0 ||
        pwrite(fd, block, sizeof block, called * 4096L) != (ssize_t)sizeof block) {
        puts("the count cannot be kept");
        return 1;
    }
    if (count > 2) {
        int other = open(arguments[2], O_WRONLY | O_APPEND | O_CLOEXEC);
        /* Not in one: the mark would be found in this program. */
        if (other < 0 || write(other, "taken", 5) != 5 || write(other, "-over", 5) != 5)
            perror(arguments[2]);
    }
    printf("call %d\n", called);
    return 0;
}
