//! The clean-up of programs at their exit: a socket that only that closes is as good as never closed.
//!
//! Functions are known by their names and by the file that they are in, so that no function of the program's own, native or
//! interpreted, is taken for one of them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use tcpstate_core::model::stack::{Frame, Stack};

/// Files of the C library: glibc's, also by its version (`libc-2.31.so`), and musl's.
const LIBC: [&str; 2] = ["libc", "ld-musl-"];
/// What `exit()` runs handlers by, of glibc and musl: names that are nobody else's, wherever they are linked into.
const HANDLERS: [&str; 4] = ["__run_exit_handlers", "__funcs_on_exit", "__libc_exit_fini", "libc_exit_fini"];

/// Functions of which all that they call is done because the process ends, with the files that they are in.
const CLEAN_UPS: [(&[&str], &[&str]); 4] = [
    (&LIBC, &["exit", "quick_exit"]),
    (&["python", "libpython"], &["Py_FinalizeEx", "Py_Finalize", "_Py_Finalize"]),
    (&["ruby", "libruby"], &["rb_ec_cleanup", "ruby_cleanup", "ruby_finalize"]),
    (&["tclsh", "wish", "libtcl"], &["Tcl_Exit"]),
];

/// Stripped, this one has no name for what cleans up (`rb_ec_cleanup()`), but for what runs scripts (`rb_vm_exec()`), and
/// `ruby_run_node()` calls both. Other versions need not export the latter.
const RUBY: [&str; 1] = ["libruby-3.1"];
const NODE: [&str; 3] = ["node", "nodejs", "libnode"];
const LUA: [&str; 4] = ["lua", "luajit", "liblua", "libluajit"];
/// What runs scripts, of Lua 5.1 (and `LuaJIT`), and later.
const LUA_CALLS: [&str; 3] = ["lua_cpcall", "lua_pcall", "lua_pcallk"];

/// Whether the stack of a close says that it was part of the clean-up at the exit of its process.
pub(super) fn is_at_exit(stack: &Stack) -> bool {
    let frames = stack.frames.as_slice();
    // Not what a runtime made of a script's functions, whatever these are called.
    let native = frames.iter().enumerate().filter(|(_, frame)| frame.module.is_some());
    let mut named = native.filter_map(|(index, frame)| Some((index, frame, frame.function.as_deref()?)));
    named.any(|(index, frame, name)| {
        let outer = &frames[index + 1..];
        HANDLERS.contains(&name)
            || CLEAN_UPS.iter().any(|(files, names)| names.contains(&name) && is_of(frame, files))
            || name.starts_with("node::FreeEnvironment") && is_of(frame, &NODE) && !is_worker(outer)
            || name == "perl_destruct" && is_of(frame, &["perl", "libperl"]) && is_called_by(outer, &["perl"])
            || name == "lua_close" && is_of(frame, &LUA) && is_called_by(outer, &["lua", "luajit"])
            || name == "php_request_shutdown" && is_of(frame, &["php"]) && is_near_main(outer)
            || name == "ruby_run_node" && is_of(frame, &RUBY) && !calls(&frames[..index], &["rb_vm_exec"])
    }) || is_lua_closing(stack)
}

/// The environment of a worker thread is given up when the thread ends.
fn is_worker(outer: &[Frame]) -> bool {
    outer.iter().any(|frame| frame.function.as_deref().is_some_and(|name| name.starts_with("node::worker::")))
}

/// Whether the caller is of these files: libraries give up interpreters of their own, as `threads.so` of Perl does, in programs that
/// go on.
fn is_called_by(outer: &[Frame], files: &[&str]) -> bool {
    outer.first().is_some_and(|caller| is_of(caller, files))
}

/// Whether there is no more than `main()` and one function between this and what calls `main()`: PHP's command line runs one script
/// (`do_cli()`), its web server (`php -S`) ends each request further in. Neither function has a name where the binary is stripped.
fn is_near_main(outer: &[Frame]) -> bool {
    let callers = outer.iter().take_while(|frame| is_of(frame, &["php"])).count();
    callers <= 2 && outer.get(callers).is_some_and(|frame| is_of(frame, &LIBC))
}

/// `lua_close()` of Lua 5.4 ends in a call, so that it leaves no frame. All that a script does is done in other calls of `main()`.
fn is_lua_closing(stack: &Stack) -> bool {
    let main = stack.frames.iter().rev().find(|frame| !is_of(frame, &LIBC));
    let is_lua = stack.truncated.is_none() && main.is_some_and(|main| is_of(main, &["lua", "luajit"]));
    is_lua && !calls(&stack.frames, &LUA_CALLS)
}

fn calls(frames: &[Frame], names: &[&str]) -> bool {
    frames.iter().any(|frame| frame.function.as_deref().is_some_and(|name| names.contains(&name)))
}

