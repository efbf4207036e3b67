//! How the ids of processes here relate to the kernel's, and whether `/proc` shows every process.

use std::{fs, path::Path};

use rustix::{
    fs::statfs,
    process::{getegid, getgroups},
};

use super::{initial::is_initial_pid_namespace, mountinfo::proc_options, privileges::Privileges, status::value};

/// Magic number of the proc file system (`PROC_SUPER_MAGIC`, `include/uapi/linux/magic.h`).
const PROC: i64 = 0x9fa0;

/// Whose ids `/proc` and this process go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pids {
    /// The kernel's: those of the initial pid namespace.
    Kernel,
    /// Those of a pid namespace of our own.
    Nested,
    /// We are in a pid namespace of our own, and `/proc` is of one further out.
    NestedBelowProc,
    /// `/proc` is of a pid namespace that we are not in.
    ForeignProc,
    /// Nobody knows: there is no `/proc`.
    NoProc,
}

impl Pids {
    pub(super) fn detect(proc: &Path) -> Self {
        if fs::read_link(proc.join("self")).is_err() {
            let is_proc = statfs(proc).is_ok_and(|found| found.f_type == PROC);
            return if is_proc { Self::ForeignProc } else { Self::NoProc };
        }
        match (is_initial_pid_namespace(&proc.join("self")), levels(proc)) {
            (true, _) => Self::Kernel,
            (false, 2..) => Self::NestedBelowProc,
            (false, _) => Self::Nested,
        }
    }

    /// Why `/proc` does not show every process, if so.
    pub(super) fn hidden_processes(self, proc: &Path) -> Option<String> {
        match self {
            Self::Nested => {
                return Some(
                    "this is a nested pid namespace, from which processes outside of it are not seen, nor network namespaces that only \
                     these are in: run tcpstate on the host"
                        .to_owned(),
                );
            }
            // The second is a thread of the kernel, which no other namespace has.
            Self::NestedBelowProc if !["1", "2"].iter().any(|pid| is_initial_pid_namespace(&proc.join(pid))) => {
                return Some(
                    "`/proc` is not known to be of the initial pid namespace, and only that one's has every process: run tcpstate on the \
                     host"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let mountinfo = fs::read(proc.join("self/mountinfo")).unwrap_or_default();
        let hiding = Hiding::of(&proc_options(&mountinfo, proc)?)?;
        if hiding.spares(is_of_group) {
            return None;
        }
        let privileged = Privileges::read().sees_all_processes();
        if privileged && proc.join("1").exists() {
            return None;
        }
        let Hiding { option, gid, .. } = hiding;
        let group = gid.map_or_else(String::new, |gid| format!(", or group {gid}"));
        let takes = if privileged {
            "a security module keeps some of them back although `CAP_SYS_PTRACE` is held".to_owned()
        } else {
            format!("it takes `CAP_SYS_PTRACE`{group}")
        };
        Some(format!("`/proc` is mounted with `{option}`, so that processes of others may not be in it: {takes}"))
    }
}

/// From how many pid namespaces this process is seen: from that of `/proc` inwards (`NSpid:`, `task_state()` of `fs/proc/array.c`).
fn levels(proc: &Path) -> usize {
    let status = fs::read(proc.join("self/status")).unwrap_or_default();
    value(&status, b"NSpid:").map_or(0, |ids| ids.split_ascii_whitespace().count())
}

fn is_of_group(gid: u32) -> bool {
    let supplementary = getgroups().unwrap_or_default();
    getegid().as_raw() == gid || supplementary.iter().any(|group| group.as_raw() == gid)
}

/// How a mount of `/proc` hides processes (`has_pid_permissions()`, `fs/proc/base.c`).
#[derive(Debug, PartialEq, Eq)]
struct Hiding {
    option: String,
    /// Members of this group see all, where that counts.
    gid: Option<u32>,
    by_group: bool,
}

impl Hiding {
    /// By the options of the mount. Those with `hidepid=noaccess` are listed, and refused one by one.
    fn of(options: &str) -> Option<Self> {
        let value = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        let hidepid = value("hidepid")?;
        // Numbers before Linux 5.8.
        let by_group = match hidepid {
            "2" | "invisible" => true,
            "4" | "ptraceable" => false,
            _ => return None,
        };
        let gid = value("gid").and_then(|gid| gid.parse().ok()).filter(|_| by_group);
        Some(Self { option: format!("hidepid={hidepid}"), gid, by_group })
    }

    fn spares(&self, is_member: impl Fn(u32) -> bool) -> bool {
        // Where none is given it is root's (`proc_fs_info.pid_gid`).
        self.by_group && is_member(self.gid.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_ours_are_as_they_are() {
        assert_eq!(Pids::detect(Path::new("/nonexistent")), Pids::NoProc);
        let here = Pids::detect(Path::new("/proc"));
        assert_eq!(here == Pids::Kernel, is_initial_pid_namespace(Path::new("/proc/self")));
    }

    #[test]
    fn hiding_is_by_user_or_by_group() {
        let of = |options| Hiding::of(options);
        assert_eq!(of("rw"), None);
        assert_eq!(of("rw,hidepid=noaccess"), None);
        assert_eq!(of("rw,gid=7,hidepid=1"), None);
        let invisible = of("rw,gid=7,hidepid=invisible").expect("it hides");
        assert!(invisible.spares(|gid| gid == 7) && !invisible.spares(|gid| gid == 0));
        let roots = of("rw,hidepid=2").expect("it hides");
        assert!(roots.spares(|gid| gid == 0) && roots.gid.is_none());
        assert!(!of("rw,gid=7,hidepid=ptraceable").expect("it hides").spares(|_| true));
    }
}
