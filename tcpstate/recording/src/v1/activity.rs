//! What threads did at a checkpoint.

use serde::{Deserialize, Serialize};
use tcpstate_core::model::{
    Comm,
    activity::{Activity, Busiest, WokenBy},
};

use super::socket::CommV1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ActivityV1 {
    running: u64,
    stopped: u64,
    traced: u64,
    frozen: u64,
    busiest: Option<BusiestV1>,
    woken_by: Option<WokenByV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BusiestV1 {
    tid: u32,
    comm: CommV1,
    permille: u32,
    window_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct WokenByV1 {
    epoll: u32,
    sockets: u64,
}

impl From<Activity> for ActivityV1 {
    fn from(Activity { running, stopped, traced, frozen, busiest, woken_by }: Activity) -> Self {
        let busiest = busiest.map(|Busiest { tid, comm, permille, window_ns }| BusiestV1 {
            tid,
            comm: comm.0,
            permille,
            window_ns,
        });
        let woken_by = woken_by.map(|WokenBy { epoll, sockets }| WokenByV1 { epoll, sockets });
        Self { running, stopped, traced, frozen, busiest, woken_by }
    }
}

impl From<ActivityV1> for Activity {
    fn from(ActivityV1 { running, stopped, traced, frozen, busiest, woken_by }: ActivityV1) -> Self {
        let busiest = busiest.map(|BusiestV1 { tid, comm, permille, window_ns }| Busiest {
            tid,
            comm: Comm(comm),
            permille,
            window_ns,
        });
        let woken_by = woken_by.map(|WokenByV1 { epoll, sockets }| WokenBy { epoll, sockets });
        Self { running, stopped, traced, frozen, busiest, woken_by }
    }
}
