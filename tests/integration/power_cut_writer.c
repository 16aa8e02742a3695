/* The service of test_power_cut.py: whoever connects learns the last record that is on disk, and then
 * the number of each further one, once fsync(2) has returned. Record n is n, in eight bytes. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t last_record(int file) {
    int64_t record, last = 0;
    while (read(file, &record, sizeof record) == sizeof record) {
        if (record != last + 1) return -1 - last; /* not what was written */
        last = record;
    }
    /* A record that was cut short was not synced: the next one takes its place. */
    return ftruncate(file, last * (int64_t)sizeof record) ? -1 : last;
}

int main(int count, char **words) {
    int file = open("/var/lib/writer/records", O_RDWR | O_CREAT, 0600), one = 1;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_port = htons(atoi(words[count - 1])) };
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (file < 0 || bind(server, (void *)&place, sizeof place) || listen(server, 5)) return 1;
    int64_t last = last_record(file);
    for (;;) {
        char line[32];
        int reader = accept(server, NULL, NULL);
        while (write(reader, line, snprintf(line, sizeof line, "%lld\n", (long long)last)) > 0 && last >= 0) {
            int64_t next = last + 1;
            if (write(file, &next, sizeof next) != sizeof next || fsync(file)) return 2;
            last = next;
        }
        close(reader);
    }
}
