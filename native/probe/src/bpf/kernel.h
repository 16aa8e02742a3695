// The few kernel structures that the probe reads; CO-RE finds the true offsets when it is loaded.
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define PATH_MAX 4096
#define AT_FDCWD (-100)
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define EBUSY 16
#define EEXIST 17
#define EFAULT 14
#define EBADF 9
#define EINTR 4
#define ERESTARTSYS 512 // 512 to 516 are the kernel's private "restart me" (include/linux/errno.h)
#define ERESTART_LAST 516
#define MAX_ERRNO 4095
#define O_CREAT 0100
#define MAP_ANONYMOUS 0x20
#define FMODE_CREATED (1 << 20) // include/linux/fs.h: this very open made the file
#define SB_KERNMOUNT (1 << 22)  // a mount nobody can name: memfd, sockets, pipes
#define TS_COMPAT 2             // arch/x86/include/asm/thread_info.h: 32-bit call in progress
#define CLOSE_RANGE_CLOEXEC 4
#define F_DUPFD 0 // include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h
#define F_SETLK 6
#define F_SETLKW 7
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#define F_DUPFD_CLOEXEC 1030
#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFSOCK 0140000
#define S_IFIFO 0010000
#define O_APPEND 02000
#define PFA_NO_NEW_PRIVS_BIT 0 // of atomic_flags, include/linux/sched.h
#define SOCKFS_MAGIC 0x534F434B // include/uapi/linux/magic.h
#define PIPEFS_MAGIC 0x50495045
#define ANON_INODE_FS_MAGIC 0x09041934

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long r10, r9, r8, dx, si, di, ip;
};

struct file_system_type {
	const char *name;
};

struct super_block {
	unsigned long s_flags, s_magic;
	__u32 s_dev;
	struct file_system_type *s_type;
};

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct qstr {
	__u64 hash_len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct atomic64 {
	__s64 counter;
};

struct file_ref {
	struct atomic64 refcnt;
};

struct file {
	unsigned int f_mode, f_flags;
	__s64 f_pos;
	const void *f_op;
	void *private_data;
	struct inode *f_inode;
	struct path f_path;
	struct file_ref f_ref; // since 6.13: 0 means one reference, negative means gone
};

struct file___before_6_13 {
	struct atomic64 f_count;
};

struct timespec64 { // for READ_WORD: any structure that starts with a word
	__s64 tv_sec;
};

struct fdtable {
	unsigned int max_fds;
	unsigned long *open_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root, pwd;
};

struct in6_addr {
	__u8 bytes[16];
};

struct sock_common {
	unsigned short skc_family;
	unsigned char skc_state;
	__u16 skc_num; // the port, in our byte order
	__u32 skc_rcv_saddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sk_buff_head {
	__u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	struct sk_buff_head sk_receive_queue;
	__u32 sk_ack_backlog, sk_max_ack_backlog;
};

struct socket {
	short type;
	struct sock *sk;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[1];
};

struct unix_sock {
	struct unix_address *addr;
	struct path path;
};

struct vm_area_struct {
	struct file *vm_file;
};

typedef struct {
	__u32 val;
} kuid_t, kgid_t;

struct cred {
	kuid_t euid;
	kgid_t egid;
};

struct mm_struct {
	struct file *exe_file;
};

struct thread_info {
	__u32 status;
};

struct upid {
	int nr;
	void *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int pid, tgid;
	struct task_struct *real_parent, *group_leader;
	struct mm_struct *mm;
	struct pid *thread_pid;
	struct fs_struct *fs;
	struct files_struct *files;
	const struct cred *cred;
	unsigned long atomic_flags;
};

struct linux_binprm {
	struct file *executable, *file;
	const char *filename, *interp, *fdpath;
};

#pragma clang attribute pop

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak; // since 6.2

// As BPF_CORE_READ, and where the kernel can, by plain loads: a tenth of what the helper's calls cost.
// Either way, what cannot be read is 0.
#define READ(from, ...)                                                                            \
	(bpf_ksym_exists(bpf_rdonly_cast)                                                          \
		 ? ___arrow(((typeof(from))bpf_rdonly_cast(                                        \
				    from, bpf_core_type_id_kernel(typeof(*(from))))),              \
			    __VA_ARGS__)                                                           \
		 : BPF_CORE_READ(from, __VA_ARGS__))

#define READ_WORD(at) READ((struct timespec64 *)(at), tv_sec)

// The file behind a descriptor of `task`, or NULL.
static __always_inline struct file *file_of(struct task_struct *task, __u32 descriptor)
{
	struct fdtable *fdt;

	if (!task->files)
		return NULL;
	fdt = task->files->fdt;
	if (descriptor >= fdt->max_fds)
		return NULL;
	return (struct file *)READ_WORD(fdt->fd + descriptor);
}
