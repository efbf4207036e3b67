//! The other side: clients that connect to a leaking server, and servers that a leaking client connects to.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// For anything the other end is expected to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects, sends a request and reads an answer of known length. Dropping the stream closes it, with a FIN.
pub(crate) fn visit(server: SocketAddr, request: &[u8], answer_length: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = vec![0; answer_length];
    stream.read_exact(&mut answer).with_context(|| format!("the answer of {server}"))?;
    Ok(stream)
}

/// Visits `count` times, closing each time.
pub(crate) fn visit_often(server: SocketAddr, count: usize, request: &[u8], answer_length: usize) -> Result<()> {
    (0..count).try_for_each(|_| visit(server, request, answer_length).map(drop))
}

/// Sends a request and ends its own direction only.
pub(crate) fn half_close(server: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let stream = visit(server, request, 0)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(stream)
}

pub(crate) fn localhost(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A server on 127.0.0.1 with a thread for each connection.
pub(crate) struct Upstream {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Upstream {
    /// `serve` has each connection to itself; it is closed when it drops it.
    pub(crate) fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind(localhost(0))?;
        let upstream = Self { address: listener.local_addr()?, ended: Arc::default() };
        let (serve, ended) = (Arc::new(serve), Arc::clone(&upstream.ended));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let serve = Arc::clone(&serve);
                // A program that is killed breaks its connections, which is no error here.
                thread::spawn(move || drop(serve(stream)));
            }
        });
        Ok(upstream)
    }

    /// Answers everything with itself until the client closes.
    pub(crate) fn echo() -> Result<Self> {
        Self::start(|mut stream| {
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    length => stream.write_all(&buffer[..length])?,
                }
            }
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; when it is gone already, nobody has to be woken.
        drop(TcpStream::connect_timeout(&self.address, PATIENCE));
    }
}

/// Reads a request up to its blank line.
pub(crate) fn read_http_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(())
}

/// An answer with a body of so many bytes.
pub(crate) fn http_answer(length: usize, connection: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}
