//! Event loops that read for the program that uses them: who is told of the end is the loop, and a callback of the program has to
//! close.

use crate::model::stack::{Frame, Stack};

/// A library that receives by itself and hands on what it got.
#[derive(Debug, PartialEq, Eq)]
pub struct EventLoop {
    /// Its name.
    pub name: &'static str,
    /// What tells a program that uses it of the end.
    pub callback: &'static str,
    /// Parts of the paths of files that have nothing but its code.
    modules: &'static [&'static str],
    /// How names of its functions begin, where its code is part of another file.
    functions: &'static [&'static str],
    /// Parts of names, one of which is on the stack when it receives for others. A library that only does that has none.
    receives: &'static [&'static str],
}

/// The loops that are known, with the files that say so. One that is not here is taken for the program's own code, as is a loop
/// whose callbacks receive themselves (libev, epoll): that is told by the stack.
static LOOPS: [EventLoop; 5] = [
    // src/unix/stream.c: uv__read(). Node is built of it.
    EventLoop {
        name: "libuv",
        callback: "the callback that gets UV_EOF from it (in Node a listener of 'end')",
        modules: &["/libuv.so"],
        functions: &["uv_"],
        receives: &["uv__read", "uv__stream_io", "uv__io_poll", "uv_run"],
    },
    // uvloop/loop.pyx, with libuv inside.
    EventLoop {
        name: "uvloop",
        callback: "eof_received() of its protocol, or whoever reads its stream,",
        modules: &["/uvloop/loop."],
        functions: &[],
        receives: &[],
    },
    // bufferevent_sock.c: bufferevent_readcb(); bufferevent_openssl.c.
    EventLoop {
        name: "libevent",
        callback: "the callback that gets BEV_EVENT_EOF from it",
        modules: &["/libevent"],
        functions: &[
            "evbuffer_read",
            "bufferevent_",
            "be_openssl_",
            "event_process_active",
            "event_persist_",
            "event_base_",
        ],
        receives: &["bufferevent_", "be_openssl_", "event_base_loop"],
    },
    // asio/detail/reactive_socket_recv_op.hpp; Boost has the same in a namespace of its own.
    EventLoop {
        name: "Asio",
        callback: "the handler that gets asio::error::eof from it",
        modules: &[],
        functions: &["asio::", "boost::asio::"],
        receives: &["detail::reactive_socket_recv_op", "detail::descriptor_read_op"],
    },
    // Lib/asyncio/selector_events.py: _SelectorSocketTransport.
    EventLoop {
        name: "asyncio",
        callback: "eof_received() of its protocol, or whoever reads its stream,",
        modules: &[],
        functions: &["py::_SelectorSocketTransport._read_ready", "_SelectorSocketTransport._read_ready"],
        receives: &["_read_ready"],
    },
];

/// How names of files begin whose code may lie between a loop and the kernel: the C library, TLS, and what runs Python.
const BETWEEN: [&str; 10] =
    ["libc.so", "libc-", "libpthread", "ld-musl", "libssl", "libcrypto", "python3", "libpython3", "_socket.", "_ssl."];

/// The event loop that the innermost code of a stack belongs to, if it is one that receives for others.
#[must_use]
pub fn receiving(stack: &Stack) -> Option<&'static EventLoop> {
    let mut frames = stack.frames.iter();
    let first = frames.find(|frame| !is_between(frame))?;
    let found = LOOPS.iter().find(|event_loop| event_loop.has(first))?;
    let mut its = std::iter::once(first).chain(frames.take_while(|frame| found.has(frame) || is_between(frame)));
    (found.receives.is_empty() || its.any(|frame| found.is_receiving(frame))).then_some(found)
}

impl EventLoop {
    fn has(&self, frame: &Frame) -> bool {
        let function = frame.function.as_deref().unwrap_or_default();
        let path = frame.module.as_deref().map(|path| path.to_string_lossy()).unwrap_or_default();
        self.functions.iter().any(|start| function.starts_with(start))
            || self.modules.iter().any(|part| path.contains(part))
    }

    fn is_receiving(&self, frame: &Frame) -> bool {
        let function = frame.function.as_deref().unwrap_or_default();
        self.receives.iter().any(|part| function.contains(part))
    }
}

