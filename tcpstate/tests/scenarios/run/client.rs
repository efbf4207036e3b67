//! A client and its tests, as `cargo test` runs them. LEAK=1 brings the bug back: the client does not close when it is told of the
//! end.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

/// What the server says until it closes.
#[inline(never)]
pub fn fetch(address: SocketAddr) -> Vec<u8> {
    let mut connection = TcpStream::connect(address).expect("a server");
    let mut said = Vec::new();
    connection.read_to_end(&mut said).expect("its words");
    if env::var_os("LEAK").is_some() {
        std::mem::forget(connection);
    }
    said
}

fn greeter() -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let serve = move || {
        let (mut connection, _) = listener.accept().expect("a client");
        connection.write_all(b"hello").expect("it listens");
    };
    (address, thread::spawn(serve))
}

#[test]
fn fetches() {
    let (address, server) = greeter();
    assert_eq!(fetch(address), b"hello");
    server.join().expect("it ends");
}
