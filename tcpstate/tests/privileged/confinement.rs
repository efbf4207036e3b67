//! What a worker, a broker and a tracer may do: read from `/proc`, and tried out by processes that confine themselves as these do.

mod broker;
mod kept;
pub(crate) mod process;
mod status;
mod worker;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    [worker::trials(), broker::trials(), kept::trials()].into_iter().flatten().collect()
}
