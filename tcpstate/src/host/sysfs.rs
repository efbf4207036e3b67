//! The file system `/sys`, of which a root file system may have none.

use rustix::fs::statfs;

/// Magic number of sysfs (`SYSFS_MAGIC`, `include/uapi/linux/magic.h`).
const SYSFS: i64 = 0x6265_6572;

/// What is said where there is none.
pub(crate) const NO_SYSFS: &str = "there is no `/sys`: mount it with `mount -t sysfs sysfs /sys`";

/// Whether it is mounted.
pub(crate) fn has_sysfs() -> bool {
    statfs("/sys").is_ok_and(|found| found.f_type == SYSFS)
}
