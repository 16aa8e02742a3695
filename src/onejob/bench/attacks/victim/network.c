/* Attacks by the network: connections to the outside by each way there is, and forged packets. */
#include "victim.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* ADDRESS:PORT */
static struct sockaddr_in parsed(const char *text)
{
    char host[64] = "";
    int port = 0;
    struct sockaddr_in address = {.sin_family = AF_INET};
    sscanf(text, "%63[^:]:%d", host, &port);
    address.sin_port = htons(port);
    inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

static int connect_by(const char *to, int protocol)
{
    struct sockaddr_in address = parsed(to);
    int fd = socket(AF_INET, SOCK_STREAM, protocol);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        return -1;
    return write(fd, MARK, strlen(MARK)) < 0 ? -1 : 0;
}

static int connect_out(const char *to, char *proof)
{
    (void)proof;
    return connect_by(to, 0);
}

static int connect_multipath(const char *to, char *proof)
{
    (void)proof;
    return connect_by(to, IPPROTO_MPTCP);
}

/* The first packet carries data, and connect(2) is never called. */
static int connect_fast(const char *to, char *proof)
{
    struct sockaddr_in address = parsed(to);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)proof;
    if (fd < 0)
        return -1;
    struct sockaddr *target = (struct sockaddr *)&address;
    ssize_t sent = sendto(fd, MARK, strlen(MARK), MSG_FASTOPEN, target, sizeof address);
    return sent == (ssize_t)strlen(MARK) ? 0 : -1;
}

static int send_datagram(const char *to, char *proof)
{
    struct sockaddr_in address = parsed(to);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    (void)proof;
    if (fd < 0)
        return -1;
    struct sockaddr *target = (struct sockaddr *)&address;
    ssize_t sent = sendto(fd, MARK, strlen(MARK), 0, target, sizeof address);
    return sent == (ssize_t)strlen(MARK) ? 0 : -1;
}

static int listen_elsewhere(const char *here, char *proof)
{
    struct sockaddr_in address = parsed(here);
    struct sockaddr *self = (struct sockaddr *)&address;
    int client = socket(AF_INET, SOCK_STREAM, 0), server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || bind(server, self, sizeof address) || listen(server, 1))
        return -1;
    if (connect(client, self, sizeof address))
        return -1;
    snprintf(proof, PROOF, "answers on port %d", ntohs(address.sin_port));
    return 0;
}

static unsigned short checksum(const unsigned short *words, size_t count)
{
    unsigned sum = 0;
    while (count--)
        sum += *words++;
    sum = (sum >> 16) + (sum & 0xffff);
    return (unsigned short)~(sum + (sum >> 16));
}

/* An echo request by hand, and the kernel's reply to it. */
static int raw_socket(const char *unused, char *proof)
{
    struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.id = 42};
    struct sockaddr_in address = parsed("127.0.0.1:0");
    unsigned char heard[256];
    (void)unused;
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    echo.checksum = checksum((unsigned short *)&echo, sizeof echo / 2);
    struct sockaddr *target = (struct sockaddr *)&address;
    if (fd < 0 || sendto(fd, &echo, sizeof echo, 0, target, sizeof address) < 0)
        return -1;
    for (int tries = 0; tries < 4; tries++)
        if (recv(fd, heard, sizeof heard, 0) >= 28 && heard[20] == ICMP_ECHOREPLY)
            return snprintf(proof, PROOF, "a reply to packet %d", heard[24]) < 0;
    return -1;
}

/* Whatever passes an interface, of anybody: here, a datagram of another program's. */
static int sniff(const char *unused, char *proof)
{
    struct ifreq interface = {.ifr_name = "lo"};
    char heard[2048];
    (void)unused;
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &interface))
        return -1;
    struct sockaddr_in backend = parsed("127.0.0.1:7008");
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&backend, sizeof backend))
        return -1;
    for (int tries = 0; tries < 40; tries++) {
        ssize_t count = recv(fd, heard, sizeof heard, 0);
        if (count > 0 && memmem(heard, count, "world", 5))
            return snprintf(proof, PROOF, "heard what the backend said") < 0;
    }
    return -1;
}

const struct attack network_attacks[] = {
    {"connect-out", connect_out},
    {"connect-multipath", connect_multipath},
    {"connect-fast", connect_fast},
    {"send-datagram", send_datagram},
    {"listen-elsewhere", listen_elsewhere},
    {"raw-socket", raw_socket},
    {"sniff", sniff},
    {NULL, NULL},
};
