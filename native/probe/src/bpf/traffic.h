// What goes through descriptors: operations, bytes and jumps, by the object behind the descriptor.
#pragma once

#include "paths.h"

static __always_inline void name_object(struct file *file, struct super_block *sb, __u64 magic,
					struct object_key *key)
{
	if (magic == SOCKFS_MAGIC) {
		struct socket *socket = READ(file, private_data);

		key->kind = OBJECT_SOCKET;
		key->inode = (__u16)READ(socket, type);
		key->device = READ(socket, sk, __sk_common.skc_family);
	} else if (magic == PIPEFS_MAGIC) {
		key->kind = OBJECT_PIPE;
	} else if (magic == ANON_INODE_FS_MAGIC) { // all share one inode
		key->kind = OBJECT_ANONYMOUS;
		key->inode = (__u64)READ(file, f_op);
	} else {
		key->inode = READ(file, f_inode, i_ino);
		key->device = READ(sb, s_dev);
	}
}

// Gives the object a number and stores what is known of it, at first sight.
__noinline int learn_object(struct thread *thread, struct object_key *key, __u64 address)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = (struct file *)address;
	struct totals *totals = get_totals();
	struct object object = {};
	struct scratch *scratch;

	if (!thread || !key || !totals || bpf_map_lookup_elem(&objects, key))
		return 0;
	object.number = __sync_fetch_and_add(&totals->next_object, 1);
	if (key->kind == OBJECT_FILE)
		bpf_probe_read_kernel_str(object.component, sizeof(object.component),
					  READ(file, f_inode, i_sb, s_type, name));
	if (key->kind == OBJECT_ANONYMOUS)
		bpf_probe_read_kernel_str(object.name, sizeof(object.name),
					  READ(file, f_path.dentry, d_name.name));
	if (bpf_map_update_elem(&objects, key, &object, BPF_NOEXIST) || key->kind != OBJECT_FILE)
		return 0;
	scratch = start_key(thread, 0, ROLE_OBJECT, object.number, 0);
	if (scratch)
		store_file(task, scratch, file);
	return 0;
}

// Whether a transfer starts elsewhere than where the last one through this file ended.
static __always_inline bool jumps(struct file *file, __u32 moves, __u64 offset, long bytes)
{
	__u64 address = (__u64)file, start, end, *last;
	bool jumped;

	if ((READ(file, f_inode, i_mode) & S_IFMT) != S_IFREG ||
	    READ(file, f_flags) & O_APPEND)
		return false;
	end = moves & MOVES_AT ? offset + bytes : READ(file, f_pos);
	start = end - bytes;
	last = bpf_map_lookup_elem(&positions, &address);
	if (!last) {
		bpf_map_update_elem(&positions, &address, &end, BPF_ANY);
		return start != 0;
	}
	jumped = *last != start;
	*last = end; // in its place: an update would take a new element for it
	return jumped;
}

__noinline int note_traffic(struct thread *thread, __u32 nr, __u32 descriptor, __u32 moves,
			    long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = file_of(task, descriptor);
	struct traffic_key key = { .nr = nr };
	struct traffic first = {}, *found;
	struct super_block *sb;
	bool jumped;

	if (!thread || !file)
		return 0;
	sb = READ(file, f_inode, i_sb);
	name_object(file, sb, READ(sb, s_magic), &key.object);
	key.slot = thread->slot;
	found = bpf_map_lookup_elem(&traffic, &key);
	if (!found) {
		learn_object(thread, &key.object, (__u64)file);
		bpf_map_update_elem(&traffic, &key, &first, BPF_NOEXIST);
		found = bpf_map_lookup_elem(&traffic, &key);
	}
	if (!found) {
		LOSE(files);
		return 0;
	}
	jumped = moves & (MOVES_ON | MOVES_AT) && key.object.kind == OBJECT_FILE &&
		 jumps(file, moves, thread->args[3], result);
	__sync_fetch_and_add(&found->count, 1);
	if (moves & MOVES_BYTES)
		__sync_fetch_and_add(&found->bytes, result);
	if (jumped)
		__sync_fetch_and_add(&found->jumps, 1);
	return 0;
}

// A file that was opened just now starts at its beginning, whatever lay at its address before.
static __always_inline void forget_position(struct file *file)
{
	__u64 address = (__u64)file, *last = bpf_map_lookup_elem(&positions, &address);

	if (last)
		*last = 0;
}
