//! Names as their authors know them.

use super::{
    demangle::demangled,
    shortened::{MAX_NAME, shortened},
};

/// A name out of a file: demangled, without what the compiler added, and shortened.
pub(super) fn readable(name: &[u8]) -> String {
    // Demanglers take no more than that.
    let name = String::from_utf8_lossy(&name[..name.len().min(2 * MAX_NAME + 1)]);
    let demangled = demangled(&name);
    shortened(plain(demangled.as_deref().unwrap_or(&name)))
}

/// What compilers append to the name of a function of which they made another version, or a part.
const CLONES: [&str; 7] = ["cold", "constprop", "isra", "llvm", "localalias", "lto_priv", "part"];

/// A demangled name without what the compiler added to it: the marks of clones (`.isra.0`, ` [clone .part.3]`) and the hash of
/// Rust (`::h0123456789abcdef`).
fn plain(demangled: &str) -> &str {
    let mut name = demangled;
    loop {
        let shorter = without_clone(name).or_else(|| without_hash(name)).filter(|shorter| !shorter.is_empty());
        match shorter {
            Some(shorter) => name = shorter,
            None => return name,
        }
    }
}

fn without_clone(name: &str) -> Option<&str> {
    if let Some((rest, mark)) = name.strip_suffix(']').and_then(|name| name.rsplit_once(" [clone ")) {
        return mark.starts_with('.').then_some(rest);
    }
    let unnumbered = name.trim_end_matches(|character: char| character.is_ascii_digit());
    let marked = if unnumbered.len() < name.len() { unnumbered.strip_suffix('.')? } else { name };
    let (rest, mark) = marked.rsplit_once('.')?;
    CLONES.contains(&mark).then_some(rest)
}

fn without_hash(name: &str) -> Option<&str> {
    let (rest, hash) = name.rsplit_once("::h")?;
    (hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_taken_off() {
        for (name, expected) in [
            ("main", "main"),
            ("handle.isra.0", "handle"),
            ("handle.part.12.isra.0.cold", "handle"),
            ("handle.constprop.0.cold.1", "handle"),
            ("handle.llvm.1234567890", "handle"),
            ("proxy::take(int) [clone .isra.0] [clone .cold]", "proxy::take(int)"),
            ("server::accept_one::h0123456789abcdef", "server::accept_one"),
            ("server::accept_one::h0123456789abcdef.llvm.42", "server::accept_one"),
            ("main.(*Server).Accept.func1", "main.(*Server).Accept.func1"),
            ("main.main.func1.2", "main.main.func1.2"),
            ("net.cold_start", "net.cold_start"),
            ("main.cold", "main"),
            (".cold", ".cold"),
            ("v8::internal::Heap::hash", "v8::internal::Heap::hash"),
            ("operator[]", "operator[]"),
            ("", ""),
        ] {
            assert_eq!(plain(name), expected);
        }
    }

    #[test]
    fn names_of_any_length() {
        assert_eq!(readable(&vec![b'_'; 1 << 20]).len(), MAX_NAME + "…".len());
        assert_eq!(readable(b"_Z\xff"), "_Z\u{fffd}");
        assert_eq!(readable(b"_ZN6server4take17h0123456789abcdefE.llvm.42"), "server::take");
    }

    proptest! {
        #[test]
        fn a_name_stays_a_beginning(name in "(\\PC{0,8}|\\.(cold|part|isra)|\\.[0-9]{0,3}|::h[0-9a-f]{16}| \\[clone \\.x\\]){0,6}") {
            prop_assert!(name.starts_with(plain(&name)));
            prop_assert_eq!(plain(&name).is_empty(), name.is_empty());
        }
    }
}
