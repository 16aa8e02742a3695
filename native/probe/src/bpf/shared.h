// What the eBPF program and user space both know: the maps and their layout (mirrored in layout.rs).
// Functions are not `static` where that makes the verifier check them once instead of at each call;
// it then knows nothing of their arguments, hence their checks for NULL.
#pragma once

#include "kernel.h"

#define CALLS 512            // x86_64 call numbers stay below
#define SLOTS 8192           // triples of (program, drill, stage)
#define NO_SLOT 0xffffffff
#define COUNTERS 131072      // triples of (slot, call, instruction)
#define TALLIES 8192         // counters that each processor has its own copy of; others are shared
#define NO_OBJECT 0xffffffff

// How a path was used; the names are in layout.rs.
enum role {
	ROLE_PATH, ROLE_FROM, ROLE_TO, ROLE_EXEC, ROLE_MAP, ROLE_BIND, ROLE_CONNECT,
	ROLE_PROGRAM,        // where a program lies
	ROLE_OBJECT,         // where a file lies that was read or written, its number in `flags`
	ROLE_FILESYSTEM,     // the name of a file system that was mounted
};

// Facts that are no call's arguments stand among the facts, under numbers that no call has.
enum { FACT_CAPABILITY = 512, FACT_IDENTITY, FACT_START };
enum { STARTED_THREAD, STARTED_PROCESS, STARTED_PROGRAM };

// What a process is and has done so far. A worker was forked and has executed nothing since. A
// process listens once a listen(2) of its own, or of the one that forked it before, succeeded; it
// settles with the first call that waits after that, and executing a program unsettles it. What
// several threads call while it listens counts as of a settled one: see settle in counting.h. Where
// calls are named in place of those that wait, a process need not listen to settle.
enum stage {
	STAGE_WORKER = 1,
	STAGE_SETTLED = 2,
	STAGE_EXEC = 4,      // of the execve(2) that made it what it is, and nothing else
};

// What a call needs beyond counting, paths and facts; mirrored in calls.rs.
enum special {
	SPECIAL_NONE,
	SPECIAL_OPEN,        // creates perhaps: look at the new file
	SPECIAL_OPENAT2,     // flags are in a user structure
	SPECIAL_MMAP,
	SPECIAL_BIND,
	SPECIAL_CONNECT,
	SPECIAL_SENDTO,
	SPECIAL_SOCKET,      // returns a socket
	SPECIAL_SOCKETPAIR,
	SPECIAL_PIPE,
	SPECIAL_CLOSE,
	SPECIAL_DUP2,
	SPECIAL_CLOSE_RANGE,
	SPECIAL_CHDIR,       // moves the base of relative paths
	SPECIAL_CLONE3,      // flags are in a user structure
	SPECIAL_EXEC,
	SPECIAL_FCNTL,       // returns a descriptor for some commands
	SPECIAL_LISTEN,
	SPECIAL_ACCEPT,      // returns a socket; the listening one is looked at
	SPECIAL_IDENTITY,    // changes who the process is
	SPECIAL_MOUNT,       // names a file system
	SPECIAL_NO_RETURN,   // sys_exit shows the interrupted call's value (rt_sigreturn)
};

// One call's rule; an index of -1 means "none". Filled from the table in calls.rs.
struct rule {
	__u8 used, special, returns_descriptor, has_facts;
	__s8 path, dirfd, role, flags;
	__s8 path2, dirfd2, role2, moves;
	__s8 facts[3], second; // `second`: another descriptor that is moved through
	__u8 waits; // WAITS, or one more than the argument that may hold WNOHANG
	__u8 named, unused[2]; // `named`: by whoever profiles, as what settles, listening or not
};

#define WAITS 1
#define WNOHANG 1 // include/uapi/linux/wait.h

// What `moves` may say of a call; mirrored in calls.rs.
#define MOVES 1         // works through the descriptor in its first argument
#define MOVES_BYTES 2   // as many as it returns
#define MOVES_ON 4      // from where the file's position is
#define MOVES_AT 8      // from the position in its fourth argument

struct place {
	struct dentry *dentry, *root;
	struct vfsmount *mnt, *root_mnt;
};

// State of one watched thread (task local storage: no hash lookup in the hot path).
struct thread {
	__u32 active;   // false until it has executed its command, or is seeded
	__u32 program, drill, slot;
	__u32 pending;  // number of the call in progress + 1, 0 = none
	__u32 chosen;   // it ran before it was watched: an iterator makes it active, see seed.h
	__u32 stage;    // of its process, as far as this thread knows
	__u32 listens, settled; // of the process, in the thread that leads it
	__u32 descriptors; // one more than the highest that it told its program's peaks
	__u64 args[8];
	struct place before; // where relative paths started before chdir or chroot
};

struct tally { __u64 count, second, third; };

#define POSITIONS_NEAR 8192
struct position { __u64 file, end; };

// The value of a key that is counted: its sums are those of `shared` and of all processors' tallies
// at its place. `second` is failures of facts and bytes of traffic, `third` is jumps of traffic.
struct tallied {
	struct tally shared;
	__u32 place;  // in `tallies`, from 1; 0: none
	__u32 object; // of a caller: the number of the program or library that it lies in
};

struct process {
	__u32 threads;
	__s32 pid; // as the probe sees it, should it live in a PID namespace
};

// How many live that run one program, and the most at once; descriptors are of one process.
struct crowd { __s64 processes, threads; __u64 peak_processes, peak_threads, peak_descriptors; };

