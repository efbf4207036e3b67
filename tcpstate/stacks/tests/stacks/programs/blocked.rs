use std::{
    hint::black_box,
    net::{TcpListener, TcpStream},
    thread,
};

struct Server<T> {
    listener: T,
}

trait Serve {
    fn accept_one(&self) -> TcpStream;
}

impl Serve for Server<TcpListener> {
    #[inline(never)]
    fn accept_one(&self) -> TcpStream {
        black_box(self.listener.accept().expect("a connection").0)
    }
}

#[inline(never)]
fn serve_forever(server: &dyn Serve) {
    loop {
        black_box(server.accept_one());
    }
}

fn main() {
    let server = Server { listener: TcpListener::bind("127.0.0.1:0").expect("a port") };
    let thread = thread::spawn(move || serve_forever(black_box(&server)));
    thread.join().expect("the server ends");
}
