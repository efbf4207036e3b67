//! `tcpstate`.
use tcpstate::{
    decode,
    kernel::{Options, Tracer},
};
fn main() -> anyhow::Result<()> {
    let mut config = tcpstate_common::config::Config::NONE;
    config.wakeup_bytes = 1 << 20;
    let t0 = std::time::Instant::now();
    let mut t = Tracer::start(&Options { config, pids: vec![], buffer_bytes: 8 << 20, debug: false })?;
    println!("{:?} {:?}", t0.elapsed(), t.probes());
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        t.drain(1000, |b| println!("{:?}", decode::transition(b)));
    }
    t.detach();
    println!("{:?}", t.counters());
    Ok(())
}
