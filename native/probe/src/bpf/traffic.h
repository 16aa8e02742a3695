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
		// As a word: pointers may not be reckoned with.
		key->inode = READ_WORD((void *)file + bpf_core_field_offset(struct file, f_op));
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

// Where the last transfer through a file ended. Most files have an element of an array for it,
// which they keep; one whose element is another's has an entry of the map.
static __always_inline struct position *near_position(__u64 file)
{
	__u32 at = (file >> 6 ^ file >> 16) % POSITIONS_NEAR;

	return bpf_map_lookup_elem(&positions_near, &at);
}

static __always_inline __u64 *find_position(__u64 file)
{
	struct position *near = near_position(file);

	return near && near->file == file ? &near->end : bpf_map_lookup_elem(&positions, &file);
}

static __always_inline void add_position(__u64 file, __u64 end)
{
	struct position *near = near_position(file);
	__u64 owner = near ? __sync_val_compare_and_swap(&near->file, 0, file) : 1;

	if (near && (!owner || owner == file))
		near->end = end;
	else
		bpf_map_update_elem(&positions, &file, &end, BPF_ANY);
}

// Whether a transfer starts elsewhere than where the last one through this file ended.
static __always_inline bool jumps(struct file *file, __u32 moves, __u64 offset, long bytes)
{
	__u64 start, end, *last;
	bool jumped;

	if (READ(file, f_flags) & O_APPEND || (READ(file, f_inode, i_mode) & S_IFMT) != S_IFREG)
		return false;
	end = moves & MOVES_AT ? offset + bytes : READ(file, f_pos);
	start = end - bytes;
	last = find_position((__u64)file);
	if (!last) {
		add_position((__u64)file, end);
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
	struct tally add = { .count = 1 };
	struct memo *memo = get_memo();
	struct tallied *found;
	struct super_block *sb;
	__u32 at;

	if (!thread || !file || !memo)
		return 0;
	sb = READ(file, f_inode, i_sb);
	name_object(file, sb, READ(sb, s_magic), &key.object);
	key.slot = thread->slot;
	if (moves & MOVES_BYTES)
		add.second = result;
	if (moves & (MOVES_ON | MOVES_AT) && key.object.kind == OBJECT_FILE)
		add.third = jumps(file, moves, thread->args[3], result);
	at = (nr ^ key.object.kind << 5 ^ key.object.inode ^ key.object.inode >> 6) & 63;
	if (memo->moves[at].place && !differ(&memo->moves[at].key, &key, sizeof(key))) {
		add_here(memo->moves[at].place, add);
		return 0;
	}
	found = bpf_map_lookup_elem(&traffic, &key);
	if (!found) {
		learn_object(thread, &key.object, (__u64)file);
		found = find_tallied(&traffic, &key);
	}
	if (!found) {
		LOSE(files);
		return 0;
	}
	add_found(found, add);
	memo->moves[at].key = key;
	memo->moves[at].place = found->place;
	return 0;
}

// A file that was opened just now starts at its beginning, whatever lay at its address before.
static __always_inline void forget_position(struct file *file)
{
	__u64 *last = find_position((__u64)file);

	if (last)
		*last = 0;
}
