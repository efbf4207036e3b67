//! Offsets of kernel fields, read from the running kernel's BTF at start and frozen into `.rodata`.
//!
//! The list below is the only place that names a kernel field: the BPF side reads through the offsets, the loader resolves
//! each name. rustc emits no CO-RE relocations, so this takes their place.

use core::mem::size_of;

use crate::arch::{THREAD_POINTER, pt_regs};

/// A field to be looked up in the kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelField {
    /// The structure, such as `sock`.
    pub structure: &'static str,
    /// The member, with dots for members of members, such as `skc_net.net`; anonymous members are walked.
    pub member: &'static str,
    /// Not every kernel has it, and the programs do without: its offset is [`ABSENT`] then.
    pub optional: bool,
}

/// Value of an optional offset that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! layout {
    (@optional) => { false };
    (@optional optional) => { true };
    ($($(#[$attribute:meta])* $name:ident = $structure:literal $member:tt $($optional:ident)?,)+) => {
        /// Byte offsets of kernel fields in their structures.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct Layout {
            $($(#[$attribute])* pub $name: u32,)+
        }

        impl Layout {
            /// How many fields there are.
            pub const LEN: usize = [$($structure),+].len();

            /// What each offset is looked up by, in the order of the fields.
            pub const FIELDS: [KernelField; Self::LEN] = [
                $(KernelField { structure: $structure, member: $member, optional: layout!(@optional $($optional)?) }),+
            ];

            /// Every offset [`ABSENT`]: what the object holds before it is loaded.
            pub const ABSENT: Self = Self { $($name: ABSENT,)+ };

            /// Puts offsets, in the order of [`Layout::FIELDS`], into their fields.
            #[must_use]
            pub const fn from_offsets(offsets: [u32; Self::LEN]) -> Self {
                let [$($name),+] = offsets;
                Self { $($name),+ }
            }
        }
    };
}

layout! {
    /// Address family.
    skc_family = "sock_common" "skc_family",
    /// Local port, host byte order.
    skc_num = "sock_common" "skc_num",
    /// Remote port, network byte order.
    skc_dport = "sock_common" "skc_dport",
    /// Local IPv4 address.
    skc_rcv_saddr = "sock_common" "skc_rcv_saddr",
    /// Remote IPv4 address.
    skc_daddr = "sock_common" "skc_daddr",
    /// Local IPv6 address.
    skc_v6_rcv_saddr = "sock_common" "skc_v6_rcv_saddr",
    /// Remote IPv6 address.
    skc_v6_daddr = "sock_common" "skc_v6_daddr",
    /// Number of the interface that a socket is bound to; 0 when it is to none.
    skc_bound_dev_if = "sock_common" "skc_bound_dev_if",
    /// TCP state.
    skc_state = "sock_common" "skc_state",
    /// Network namespace.
    skc_net = "sock_common" "skc_net.net",
    /// Socket cookie, 0 until one was asked for.
    skc_cookie = "sock_common" "skc_cookie",
    /// Connections that wait to be accepted.
    sk_ack_backlog = "sock" "sk_ack_backlog",
    /// Most connections that may wait to be accepted.
    sk_max_ack_backlog = "sock" "sk_max_ack_backlog",
    /// Packets that a socket has dropped; of a listener connection requests.
    sk_drops = "sock" "sk_drops.counter",
    /// Directions that are shut down (`RCV_SHUTDOWN`, `SEND_SHUTDOWN`).
    sk_shutdown = "sock" "sk_shutdown",
    /// Whether a task holds the lock of a socket, and no softirq works on it.
    sk_lock_owned = "sock" "sk_lock.owned",
    /// Next sequence number expected from the peer.
    rcv_nxt = "tcp_sock" "rcv_nxt",
    /// First sequence number that the program has not read.
    copied_seq = "tcp_sock" "copied_seq",
    /// First sequence number that the program has not written.
    write_seq = "tcp_sock" "write_seq",
    /// First sequence number that the peer has not acknowledged.
    snd_una = "tcp_sock" "snd_una",
    /// Bytes received in sequence since the connection was made; the FIN counts as one.
    bytes_received = "tcp_sock" "bytes_received",
    /// Bytes of data sent since then, those sent again included.
    bytes_sent = "tcp_sock" "bytes_sent",
    /// When data was sent last, jiffies.
    lsndtime = "tcp_sock" "lsndtime",
    /// When an acknowledgement was received last, jiffies.
    rcv_tstamp = "tcp_sock" "rcv_tstamp",
    /// When data was received last, jiffies.
    lrcvtime = "inet_connection_sock" "icsk_ack.lrcvtime",
    /// Bytes of data received on a Multipath TCP connection.
    mptcp_bytes_received = "mptcp_sock" "bytes_received" optional,
    /// Bytes of them that the program has read.
    mptcp_bytes_consumed = "mptcp_sock" "bytes_consumed" optional,
    /// Bytes of data sent on a Multipath TCP connection, without those sent again.
    mptcp_bytes_sent = "mptcp_sock" "bytes_sent" optional,
    /// First sequence number of it that the program has not written.
    mptcp_write_seq = "mptcp_sock" "write_seq" optional,
    /// First sequence number of it that the peer has not acknowledged.
    mptcp_snd_una = "mptcp_sock" "snd_una" optional,
    /// When data was sent on it last, jiffies.
    mptcp_last_data_sent = "mptcp_sock" "last_data_sent" optional,
    /// When data was received on it last, jiffies.
    mptcp_last_data_recv = "mptcp_sock" "last_data_recv" optional,
    /// When an acknowledgement of it was received last, jiffies.
    mptcp_last_ack_recv = "mptcp_sock" "last_ack_recv" optional,
    /// IP protocol.
    sk_protocol = "sock" "sk_protocol",
    /// Socket type, `SOCK_STREAM` for TCP; a raw socket can carry the same protocol number.
    sk_type = "sock" "sk_type",
    /// The `struct socket`; null while nobody has accepted the connection, and after the last close.
    sk_socket = "sock" "sk_socket",
    /// User id of the socket's creator.
    sk_uid = "sock" "sk_uid",
    /// cgroup of the socket (`CONFIG_SOCK_CGROUP_DATA`). A tagged union before 5.15, but for late patch levels of 5.10: not
    /// read there.
    sk_cgroup = "sock" "sk_cgrp_data.cgroup" optional,
    /// Bound local port, network byte order; survives `skc_num` at the final CLOSE.
    inet_sport = "inet_sock" "inet_sport",
    /// Inode number of a network namespace.
    net_inum = "net" "ns.inum",
    /// kernfs node of a cgroup.
    cgroup_kn = "cgroup" "kn",
    /// Parent of a cgroup, as its `cgroup_subsys_state`.
    cgroup_parent = "cgroup" "self.parent",
    /// cgroup of a `cgroup_subsys_state`.
    css_cgroup = "cgroup_subsys_state" "cgroup",
    /// Id of a kernfs node: for a cgroup the inode number of its directory.
    kernfs_id = "kernfs_node" "id",
    /// Thread-group id of a task.
    task_tgid = "task_struct" "tgid",
    /// Thread id of a task.
    task_pid = "task_struct" "pid",
    /// Flags of a task (`PF_*`).
    task_flags = "task_struct" "flags",
    /// Name of a task.
    task_comm = "task_struct" "comm",
    /// When a task began, nanoseconds of `CLOCK_BOOTTIME`; `real_start_time` before 5.5. That of the first thread is its process's, also
    /// after another thread has called `execve()` (`de_thread()`, `fs/exec.c`).
    task_start = "task_struct" "start_boottime",
    /// The first thread of a process.
    task_leader = "task_struct" "group_leader",
    /// State of a task, 0 while it runs or waits for a CPU; up to 5.13 under its former name.
    task_state = "task_struct" "__state" optional,
    /// The same up to 5.13.
    task_state_former = "task_struct" "state" optional,
    /// What a task is to do about signals, tracing and freezing (`JOBCTL_*`).
    task_jobctl = "task_struct" "jobctl",
    /// Time that a task has had a CPU for, nanoseconds.
    task_cpu = "task_struct" "se.sum_exec_runtime",
    /// Kernel stack of a task; up to 5.14 the way to its user registers.
    task_stack = "task_struct" "stack" optional,
    /// Thread pointer of a task, as it was when it last had to wait for a CPU or the kernel set it.
    task_thread_pointer = "task_struct" (THREAD_POINTER) optional,
    /// Memory of a task.
    task_mm = "task_struct" "mm",
    /// Where the code of the program itself begins, libraries aside.
    mm_start_code = "mm_struct" "start_code",
    /// Where it ends.
    mm_end_code = "mm_struct" "end_code",
    /// Where the stack of the first thread began: chosen at random by each `execve()`.
    mm_start_stack = "mm_struct" "start_stack",
    /// User instruction pointer.
    regs_ip = "pt_regs" (pt_regs::IP) optional,
    /// User stack pointer.
    regs_sp = "pt_regs" (pt_regs::SP) optional,
    /// User frame pointer.
    regs_bp = "pt_regs" (pt_regs::BP) optional,
    /// The mode that the processor was in.
    regs_mode = "pt_regs" (pt_regs::MODE) optional,
    /// Number of the system call.
    regs_syscall = "pt_regs" (pt_regs::SYSCALL) optional,
    /// First argument of a system call: of those on sockets the descriptor.
    regs_argument_1 = "pt_regs" (pt_regs::ARGUMENT_1) optional,
    /// Third argument of a system call: of `read()` and `recv()` the length.
    regs_argument_3 = "pt_regs" (pt_regs::ARGUMENT_3) optional,
    /// Fifth argument of a system call: of `splice()` the length.
    regs_argument_5 = "pt_regs" (pt_regs::ARGUMENT_5) optional,
    /// The last register that is there however the kernel was entered.
    regs_last = "pt_regs" (pt_regs::LAST) optional,
    /// What the threads of a process share.
    task_signal = "task_struct" "signal",
    /// Live threads of a process.
    signal_live = "signal_struct" "live.counter",
    /// Open files of a task.
    task_files = "task_struct" "files",
    /// Descriptor table of open files.
    files_fdt = "files_struct" "fdt",
    /// Array of files in a descriptor table.
    fdt_fd = "fdtable" "fd",
    /// Length of that array.
    fdt_max_fds = "fdtable" "max_fds",
    /// Private data of a file: the `struct socket` of a socket.
    file_private_data = "file" "private_data",
    /// Inode of a file.
    file_inode = "file" "f_inode",
    /// Type and permissions of an inode.
    inode_mode = "inode" "i_mode",
    /// The file of a `struct socket`.
    socket_file = "socket" "file",
    /// `struct sock` of a `struct socket`.
    socket_sk = "socket" "sk",
    /// What a request of `io_uring` is.
    io_opcode = "io_kiocb" "opcode" optional,
    /// Of one that accepts, which it is the beginning of: 0 where the connection gets a descriptor.
    io_file_slot = "io_accept" "file_slot" optional,
}

const _: () = assert!(size_of::<Layout>() == 4 * Layout::LEN);

#[cfg(feature = "loader")]
// SAFETY: bytemuck has derived the same promise.
unsafe impl aya::Pod for Layout {}
