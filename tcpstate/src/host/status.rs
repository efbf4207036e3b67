//! `/proc/PID/status`.

/// What a line of `/proc/PID/status` says (`proc_pid_status(5)`).
pub(super) fn value<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    Some(str::from_utf8(line).ok()?.trim())
}
