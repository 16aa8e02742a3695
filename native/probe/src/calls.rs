//! The one table of what is noted about each system call besides its count: one line per call.
//! Numbers are x86_64's (arch/x86/entry/syscalls/syscall_64.tbl); calls not listed are only counted.

/// `enum special` of shared.h.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Special {
    None,
    Open,
    Openat2,
    Mmap,
    Bind,
    Connect,
    Sendto,
    Socket,
    Socketpair,
    Pipe,
    Close,
    Dup2,
    CloseRange,
    Chdir,
    Clone3,
    Exec,
    Fcntl,
    Listen,
    Accept,
    Identity,
    Mount,
    NoReturn,
}

/// `enum role` of shared.h, up to where rules use it.
#[derive(Clone, Copy)]
#[repr(i8)]
pub enum Role {
    Path,
    From,
    To,
    Exec,
}

/// One path argument: which argument is it, relative to which descriptor argument (-1: the cwd).
#[derive(Clone, Copy)]
pub struct PathAt {
    pub path: i8,
    pub dirfd: i8,
    pub role: Role,
}

const NO_PATH: PathAt = PathAt { path: -1, dirfd: -1, role: Role::Path };

#[derive(Clone, Copy)]
pub struct Rule {
    pub nr: u32,
    pub special: Special,
    pub returns_descriptor: bool,
    pub first: PathAt,
    pub second_path: PathAt,
    pub flags: i8,
    pub facts: [i8; 3],
    pub moves: u8,
    pub second: i8,
    pub waits: u8,
    /// `waits` says what was named, and a process need not listen.
    pub named: bool,
}

// `moves` of shared.h: what goes through the descriptor in the first argument.
pub const MOVES_BYTES: u8 = 2;
pub const MOVES_ON: u8 = 4;
pub const MOVES_AT: u8 = 8;
const OPERATES: u8 = 1;
const BYTES: u8 = OPERATES | MOVES_BYTES;
const BYTES_ON: u8 = BYTES | MOVES_ON;
const BYTES_AT: u8 = BYTES | MOVES_AT;

impl Rule {
    const fn path(self, path: i8) -> Self {
        self.at(-1, path)
    }

    const fn at(self, dirfd: i8, path: i8) -> Self {
        Rule { first: PathAt { path, dirfd, role: Role::Path }, ..self }
    }

    const fn from(self, dirfd: i8, path: i8) -> Self {
        Rule { first: PathAt { path, dirfd, role: Role::From }, ..self }
    }

    const fn to(self, dirfd: i8, path: i8) -> Self {
        Rule { second_path: PathAt { path, dirfd, role: Role::To }, ..self }
    }

    const fn and(self, path: i8) -> Self {
        Rule { second_path: PathAt { path, dirfd: -1, role: Role::Path }, ..self }
    }

    const fn exec(self, dirfd: i8, path: i8) -> Self {
        Rule { first: PathAt { path, dirfd, role: Role::Exec }, special: Special::Exec, ..self }
    }

    /// The argument that says how: open flags, access mode, at-flags.
    const fn flags(self, argument: i8) -> Self {
        Rule { flags: argument, ..self }
    }

    const fn facts(self, arguments: &[i8]) -> Self {
        let mut facts = [-1; 3];
        let mut i = 0;
        while i < arguments.len() {
            facts[i] = arguments[i];
            i += 1;
        }
        Rule { facts, ..self }
    }

    const fn descriptor(self) -> Self {
        Rule { returns_descriptor: true, ..self }
    }

    const fn moves(self, moves: u8) -> Self {
        Rule { moves, ..self }
    }

    /// Bytes go through the descriptor in this argument, too.
    const fn and_through(self, second: i8) -> Self {
        Rule { second, ..self }
    }

    /// It waits for a connection, a request, a signal or the end of a child.
    const fn waits(self) -> Self {
        Rule { waits: 1, ..self }
    }

    /// It waits, unless this argument has WNOHANG.
    const fn waits_unless(self, argument: u8) -> Self {
        Rule { waits: 1 + argument, ..self }
    }

    const fn special(self, special: Special) -> Self {
        Rule { special, ..self }
    }

    /// How many numbers one fact of this call has.
    pub fn fact_length(&self) -> usize {
        match self.special {
            Special::Bind | Special::Connect => 2, // family, port
            Special::Clone3 => 1,                  // flags
            _ => self.facts.iter().filter(|argument| **argument >= 0).count(),
        }
    }

