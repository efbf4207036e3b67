//! Names of C++ and Rust as their authors wrote them.
//!
//! A mangled name can repeat parts of itself by reference, and so stand for one that is exponentially longer: what it is written to
//! takes no more than is shown.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

use super::shortened::{MAX_NAME, beginning};

/// Longer mangled names are shown as they are, bytes.
const MAX_MANGLED: usize = 4096;
/// How deep the parts of a C++ name are nested. `cpp_demangle` takes up to half a kibibyte of stack for each.
const MAX_NESTED: u32 = 96;

/// The name that `mangled` stands for; `None` when it is not mangled. One that is too long is cut off.
pub(super) fn demangled(mangled: &str) -> Option<String> {
    if mangled.len() > MAX_MANGLED {
        return None;
    }
    let is_rust_only = mangled.starts_with("_R") || mangled.starts_with("__R");
    if !is_rust_only && !mangled.starts_with("_Z") && !mangled.starts_with("__Z") && !mangled.starts_with("_GLOBAL_") {
        return None;
    }
    let mut name = Limited(String::new());
    if let Ok(rust) = rustc_demangle::try_demangle(mangled) {
        // Without the hash.
        let whole = write!(name, "{rust:#}");
        return name.finish(whole);
    }
    let symbol = Symbol::new_with_options(mangled, &ParseOptions::default().recursion_limit(MAX_NESTED)).ok()?;
    let whole = symbol.structured_demangle(&mut name, &DemangleOptions::new().recursion_limit(MAX_NESTED));
    name.finish(whole)
}

/// As much of a text as is shown, and a little more.
struct Limited(String);

impl Limited {
    fn finish(self, whole: fmt::Result) -> Option<String> {
        // What failed for another reason than its length is no name.
        (whole.is_ok() || self.0.len() > MAX_NAME).then_some(self.0)
    }
}

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = (MAX_NAME + 1).saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        // So that it is more than is shown, whatever characters it has.
        self.0.push_str(beginning(text, room + 3));
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_both_languages() {
        for (mangled, expected) in [
            ("_ZN5proxy4PoolIiE4takeEi", Some("proxy::Pool<int>::take(int)")),
            ("_ZN6server10accept_one17h0123456789abcdefE", Some("server::accept_one")),
            ("_RNvC6server10accept_one", Some("server::accept_one")),
            ("main", None),
            ("RC4_set_key", None),
            ("_Znonsense", None),
        ] {
            assert_eq!(demangled(mangled).as_deref(), expected, "{mangled}");
        }
    }

    /// `f(a, p<a, a>, p<p<a, a>, p<a, a>>, …)`: each parameter is twice as long as the one before.
    fn doubling(levels: usize) -> String {
        let digit = |number: usize| char::from_digit(number as u32, 36).expect("few").to_ascii_uppercase();
        let doubled = (1..levels).map(|level| format!("S0_IS{0}_S{0}_E", digit(level)));
        format!("_Z1f1a1pIS_S_E{}", doubled.collect::<String>())
    }

    #[test]
    fn short_names_that_stand_for_long_ones() {
        assert_eq!(demangled(&doubling(2)).as_deref(), Some("f(a, p<a, a>, p<p<a, a>, p<a, a> >)"));
        for levels in [10, 15, 20, 30, 35] {
            let name = demangled(&doubling(levels)).expect("a name");
            assert!((MAX_NAME..MAX_NAME + 8).contains(&name.len()), "{levels}: {}", name.len());
        }
    }

    #[test]
    fn deep_and_long_names() {
        for mangled in [
            format!("_Z1f{}i", "P".repeat(4000)),
            format!("_Z1f{}i", "P".repeat(40_000)),
            format!("_ZN{}E", "1a".repeat(2000)),
            format!("_Z{}1a{}", "N".repeat(2000), "E".repeat(2000)),
            format!("_Z1fI{}iE{}vv", "1aI".repeat(1000), "E".repeat(1000)),
            format!("_RNv{}C1a1b", "Nv".repeat(2000)),
            format!("_RI{}C1a1bE", "I".repeat(2000)),
        ] {
            assert!(demangled(&mangled).is_none_or(|name| name.len() <= MAX_NAME + 8), "{mangled}");
        }
    }

    proptest! {
        #[test]
        fn anything_mangled(mangled in "(_Z|_ZN|_R|_RNv|_GLOBAL_)[A-Za-z0-9_.$]{0,60}") {
            prop_assert!(demangled(&mangled).is_none_or(|name| name.len() <= MAX_NAME + 8));
        }

        #[test]
        fn what_repeats_itself(parts in prop::collection::vec("S[0-9A]?_|T[0-9]?_|1[a-c]|I|E|N|P|R|F|J|D[pt]|X|L|i|v|st|St", 0..60)) {
            let mangled = format!("_Z1f{}", parts.concat());
            prop_assert!(demangled(&mangled).is_none_or(|name| name.len() <= MAX_NAME + 8));
        }
    }
}