fn is_between(frame: &Frame) -> bool {
    let file = frame.module_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    frame.runtime || BETWEEN.iter().any(|start| file.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;

    /// Frames as `function module`, innermost first; a function of no name is `-`.
    fn through(frames: &[&str]) -> Option<&'static str> {
        let frame = |text: &&str| {
            let (function, module) = text.rsplit_once(' ').expect("a module");
            Frame {
                function: (function != "-").then(|| function.to_owned()),
                source: None,
                module: (module != "-").then(|| Arc::from(Path::new(module))),
                offset: 7,
                inlined: false,
                runtime: false,
            }
        };
        let stack = Stack { frames: frames.iter().map(frame).collect(), ..Stack::default() };
        receiving(&stack).map(|event_loop| event_loop.name)
    }

    const LIBC: &str = "__libc_read /lib/x86_64-linux-gnu/libc.so.6";

    #[test]
    fn loops_that_receive_for_others() {
        let node = [LIBC, "uv__read /usr/bin/node", "uv__stream_io /usr/bin/node", "main /usr/bin/node"];
        assert_eq!(through(&node), Some("libuv"));
        let stripped =
            ["- /lib/libc.so.6", "- /usr/lib/libuv.so.1.0.0", "uv_run /usr/lib/libuv.so.1.0.0", "main /srv/a"];
        assert_eq!(through(&stripped), Some("libuv"));
        let uvloop = [LIBC, "- /usr/lib/python3/dist-packages/uvloop/loop.cpython-312.so", "- /usr/bin/python3.12"];
        assert_eq!(through(&uvloop), Some("uvloop"));
        let libevent = [
            "readv /lib/libc.so.6",
            "evbuffer_read /usr/lib/libevent-2.1.so.7",
            "- /usr/lib/libevent-2.1.so.7",
            "event_base_loop /usr/lib/libevent-2.1.so.7",
            "main /srv/tracker",
        ];
        assert_eq!(through(&libevent), Some("libevent"));
        let tls = [
            "read /lib/libc.so.6",
            "- /usr/lib/libcrypto.so.3",
            "SSL_read /usr/lib/libssl.so.3",
            "be_openssl_readeventcb /srv/b",
        ];
        assert_eq!(through(&tls), Some("libevent"));
        let asio = [
            "recvmsg /lib/libc.so.6",
            "boost::asio::detail::reactive_socket_recv_op_base<boost::asio::mutable_buffers_1>::do_perform /srv/c",
            "boost::asio::detail::scheduler::run /srv/c",
        ];
        assert_eq!(through(&asio), Some("Asio"));
        let asyncio = [
            "__libc_recv /lib/libc.so.6",
            "sock_recv /usr/bin/python3.12",
            "py::_SelectorSocketTransport._read_ready__data_received:/usr/lib/python3.12/asyncio/selector_events.py -",
        ];
        assert_eq!(through(&asyncio), Some("asyncio"));
    }

    #[test]
    fn code_of_the_program_is_no_loop() {
        assert_eq!(through(&[]), None);
        assert_eq!(through(&[LIBC]), None);
        assert_eq!(through(&[LIBC, "relay_upstream /srv/gateway", "main /srv/gateway"]), None);
        // A callback that receives itself, of whatever loop.
        assert_eq!(
            through(&[
                LIBC,
                "on_readable /srv/a",
                "ev_invoke_pending /usr/lib/libev.so.4",
                "ev_run /usr/lib/libev.so.4"
            ]),
            None
        );
        assert_eq!(through(&[LIBC, "on_read /srv/a", "uv__stream_io /srv/a", "uv_run /srv/a"]), None);
        assert_eq!(through(&[LIBC, "on_event /srv/a", "- /usr/lib/libevent-2.1.so.7"]), None);
        // A function of a loop that the program has called, to read at once.
        let called = [
            "readv /lib/libc.so.6",
            "evbuffer_read /usr/lib/libevent-2.1.so.7",
            "on_event /srv/a",
            "event_base_loop /usr/lib/libevent-2.1.so.7",
        ];
        assert_eq!(through(&called), None);
        let at_once = ["recv /lib/libc.so.6", "asio::detail::socket_ops::sync_recv /srv/c", "read_reply /srv/c"];
        assert_eq!(through(&at_once), None);
        assert_eq!(through(&["read /lib/libc.so.6", "sock_recv /usr/bin/python3.12", "py::fetch:/srv/job.py -"]), None);
        assert_eq!(through(&[LIBC, "- /srv/stripped"]), None);
    }
}
