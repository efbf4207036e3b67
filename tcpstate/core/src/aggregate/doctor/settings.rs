//! The settings that people are told to change for `CLOSE_WAIT` and `TIME_WAIT`, and what each really governs.

/// What is known of a setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// With dots.
    pub name: &'static str,
    /// Defaults by the kernel version from which on they apply, newest first.
    defaults: &'static [((u32, u32), &'static str)],
    /// What it really does.
    pub governs: &'static str,
    /// Where the kernel does it.
    pub source: &'static str,
    /// Since which version it is gone.
    pub gone: Option<(u32, u32)>,
    /// Whether it is one for the whole host, which only the initial network namespace may show.
    pub host_wide: bool,
}

impl Setting {
    /// What a kernel of this version starts with; of an unknown version, what the newest does.
    #[must_use]
    pub fn default_of(&self, version: Option<(u32, u32)>) -> &'static str {
        let applies = |since: (u32, u32)| version.is_none_or(|version| version >= since);
        self.defaults.iter().find(|&&(since, _)| applies(since)).map_or("", |&(_, default)| default)
    }
}

/// Settings that matter to what can be traced.
pub const KERNEL: [&str; 3] =
    ["net.core.bpf_jit_enable", "kernel.unprivileged_bpf_disabled", "kernel.yama.ptrace_scope"];

/// Every setting that is read.
pub const NAMES: [&str; 23] = [
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_max_syn_backlog",
    "net.core.somaxconn",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.ip_local_port_range",
    "net.core.netdev_max_backlog",
    "fs.file-max",
    "fs.nr_open",
    "fs.file-nr",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_timestamps",
    KERNEL[0],
    KERNEL[1],
    KERNEL[2],
];

const fn setting(
    name: &'static str,
    defaults: &'static [((u32, u32), &'static str)],
    governs: &'static str,
    source: &'static str,
) -> Setting {
    Setting { name, defaults, governs, source, gone: None, host_wide: false }
}

const KEEPALIVE: &str = "tcp_keepalive_timer(), net/ipv4/tcp_timer.c";

