//! A thread for each connection; a session stays in the map after the end of file, so its `TcpStream` is never dropped.

use std::{
    collections::HashMap,
    hint::black_box,
    io::Read,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

type Sessions = Arc<Mutex<HashMap<u64, TcpStream>>>;

#[inline(never)]
fn read_until_eof(stream: &mut TcpStream) -> usize {
    let mut buffer = [0; 1024];
    let mut total = 0;
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 {
            break;
        }
        total += length;
    }
    black_box(total)
}

#[inline(never)]
fn handle_session(id: u64, mut stream: TcpStream, sessions: Sessions) {
    read_until_eof(&mut stream);
    // BUG: nobody ever removes it.
    sessions.lock().expect("nobody panics").insert(id, stream);
}

#[inline(never)]
fn accept_one(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("accept");
    black_box(stream)
}

#[inline(never)]
fn serve_forever(listener: &TcpListener) {
    let sessions = Sessions::default();
    for id in 0.. {
        let stream = accept_one(listener);
        let sessions = Arc::clone(&sessions);
        thread::spawn(move || handle_session(id, stream, sessions));
    }
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    println!("PORT {}", listener.local_addr().expect("local address").port());
    serve_forever(&listener);
}