    /// The call as `struct rule` of shared.h.
    pub fn to_bytes(self) -> [u8; 20] {
        let has_facts = self.facts[0] >= 0;
        let plain = self.first.path < 0 && !self.returns_descriptor && !has_facts && self.moves == 0;
        let used = !(plain && self.special == Special::None);
        let PathAt { path, dirfd, role } = self.first;
        let second = self.second_path;
        let signed = [path, dirfd, role as i8, self.flags, second.path, second.dirfd, second.role as i8];
        let [a, b, c, d, e, f, g] = signed.map(|number| number as u8);
        let [x, y, z] = self.facts.map(|number| number as u8);
        let descriptor = u8::from(self.returns_descriptor);
        let head = [u8::from(used), self.special as u8, descriptor, u8::from(has_facts)];
        let ([h, i, j, k], n) = (head, u8::from(self.named));
        [h, i, j, k, a, b, c, d, e, f, g, self.moves, x, y, z, self.second as u8, self.waits, n, 0, 0]
    }
}

const fn call(nr: u32) -> Rule {
    let facts = [-1; 3];
    let (first, second_path) = (NO_PATH, NO_PATH);
    let (special, returns_descriptor) = (Special::None, false);
    Rule {
        nr,
        special,
        returns_descriptor,
        first,
        second_path,
        flags: -1,
        facts,
        moves: 0,
        second: -1,
        waits: 0,
        named: false,
    }
}

pub fn rule_of(nr: u32) -> Rule {
    CALLS.iter().copied().find(|rule| rule.nr == nr).unwrap_or_else(|| call(nr))
}