/// Whether a function is in one of these files, of whatever version: `libpython3.11.so.1.0` is a `libpython`, `libcrypt.so.1` no
/// `libc`.
fn is_of(frame: &Frame, files: &[&str]) -> bool {
    let Some(name) = frame.module_name().map(OsStr::as_bytes) else { return false };
    files.iter().any(|file| match name.strip_prefix(file.as_bytes()) {
        Some(_) if file.ends_with('-') => true,
        Some([] | [b'.' | b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `FUNCTION@FILE`, innermost first; `?` has no name, and what has no file was made at run time.
    fn stack(frames: &str) -> Stack {
        let frame = |text: &str| {
            let (name, file) = text.split_once('@').map_or((text, None), |(name, file)| (name, Some(file)));
            let function = (name != "?").then(|| name.to_owned());
            let module = file.map(|file| Path::new("/usr/lib").join(file).into());
            Frame { function, source: None, module, offset: 0x10, inlined: false, runtime: false }
        };
        Stack { frames: frames.split(' ').map(frame).collect(), ..Stack::default() }
    }

    const START: &str = "__libc_start_call_main@libc.so.6 __libc_start_main_impl@libc.so.6";

    #[test]
    fn what_runs_at_the_end() {
        for frames in [
            "close@libc.so.6 at_exit@server __run_exit_handlers@libc.so.6 exit@libc.so.6 main@server",
            "close@libc-2.31.so at_exit@server ?@libc-2.31.so exit@libc-2.31.so main@server",
            "close@ld-musl-x86_64.so.1 at_exit@server exit@ld-musl-x86_64.so.1 main@server",
            "close@static at_exit@static __run_exit_handlers@static exit@static main@static",
            "close@static at_exit@static __funcs_on_exit@static exit@static main@static",
            "close@libc.so.6 Py_FinalizeEx@libpython3.11.so.1.0 Py_BytesMain@libpython3.11.so.1.0",
            "close@libc.so.6 Py_FinalizeEx@python3.12 main@python3.12",
            "close@libc.so.6 node::FreeEnvironment(node::Environment*)@libnode.so.108 main@node",
            "close@libc.so.6 rb_ec_cleanup@ruby ruby_run_node@ruby main@ruby",
            "close@libc.so.6 ?@libruby-3.1.so.3.1.2 ruby_run_node@libruby-3.1.so.3.1.2 ?@ruby3.1",
            "close@libc.so.6 perl_destruct@perl main@perl",
            "close@libc.so.6 perl_destruct@libperl.so.5.36 ?@perl",
            "close@libc.so.6 ?@libtcl8.6.so Tcl_Exit@libtcl8.6.so Tcl_MainEx@libtcl8.6.so ?@tclsh8.6",
        ] {
            assert!(is_at_exit(&stack(frames)), "{frames}");
        }
        for frames in ["php_request_shutdown@php8.2 ?@php8.2 ?@php8.2", "close@libc.so.6 ?@lua5.4 ?@lua5.4"] {
            let frames = format!("{frames} {START} _start@{}", frames.rsplit_once('@').expect("a file").1);
            assert!(is_at_exit(&stack(&frames)), "{frames}");
        }
    }

    #[test]
    fn what_only_sounds_like_it() {
        for frames in [
            "close@libc.so.6 sock_close@python3.12 exit ?@python3.12 main@python3.12",
            "close@libc.so.6 Py_FinalizeEx py::main main@python3.12",
            "close@libc.so.6 exit@server main@server",
            "close@libc.so.6 exit@libcrypt.so.1 main@server",
            "close@libc.so.6 exit@libc++.so.1 main@server",
            "close@libc.so.6 Py_Finalize@server main@server",
            "close@libc.so.6 ?@node node::FreeEnvironment(node::Environment*)@node node::worker::Worker::Run()@node",
            "close@libc.so.6 rb_vm_exec@libruby-3.1.so.3.1.2 ?@libruby-3.1.so.3.1.2 ruby_run_node@libruby-3.1.so.3.1.2",
            "close@libc.so.6 ?@libruby-3.3.so.3.3.0 ruby_run_node@libruby-3.3.so.3.3.0 ?@ruby3.3",
            "close@libc.so.6 perl_destruct@perl ?@threads.so Perl_pp_entersub@perl main@perl",
            "close@libc.so.6 perl_destruct@libperl.so.5.36 ?@mod_perl.so main@apache2",
            "close@libc.so.6 lua_close@liblua5.4.so handle@nginx main@nginx",
        ] {
            assert!(!is_at_exit(&stack(frames)), "{frames}");
        }
        for frames in [
            "php_request_shutdown@php8.2 ?@php8.2 ?@php8.2 ?@php8.2 ?@php8.2",
            "php_request_shutdown@php-fpm8.2 ?@php-fpm8.2 ?@php-fpm8.2",
            "close@libc.so.6 ?@lua5.4 lua_pcallk@lua5.4 ?@lua5.4",
            "close@libc.so.6 ?@liblua5.4.so handle@nginx",
        ] {
            let frames = format!("{frames} {START} _start@{}", frames.rsplit_once('@').expect("a file").1);
            assert!(!is_at_exit(&stack(&frames)), "{frames}");
        }
        let cut = Stack { truncated: Some("no memory".to_owned()), ..stack("close@libc.so.6 ?@lua5.4 ?@lua5.4") };
        assert!(!is_at_exit(&cut), "what ran it is not known");
    }
}
