// A service that runs before it is watched: threads, children, a listening socket, an open log.
//
// Each of its threads waits for one byte of standard input, then makes TIMES calls of getppid. With
// its byte, the main thread also starts a child and a thread that do the same. Nobody ends by itself.
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIMES 23

static void work(void)
{
	for (int i = 0; i < TIMES; i++)
		syscall(SYS_getppid);
	if (write(1, "done\n", 5) != 5)
		abort();
}

static void wait_for_word(void)
{
	char word;

	if (read(0, &word, 1) != 1)
		for (;;)
			pause();
	work();
}

static void *run_thread(void *waits)
{
	if (waits)
		wait_for_word();
	else
		work();
	for (;;)
		pause();
	return NULL;
}

static void start_thread(void *waits)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_thread, waits))
		abort();
}

int main(int count, char **arguments)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listening = socket(AF_INET, SOCK_STREAM, 0), both[2];

	if (count != 2 || open(arguments[1], O_WRONLY | O_CREAT | O_APPEND, 0644) < 0 || pipe(both) ||
	    bind(listening, (struct sockaddr *)&address, sizeof(address)) || listen(listening, 23))
		abort();
	for (int i = 0; i < 2; i++)
		if (!fork())
			run_thread("waits");
	for (int i = 0; i < 3; i++)
		start_thread("waits");
	if (write(1, "ready\n", 6) != 6)
		abort();
	wait_for_word();
	if (!fork())
		run_thread(NULL);
	start_thread(NULL);
	for (;;)
		pause();
}
