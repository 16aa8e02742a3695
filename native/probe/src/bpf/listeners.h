// Sockets that are listened on: their address, and how long their queue gets.
#pragma once

#include "shared.h"

static __always_inline void find_address(struct sock *sock, struct listener_key *key)
{
	key->family = READ(sock, __sk_common.skc_family);
	if (key->family == AF_UNIX) {
		struct unix_address *address = READ((struct unix_sock *)sock, addr);

		// An abstract name starts with NUL.
		bpf_core_read(key->address, 108, &address->name[0].sun_path);
		return;
	}
	key->port = READ(sock, __sk_common.skc_num);
	if (key->family == AF_INET6)
		BPF_CORE_READ_INTO((struct in6_addr *)key->address, sock, __sk_common.skc_v6_rcv_saddr);
	else
		BPF_CORE_READ_INTO((__u32 *)key->address, sock, __sk_common.skc_rcv_saddr);
}

// `accepted`: how many connections were just taken from the queue.
__noinline int note_listening(struct thread *thread, __u64 address, __u32 accepted)
{
	struct file *file = (struct file *)address;
	struct listener first = {}, *found;
	struct listener_key key = {};
	struct socket *socket;
	struct sock *sock;
	__u32 waiting;

	if (!thread || !file || READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	socket = READ(file, private_data);
	sock = READ(socket, sk);
	key.slot = thread->slot;
	key.type = READ(socket, type);
	find_address(sock, &key);
	found = bpf_map_lookup_elem(&listeners, &key);
	if (!found) {
		bpf_map_update_elem(&listeners, &key, &first, BPF_NOEXIST);
		found = bpf_map_lookup_elem(&listeners, &key);
	}
	if (!found) {
		LOSE(sockets);
		return 0;
	}
	raise_peak(&found->backlog, READ(sock, sk_max_ack_backlog));
	// What was taken was in the queue before.
	waiting = key.family == AF_UNIX ? READ(sock, sk_receive_queue.qlen)
					: READ(sock, sk_ack_backlog);
	raise_peak(&found->queue_peak, waiting + accepted);
	__sync_fetch_and_add(&found->accepted, accepted);
	return 0;
}

static __always_inline void note_listener(struct thread *thread, __u32 descriptor, __u32 accepted)
{
	note_listening(thread, (__u64)file_of(bpf_get_current_task_btf(), descriptor), accepted);
}