#[rustfmt::skip]
pub const CALLS: &[Rule] = &[
    call(0).moves(BYTES_ON),                                                // read
    call(1).moves(BYTES_ON),                                                // write
    call(2).path(0).flags(1).descriptor().special(Special::Open),          // open
    call(3).special(Special::Close),                                       // close
    call(4).path(0),                                                       // stat
    call(6).path(0),                                                       // lstat
    call(7).waits(),                                                       // poll
    call(9).facts(&[2, 3]).special(Special::Mmap),                         // mmap: prot, flags
    call(10).facts(&[2]),                                                  // mprotect: prot
    call(13).facts(&[0]),                                                  // rt_sigaction: signal
    call(15).special(Special::NoReturn),                                   // rt_sigreturn
    call(16).facts(&[1]),                                                  // ioctl: command
    call(17).moves(BYTES_AT),                                               // pread64
    call(18).moves(BYTES_AT),                                               // pwrite64
    call(19).moves(BYTES_ON),                                               // readv
    call(20).moves(BYTES_ON),                                               // writev
    call(21).path(0).flags(1),                                             // access: mode
    call(22).special(Special::Pipe),                                       // pipe
    call(23).waits(),                                                      // select
    call(28).facts(&[2]),                                                  // madvise: advice
    call(29).facts(&[0, 1]),                                                // shmget: key, size
    call(32).descriptor(),                                                 // dup
    call(33).descriptor().special(Special::Dup2),                          // dup2
    call(34).waits(),                                                      // pause
    call(38).facts(&[0]),                                                   // setitimer: which
    call(40).moves(BYTES).and_through(1),                                   // sendfile: out, in
    call(41).facts(&[0, 1, 2]).descriptor().special(Special::Socket),      // socket: family, type, protocol
    call(42).special(Special::Connect),                                    // connect: family, port
    call(43).descriptor().special(Special::Accept).waits(),                 // accept
    call(44).special(Special::Sendto).moves(BYTES),                         // sendto
    call(45).moves(BYTES),                                                  // recvfrom
    call(46).moves(BYTES),                                                  // sendmsg
    call(47).moves(BYTES),                                                  // recvmsg
    call(49).special(Special::Bind),                                       // bind: family, port
    call(50).facts(&[1]).special(Special::Listen),                          // listen: backlog
    call(53).facts(&[0, 1, 2]).special(Special::Socketpair),               // socketpair: as socket
    call(54).facts(&[1, 2]),                                               // setsockopt: level, name
    call(55).facts(&[1, 2]),                                               // getsockopt: level, name
    call(56).facts(&[0]),                                                  // clone: flags
    call(59).exec(-1, 0),                                                  // execve
    call(61).waits_unless(2),                                              // wait4
    call(62).facts(&[1]),                                                  // kill: signal
    call(64).facts(&[0, 1]),                                                // semget: key, how many
    call(68).facts(&[0]),                                                   // msgget: key
    call(72).facts(&[1]).special(Special::Fcntl),                          // fcntl: command
    call(73).facts(&[1]).moves(OPERATES),                                   // flock: operation
    call(74).moves(OPERATES),                                               // fsync
    call(75).moves(OPERATES),                                               // fdatasync
    call(76).path(0),                                                      // truncate
    call(77).moves(OPERATES),                                               // ftruncate
    call(78).moves(OPERATES),                                               // getdents
    call(80).path(0).special(Special::Chdir),                              // chdir
    call(82).from(-1, 0).to(-1, 1),                                        // rename
    call(83).path(0),                                                      // mkdir
    call(84).path(0),                                                      // rmdir
    call(85).path(0).descriptor().special(Special::Open),                  // creat
    call(86).from(-1, 0).to(-1, 1),                                        // link
    call(87).path(0),                                                      // unlink
    call(88).path(1),                                                      // symlink: what it says is no access
    call(89).path(0),                                                      // readlink
    call(90).path(0),                                                      // chmod
    call(92).path(0),                                                      // chown
    call(94).path(0),                                                      // lchown
    call(105).facts(&[0]).special(Special::Identity),                       // setuid
    call(106).facts(&[0]).special(Special::Identity),                       // setgid
    call(113).facts(&[0, 1]).special(Special::Identity),                    // setreuid
    call(114).facts(&[0, 1]).special(Special::Identity),                    // setregid
    call(116).facts(&[0]).special(Special::Identity),                       // setgroups: how many
    call(117).facts(&[0, 1, 2]).special(Special::Identity),                 // setresuid
    call(119).facts(&[0, 1, 2]).special(Special::Identity),                 // setresgid
    call(122).facts(&[0]).special(Special::Identity),                       // setfsuid
    call(123).facts(&[0]).special(Special::Identity),                       // setfsgid
    call(126).special(Special::Identity),                                   // capset
    call(128).waits(),                                                     // rt_sigtimedwait
    call(129).facts(&[1]),                                                 // rt_sigqueueinfo: signal
    call(130).waits(),                                                     // rt_sigsuspend
    call(132).path(0),                                                     // utime
    call(133).path(0),                                                     // mknod
    call(134).path(0),                                                     // uselib
    call(135).facts(&[0]),                                                 // personality
    call(137).path(0),                                                     // statfs
    call(141).facts(&[0, 2]),                                               // setpriority: which, nice
    call(144).facts(&[1]),                                                  // sched_setscheduler: policy
    call(151).facts(&[0]),                                                  // mlockall: flags
    call(155).path(0).and(1).special(Special::Chdir),                      // pivot_root
    call(157).facts(&[0]).special(Special::Identity),                       // prctl: operation
    call(158).facts(&[0]),                                                 // arch_prctl: operation
    call(160).facts(&[0]),                                                 // setrlimit: resource
    call(161).path(0).special(Special::Chdir),                             // chroot
    call(163).path(0),                                                     // acct
    call(165).path(1).facts(&[3]).special(Special::Mount),                  // mount: flags
    call(166).path(0).facts(&[1]),                                         // umount2: flags
    call(167).path(0),                                                     // swapon
    call(168).path(0),                                                     // swapoff
    call(188).path(0),                                                     // setxattr
    call(189).path(0),                                                     // lsetxattr
    call(191).path(0),                                                     // getxattr
    call(192).path(0),                                                     // lgetxattr
    call(194).path(0),                                                     // listxattr
    call(195).path(0),                                                     // llistxattr
    call(197).path(0),                                                     // removexattr
    call(198).path(0),                                                     // lremovexattr
    call(200).facts(&[1]),                                                 // tkill: signal
    call(202).facts(&[1]),                                                  // futex: operation
    call(208).waits(),                                                     // io_getevents
    call(213).descriptor(),                                                // epoll_create
    call(217).moves(OPERATES),                                              // getdents64
    call(222).facts(&[0]),                                                  // timer_create: clock
    call(230).facts(&[0, 1]),                                               // clock_nanosleep: clock, flags
    call(232).waits(),                                                     // epoll_wait
    call(233).facts(&[1]),                                                  // epoll_ctl: operation
    call(234).facts(&[2]),                                                 // tgkill: signal
    call(235).path(0),                                                     // utimes
    call(240).descriptor(),                                                // mq_open
    call(247).waits_unless(3),                                             // waitid
    call(250).facts(&[0]),                                                 // keyctl: operation
    call(251).facts(&[0]),                                                  // ioprio_set: which
    call(253).descriptor(),                                                // inotify_init
    call(254).path(1),                                                     // inotify_add_watch
    call(257).at(0, 1).flags(2).descriptor().special(Special::Open),       // openat
    call(258).at(0, 1),                                                    // mkdirat
    call(259).at(0, 1),                                                    // mknodat
    call(260).at(0, 1),                                                    // fchownat
    call(261).at(0, 1),                                                    // futimesat
    call(262).at(0, 1).flags(3),                                           // newfstatat
    call(263).at(0, 1).flags(2),                                           // unlinkat
    call(264).from(0, 1).to(2, 3),                                         // renameat
    call(265).from(0, 1).to(2, 3),                                         // linkat
    call(266).at(1, 2),                                                    // symlinkat
    call(267).at(0, 1),                                                    // readlinkat
    call(268).at(0, 1),                                                    // fchmodat
    call(269).at(0, 1).flags(2),                                           // faccessat: mode
    call(270).waits(),                                                     // pselect6
    call(271).waits(),                                                     // ppoll
    call(272).facts(&[0]),                                                 // unshare: flags
    call(275).moves(BYTES).and_through(2),                                  // splice: in, out
    call(276).moves(BYTES).and_through(1),                                  // tee: in, out
    call(277).moves(OPERATES),                                              // sync_file_range
    call(278).moves(BYTES),                                                 // vmsplice
    call(280).at(0, 1),                                                    // utimensat
    call(281).waits(),                                                     // epoll_pwait
    call(282).descriptor(),                                                // signalfd
    call(283).descriptor().facts(&[0]),                                     // timerfd_create: clock
    call(284).descriptor(),                                                // eventfd
    call(285).facts(&[1]).moves(OPERATES),                                  // fallocate: mode
    call(288).descriptor().special(Special::Accept).waits(),                // accept4
    call(289).descriptor(),                                                // signalfd4
    call(290).descriptor(),                                                // eventfd2
    call(291).descriptor(),                                                // epoll_create1
    call(292).descriptor().special(Special::Dup2),                         // dup3
    call(293).special(Special::Pipe),                                      // pipe2
    call(294).descriptor(),                                                // inotify_init1
    call(295).moves(BYTES_AT),                                              // preadv
    call(296).moves(BYTES_AT),                                              // pwritev
    call(297).facts(&[2]),                                                 // rt_tgsigqueueinfo: signal
    call(298).descriptor(),                                                // perf_event_open
    call(299).moves(OPERATES),                                              // recvmmsg: returns messages
    call(300).descriptor(),                                                // fanotify_init
    call(301).at(3, 4),                                                    // fanotify_mark
    call(302).facts(&[1]),                                                 // prlimit64: resource
    call(303).at(0, 1),                                                    // name_to_handle_at
    call(304).descriptor(),                                                // open_by_handle_at
    call(306).moves(OPERATES),                                              // syncfs
    call(307).moves(OPERATES),                                              // sendmmsg: returns messages
    call(308).facts(&[1]),                                                 // setns: flags
    call(316).from(0, 1).to(2, 3).flags(4),                                // renameat2
    call(317).facts(&[0]),                                                 // seccomp: operation
    call(318).facts(&[2]),                                                  // getrandom: flags
    call(319).descriptor().facts(&[1]),                                     // memfd_create: flags
    call(321).facts(&[0]).descriptor(),                                    // bpf: command
    call(322).exec(0, 1),                                                  // execveat
    call(323).descriptor(),                                                // userfaultfd
    call(326).moves(BYTES).and_through(2),                                  // copy_file_range: in, out
    call(327).moves(BYTES),                                                 // preadv2
    call(328).moves(BYTES),                                                 // pwritev2
    call(329).facts(&[2]),                                                 // pkey_mprotect: prot
    call(332).at(0, 1).flags(2),                                           // statx
    call(424).facts(&[1]),                                                 // pidfd_send_signal: signal
    call(425).descriptor(),                                                // io_uring_setup
    call(426).waits(),                                                     // io_uring_enter
    call(428).at(0, 1).descriptor(),                                       // open_tree
    call(429).from(0, 1).to(2, 3),                                         // move_mount
    call(430).descriptor().special(Special::Mount),                         // fsopen
    call(432).descriptor(),                                                // fsmount
    call(433).at(0, 1).descriptor(),                                       // fspick
    call(434).descriptor(),                                                // pidfd_open
    call(435).special(Special::Clone3),                                    // clone3: flags
    call(436).special(Special::CloseRange),                                // close_range
    call(437).at(0, 1).descriptor().special(Special::Openat2),             // openat2
    call(438).descriptor(),                                                // pidfd_getfd
    call(439).at(0, 1).flags(2),                                           // faccessat2: mode
    call(441).waits(),                                                     // epoll_pwait2
    call(442).at(0, 1),                                                    // mount_setattr
    call(444).descriptor(),                                                // landlock_create_ruleset
    call(447).descriptor(),                                                // memfd_secret
    call(452).at(0, 1),                                                    // fchmodat2
    call(463).at(0, 1),                                                    // setxattrat
    call(464).at(0, 1),                                                    // getxattrat
    call(465).at(0, 1),                                                    // listxattrat
    call(466).at(0, 1),                                                    // removexattrat
    call(467).at(0, 1).descriptor(),                                       // open_tree_attr
    call(468).at(0, 1),                                                    // file_getattr
    call(469).at(0, 1),                                                    // file_setattr
];