/// Those that are explained, in the order in which they are shown.
pub static SETTINGS: [Setting; 17] = [
    setting(
        "net.ipv4.tcp_fin_timeout",
        &[((0, 0), "60")],
        "seconds that a connection which its program has closed may wait in FIN_WAIT2 for the peer's FIN. Nothing else: TIME_WAIT \
         lasts 60 s whatever this says (TCP_TIMEWAIT_LEN), and CLOSE_WAIT has no timer",
        "tcp_fin_time(), include/net/tcp.h; __tcp_close(), net/ipv4/tcp.c; ip-sysctl",
    ),
    setting(
        "net.ipv4.tcp_tw_reuse",
        &[((4, 19), "2"), ((0, 0), "0")],
        "whether connect() may take the port of a connection to the same remote end that is in TIME_WAIT: 0 no, 1 yes, 2 only on \
         loopback (since 4.19). Needs tcp_timestamps; only outgoing connections; ends no socket",
        "tcp_twsk_unique(), net/ipv4/tcp_ipv4.c; ip-sysctl",
    ),
    Setting {
        gone: Some((4, 12)),
        ..setting(
            "net.ipv4.tcp_tw_recycle",
            &[((4, 12), "none"), ((0, 0), "0")],
            "ended TIME_WAIT early by comparing timestamps per address, which refused clients behind one NAT address; removed in \
             Linux 4.12, as timestamps no longer are per address",
            "removed by commit 4396e46187ca \"tcp: remove tcp_tw_recycle\"",
        )
    },
    setting(
        "net.ipv4.tcp_max_tw_buckets",
        &[((0, 0), "half the buckets of the socket hash table")],
        "how many sockets may be in TIME_WAIT; beyond it a connection that ends skips TIME_WAIT and is counted as \
         TCPTimeWaitOverflow. A guard of memory, not to be lowered (ip-sysctl): late segments then reach new connections",
        "inet_twsk_alloc(), net/ipv4/inet_timewait_sock.c; tcp_time_wait(), net/ipv4/tcp_minisocks.c",
    ),
    setting(
        "net.ipv4.tcp_keepalive_time",
        &[((0, 0), "7200")],
        "seconds without traffic before the first probe, only on sockets whose program set SO_KEEPALIVE. It finds peers that are \
         gone. On a CLOSE_WAIT socket the probe can at most draw an RST: the socket leaves the list, its descriptor stays open",
        KEEPALIVE,
    ),
    setting(
        "net.ipv4.tcp_keepalive_intvl",
        &[((0, 0), "75")],
        "seconds between two keepalive probes that were not answered, only on sockets with SO_KEEPALIVE",
        KEEPALIVE,
    ),
    setting(
        "net.ipv4.tcp_keepalive_probes",
        &[((0, 0), "9")],
        "keepalive probes without an answer before the connection is given up, only on sockets with SO_KEEPALIVE; the program \
         still has to close its descriptor",
        KEEPALIVE,
    ),
    setting(
        "net.ipv4.tcp_syncookies",
        &[((0, 0), "1")],
        "what a listener does when its queue of handshakes is full: 1 answers with cookies, 0 drops, 2 always uses cookies (for \
         tests). Concerns connections that are not open yet",
        "tcp_conn_request(), tcp_syn_flood_action(), net/ipv4/tcp_input.c; ip-sysctl",
    ),
    setting(
        "net.ipv4.tcp_max_syn_backlog",
        &[((0, 0), "at least 128, more with memory")],
        "handshakes (SYN_RECV) a listener remembers, where tcp_syncookies is 0: above three quarters only known peers get in. \
         With syncookies the limit is that of the accept backlog",
        "tcp_conn_request(), net/ipv4/tcp_input.c; inet_csk_reqsk_queue_is_full()",
    ),
    setting(
        "net.core.somaxconn",
        &[((5, 4), "4096"), ((0, 0), "128")],
        "upper bound of what listen() asks for as its backlog: connections that wait for accept(). A listener takes a new bound \
         only when listen() is called again",
        "__sys_listen(), net/socket.c; sk_acceptq_is_full(); ip-sysctl",
    ),
    setting(
        "net.ipv4.tcp_orphan_retries",
        &[((0, 0), "0")],
        "retransmissions for a connection that its program has closed and whose peer does not acknowledge (FIN_WAIT1, LAST_ACK, \
         CLOSING); 0 stands for 8 while the time-out is short",
        "tcp_orphan_retries(), net/ipv4/tcp_timer.c",
    ),
    setting(
        "net.ipv4.tcp_syn_retries",
        &[((0, 0), "6")],
        "retransmissions of an unanswered SYN (SYN_SENT) before connect() fails, about two minutes by default; programs set their \
         own by TCP_SYNCNT",
        "tcp_write_timeout(), net/ipv4/tcp_timer.c; ip-sysctl",
    ),
    setting(
        "net.ipv4.tcp_synack_retries",
        &[((0, 0), "5")],
        "retransmissions of a SYN-ACK (SYN_RECV) whose client does not answer, about a minute by default",
        "reqsk_timer_handler(), net/ipv4/inet_connection_sock.c; ip-sysctl",
    ),
    setting(
        "net.ipv4.ip_local_port_range",
        &[((0, 0), "32768 60999")],
        "ports that the kernel gives to connect(). Each can be used once between one local address and one remote end, and \
         TIME_WAIT counts as use; towards other remote ends the same ports are free",
        "__inet_hash_connect(), net/ipv4/inet_hashtables.c; ip-sysctl",
    ),
    Setting {
        host_wide: true,
        ..setting(
            "net.core.netdev_max_backlog",
            &[((0, 0), "1000")],
            "packets that may wait for a CPU after loopback, RPS or a driver without NAPI handed them over (second column of \
             /proc/net/softnet_stat counts drops). It knows nothing of connections and their states",
            "enqueue_to_backlog(), net/core/dev.c",
        )
    },
    Setting {
        host_wide: true,
        ..setting(
            "fs.file-max",
            &[((0, 0), "about 10 % of memory in KiB; systemd raises it")],
            "open files of the whole host; ENFILE beyond it, but not for root. Leaked sockets count",
            "alloc_empty_file(), fs/file_table.c",
        )
    },
    Setting {
        host_wide: true,
        ..setting(
            "fs.nr_open",
            &[((0, 0), "1048576")],
            "how far RLIMIT_NOFILE of a process can be raised; the process meets RLIMIT_NOFILE first (EMFILE)",
            "do_prlimit(), kernel/sys.c",
        )
    },
];