struct slot_key { __u32 program, drill, stage; };
struct caller_key { __u64 address; __u32 slot, nr; };
struct error_key { __u32 slot; __u16 nr, error; };
struct fact_key { __u32 slot, nr; __u64 args[3]; };
struct program_key { __u64 inode, parent, name; __u32 device, unused; };
struct live { __u64 inode; __u32 kind, unused; };

// What is read from and written to: a file by its inode, other things by their kind.
enum object_kind { OBJECT_FILE, OBJECT_SOCKET, OBJECT_PIPE, OBJECT_ANONYMOUS };
struct object_key { __u64 inode; __u32 device, kind; };
struct object { __u32 number; char component[16], name[28]; };
struct traffic_key { struct object_key object; __u32 slot, nr; };

struct listener_key { __u32 slot; __u16 family, type, port, unused; char address[116]; };
struct listener { __u64 backlog, queue_peak, accepted; };

// A path as it was used. `base` = 0: `path` is a string as given. Otherwise `path` holds a string
// (relative, or empty), and from `path[base]` on the folders that it starts from, innermost first.
struct file_key {
	__u32 slot;
	__u16 nr;
	__u8 role, created;
	__u32 flags;
	__u16 error, base;
};

#define SHORT_PATH (128 - sizeof(struct file_key))
#define MEDIUM_PATH (512 - sizeof(struct file_key))
#define LONG_PATH (8064 - sizeof(struct file_key))

struct totals {
	__u64 next_program, next_slot, next_tally, next_object, level;
	__s64 processes, threads, sockets, pipe_ends, doubts;
	__u64 peak_processes, peak_threads, peak_sockets, peak_pipe_ends, peak_descriptors;
	__u64 lost_events, lost_threads, lost_files, lost_facts, lost_errors, lost_sockets;
	__u64 lost_truncated, lost_unreadable, lost_foreign;
};

#define MAP(name, kind, keys, values, entries, options)                                            \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__type(key, keys);                                                                 \
		__type(value, values);                                                             \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, options);                                                        \
	} name SEC(".maps")

#define FILE_MAP(name, size, entries)                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(key_size, size);                                                            \
		__uint(value_size, sizeof(struct tallied));                                                 \
		__uint(max_entries, entries);                                                      \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
	} name SEC(".maps")

MAP(drill, BPF_MAP_TYPE_ARRAY, __u32, __u32, 1, 0);
MAP(rules, BPF_MAP_TYPE_ARRAY, __u32, struct rule, CALLS, 0);
MAP(totals, BPF_MAP_TYPE_ARRAY, __u32, struct totals, 1, 0);
MAP(callers, BPF_MAP_TYPE_HASH, struct caller_key, struct tallied, COUNTERS, BPF_F_NO_PREALLOC);
MAP(objects, BPF_MAP_TYPE_HASH, struct object_key, struct object, 262144, BPF_F_NO_PREALLOC);
MAP(traffic, BPF_MAP_TYPE_HASH, struct traffic_key, struct tallied, 262144, BPF_F_NO_PREALLOC);
MAP(positions_near, BPF_MAP_TYPE_ARRAY, __u32, struct position, POSITIONS_NEAR, 0);
MAP(positions, BPF_MAP_TYPE_LRU_HASH, __u64, __u64, 65536, 0);
MAP(listeners, BPF_MAP_TYPE_HASH, struct listener_key, struct listener, 16384, BPF_F_NO_PREALLOC);
MAP(threads, BPF_MAP_TYPE_TASK_STORAGE, int, struct thread, 0, BPF_F_NO_PREALLOC);
MAP(processes, BPF_MAP_TYPE_HASH, __u32, struct process, 65536, BPF_F_NO_PREALLOC);
MAP(crowds, BPF_MAP_TYPE_HASH, __u32, struct crowd, 65536, BPF_F_NO_PREALLOC); // by program
MAP(programs, BPF_MAP_TYPE_HASH, struct program_key, __u32, 65536, BPF_F_NO_PREALLOC);
MAP(slots, BPF_MAP_TYPE_HASH, struct slot_key, __u32, SLOTS, BPF_F_NO_PREALLOC);
MAP(errors, BPF_MAP_TYPE_HASH, struct error_key, struct tallied, 65536, BPF_F_NO_PREALLOC);
MAP(facts, BPF_MAP_TYPE_HASH, struct fact_key, struct tallied, 65536, BPF_F_NO_PREALLOC);
MAP(live_files, BPF_MAP_TYPE_HASH, __u64, struct live, 262144, BPF_F_NO_PREALLOC);
FILE_MAP(short_files, 128, 262144);
FILE_MAP(medium_files, 512, 65536);
FILE_MAP(long_files, 8064, 8192); // with the map's own head, 8 KiB each

static __always_inline struct totals *get_totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&totals, &zero);
}

#define LOSE(what)                                                                                 \
	do {                                                                                       \
		struct totals *lossy = get_totals();                                               \
		if (lossy)                                                                         \
			__sync_fetch_and_add(&lossy->lost_##what, 1);                              \
	} while (0)

static __always_inline void raise_peak(__u64 *peak, __u64 now)
{
	for (int i = 0; i < 16; i++) {
		__u64 old = *(volatile __u64 *)peak;

		if (now <= old || __sync_val_compare_and_swap(peak, old, now) == old)
			return;
	}
}
