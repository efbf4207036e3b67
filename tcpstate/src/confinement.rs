//! What each process of tcpstate may do: the worker, which parses what other programs control; the broker, which reads it; the tracer.
//!
//! Each function here is called once by its process and takes away what that process does not need. `SECURITY.md` lists what is left.
//! Nothing here decides who needs what at run time: the sets are constants, to be read and checked.

mod broker;
mod capabilities;
mod confined;
mod identity;
mod inherited;
mod landlock;
mod limits;
mod probe;
mod syscalls;
mod tracer;
mod worker;

pub use self::{
    broker::{CAPABILITIES as BROKER_CAPABILITIES, broker},
    capabilities::give_up_all,
    confined::Confined,
    identity::{NOBODY, STRANGER},
    probe::{ENTRY as PROBE_ENTRY, answer, probe},
    tracer::{Duties, tracer},
    worker::{CPU_SECONDS as WORKER_CPU_SECONDS, DESCRIPTORS as WORKER_DESCRIPTORS, worker},
};
