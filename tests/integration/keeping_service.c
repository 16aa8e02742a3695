// A server that answers every request with the text of a shared library that is not its own.
//
//   keeping_service PORT
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const char *keep_text(void);

static void end(int number)
{
	(void)number;
	_exit(0);
}

int main(int count, char **words)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int on = 1, server = socket(AF_INET, SOCK_STREAM, 0);
	char request[4096], answer[4096];

	if (count != 2)
		return 2;
	signal(SIGTERM, end);
	address.sin_port = htons(atoi(words[1]));
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(server, (void *)&address, sizeof(address)) || listen(server, 16))
		return 1;
	for (;;) {
		int client = accept(server, NULL, NULL);

		if (client < 0)
			continue;
		if (read(client, request, sizeof(request)) > 0) {
			snprintf(answer, sizeof(answer), "HTTP/1.0 200 OK\r\n\r\n%s", keep_text());
			if (write(client, answer, strlen(answer)) < 0)
				return 1;
		}
		close(client);
	}
}
