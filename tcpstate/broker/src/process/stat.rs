//! Numbers in `/proc/PID/stat` (`proc_pid_stat(5)`).

/// The number in a field, counted from 1 as the manual page does; the first two are none. The name, field 2, may hold anything,
/// parentheses too.
#[must_use]
pub fn field(stat: &[u8], number: usize) -> Option<u64> {
    /// The state, which follows the name.
    const FIRST: usize = 3;
    let after_name = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[after_name + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(number.checked_sub(FIRST)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn behind_hostile_names() {
        assert_eq!(field(b"812 (nginx) S 1 812 812 0 -1", 4), Some(1));
        assert_eq!(field(b"812 (a) R 7 (b) S 42 812 813", 6), Some(813));
        assert_eq!(field(b"812 (\xff) S 9 1", 4), Some(9));
        assert_eq!(field(b"812 (a) S 9 1", 3), None, "no number");
        assert_eq!(field(b"812 (a) S 9 1", 2), None);
        assert_eq!(field(b"812 (a) S 9 1", 6), None);
        assert_eq!(field(b"", 4), None);
    }
}
