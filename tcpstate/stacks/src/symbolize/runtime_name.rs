//! What runtimes call the functions that they compile.

use super::{
    function::{Function, Source},
    shortened::{shortened, shortened_path},
};

/// What a runtime's name says: Python writes `py::NAME:FILE`, V8 `JS:*NAME FILE:LINE:COLUMN` with a mark for the compiler that
/// made the code (`LazyCompile:` before V8 9.7). Any other name stands for itself.
pub(super) fn function(name: &str) -> Function {
    let (name, source) = python(name).or_else(|| javascript(name)).unwrap_or((name, None));
    Function { name: shortened(if name.is_empty() { "(anonymous)" } else { name }), source, inlined: false }
}

fn python(name: &str) -> Option<(&str, Option<Source>)> {
    let (function, file) = name.strip_prefix("py::")?.split_once(':')?;
    Some((function, Some(Source { file: shortened_path(file.as_ref()), line: None })))
}

fn javascript(name: &str) -> Option<(&str, Option<Source>)> {
    let rest = name.strip_prefix("JS:").or_else(|| name.strip_prefix("LazyCompile:"))?;
    let rest = rest.strip_prefix(['*', '~', '^', '+', '-']).unwrap_or(rest);
    // Either may contain spaces: an accessor is called `get NAME`.
    let at = [" /", " node:", " file:"].iter().filter_map(|start| rest.find(start)).min()?;
    let (function, source) = (&rest[..at], &rest[at + 1..]);
    let (file, line) = source.rsplit_once(':')?.0.rsplit_once(':')?;
    Some((function, Some(Source { file: shortened_path(file.as_ref()), line: Some(line.parse().ok()?) })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::shortened::MAX_NAME, *};

    fn written(source: &Source) -> String {
        let file = source.file.display();
        source.line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }

    #[test]
    fn names_of_runtimes() {
        for (name, expected, source) in [
            ("py::Pool.take:/srv/a:b.py", "Pool.take", Some("/srv/a:b.py")),
            ("JS:*take /srv/my app/pool.js:12:3", "take", Some("/srv/my app/pool.js:12")),
            ("JS:~get connecting node:net:700:17", "get connecting", Some("node:net:700")),
            ("LazyCompile:~ file:///srv/main.mjs:1:1", "(anonymous)", Some("file:///srv/main.mjs:1")),
            ("JS:*take", "JS:*take", None),
            ("JS:*take /srv/pool.js:x:3", "JS:*take /srv/pool.js:x:3", None),
            ("Ljava/lang/Thread;::run", "Ljava/lang/Thread;::run", None),
            ("Interpreter", "Interpreter", None),
            ("py::", "py::", None),
        ] {
            let function = function(name);
            assert_eq!(function.name, expected);
            assert_eq!(function.source.map(|source| written(&source)).as_deref(), source);
        }
    }

    #[test]
    fn long_names_are_shortened() {
        assert_eq!(function(&"a".repeat(1 << 20)).name.len(), MAX_NAME + "…".len());
    }

    proptest! {
        #[test]
        fn never_panics(name in "(py::|JS:|LazyCompile:)?\\PC{0,40}") {
            function(&name);
        }
    }
}
