//! The running tracer.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, bail};
use aya::{Ebpf, maps::Array};
use aya_log::EbpfLogger;
use rustix::thread::{MembarrierCommand, membarrier};
use tcpstate_common::{
    config::{Config, filter},
    counters::Counters,
    helper,
    interpreted::{Begun, Recipe},
    leak::{CodeRanges, FoundRecord},
};
use tcpstate_core::model::{
    leak::PlaceId,
    probes::{Hooks, Probes, Role, RoleProbe},
};

use super::{
    follow::{self, Follow},
    held::{self, HeldSockets},
    hooks::{self, HookTarget, Search},
    inheritance::Inheritance,
    leaks::{self, FoundThread, LeakMaps, StackRecord},
    loader,
    missed::{Missed, Misses},
    refusal::Refused,
    ring::{self, Ring},
    snapshot,
    system::System,
};
use crate::host::{
    kernel::{lockdown, release},
    limits, memory,
    privileges::Privileges,
};

/// Fewest sockets that there is room for: 17 MiB of kernel memory.
const MIN_SOCKETS: u32 = 131_072;
/// Most sockets that room is made for at start, about 0.5 GiB of kernel memory.
const MAX_SOCKETS: u32 = 4 << 20;
/// Room for more than there are at start, besides half as many again.
const SPARE_SOCKETS: u32 = 24_576;

/// How to trace.
#[derive(Clone, Debug)]
pub struct TracerOptions {
    /// Filters and settings of the BPF side.
    pub config: Config,
    /// Processes to follow, when [`filter::PID`] is set.
    pub pids: Vec<u32>,
    /// Whether what these had forked before is followed, too.
    pub children: bool,
    /// Bytes of the ring buffer: a power of two and a multiple of the page size.
    pub buffer_bytes: u32,
    /// Diagnostics of the BPF side, on the hot path: slow.
    pub debug: bool,
}

/// Attached programs and the ring buffer that they write to. Dropping it detaches everything; nothing is pinned.
pub struct Tracer {
    /// `None` once detached.
    ebpf: Option<Ebpf>,
    ring: Ring,
    missed: Missed,
    follow: Follow,
    inheritance: Inheritance,
    held: Option<HeldSockets>,
    leaks: Option<LeakMaps>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    probes: Probes,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("probes", &self.probes).finish_non_exhaustive()
    }
}

impl Tracer {
    /// Attaches to the kernel, takes the snapshot of open sockets, then lets records flow.
    ///
    /// # Errors
    ///
    /// When there is no tokio runtime, or the kernel lacks what the programs need, with what and why. Optional hooks that are refused are no errors: see
    /// [`Tracer::probes`].
    pub fn start(options: &TracerOptions) -> Result<Self> {
        let system = System::read()?;
        limits::raise_memlock();
        let sizes = loader::Sizes {
            buffer_bytes: options.buffer_bytes,
            stacks_bytes: leaks::stacks_bytes(&options.config),
            sockets: room_for_sockets(),
        };
        let log_level = if options.debug { aya_log::Level::Debug as u8 } else { 0 };
        let loader::Loaded { mut ebpf, helpers } =
            loader::load(&system.btf, &options.config, &system.layout, &sizes, log_level)?;
        follow::begin(&mut ebpf, &options.pids)?;
        if options.config.filters & filter::KERNEL_STACK != 0
            && let Err(Refused(refusal)) = helpers.require(helper::TASK_REGISTERS)
        {
            tracing::warn!(
                "no kernel stack of a call: it takes Linux 5.15 ({}); those of sleeping threads are shown",
                refusal.reason
            );
        }

        let hunting = options.config.filters & filter::LEAKS != 0;
        let mut target = HookTarget {
            ebpf: &mut ebpf,
            btf: &system.btf,
            types: &system.types,
            layout: &system.layout,
            helpers: &helpers,
            hunting,
            following: options.config.filters & filter::PID != 0,
            by_process: held::is_wanted(options.config.filters),
        };
        let mut hooks = Hooks { kernel: release(), lockdown: lockdown(), roles: Vec::new() };
        for role in roles(&options.config) {
            if !hooks::needs(&hooks, role) {
                continue;
            }
            let probe = hooks::attach(&mut target, role, Search::First);
            check(&probe, &hooks)?;
            hooks.roles.push(probe);
        }
        if options.children {
            follow::catch_up(&mut ebpf, &options.pids)?;
        }
        let began = Instant::now();
        let found = snapshot::take(&mut ebpf, &hooks)?;
        tracing::debug!("first snapshot of {} sockets took {} µs", found.sockets, began.elapsed().as_micros());
        if let Some(error) = &found.refused.error {
            tracing::warn!(
                "{} network namespaces could not be entered{}: {error}; sockets there that no process holds are unknown until they change state",
                found.refused.namespaces,
                Privileges::read().unless_held("CAP_SYS_ADMIN")
            );
        }

        let logger = if options.debug { Some(EbpfLogger::init(&mut ebpf)?) } else { None };
        let tracer = Self {
            missed: Missed::watch(&mut ebpf)?,
            ring: Ring::take(&mut ebpf)?,
            follow: Follow::new(&mut ebpf)?,
            inheritance: Inheritance::new(&mut ebpf, &hooks)?,
            held: HeldSockets::new(options.config.filters, &options.pids, &hooks),
            leaks: if hunting { Some(LeakMaps::new(&mut ebpf, &hooks)?) } else { None },
            logger,
            probes: Probes {
                hooks,
                snapshot_sockets: found.sockets,
                snapshot_netns: found.namespaces,
                buffer_bytes: options.buffer_bytes,
            },
            ebpf: Some({
                arm(&mut ebpf, true).context("failed to start the BPF programs")?;
                ebpf
            }),
        };
        drop(system);
        memory::release();
        Ok(tracer)
    }

    /// What is attached.
    #[must_use]
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Waits until the ring buffer has filled up to its watermark. Cancellation-safe.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    pub async fn filled(&self) -> Result<()> {
        self.ring.filled().await
    }

    /// Hands out up to `limit` records that wait in the ring buffer; returns how many.
    pub fn drain(&mut self, limit: usize, record: impl FnMut(&[u8])) -> usize {
        self.ring.drain(limit, record)
    }

    /// What the programs counted until now.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read a map.
    pub fn counters(&self) -> Result<Counters> {
        let mut counters = self.ring.counters()?;
        let Misses { transitions, others } = self.missed.count()?;
        // Of transitions alone, the others have to do with who did it.
        counters.dropped += if self.leaks.is_some() { transitions + others } else { transitions };
        // What comes after these shows that they were not seen, too.
        counters.unseen = counters.unseen.saturating_sub(transitions);
        counters.unseen_sockets = counters.unseen_sockets.min(counters.unseen);
        Ok(counters)
    }

    /// Followed processes that were forked since the start and live.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read a map.
    pub fn live_children(&self) -> Result<u64> {
        self.follow.live_children()
    }

    /// What has to be done now and then: passes the BPF side's diagnostics on to the log and listeners whose owner has exited to who
    /// holds them, makes room for more processes to follow, and looks which sockets they hold.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read a map, or an iterator cannot run.
    pub fn tend(&mut self) -> Result<()> {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        if let Some(ebpf) = &mut self.ebpf {
            self.inheritance.settle(ebpf)?;
            if let Some(held) = &mut self.held {
                held.look_if_due(ebpf)?;
            }
        }
        self.follow.make_room()
    }

    /// Waits until a stack has come after all before it were taken. Cancellation-safe. Never comes back without leak hunting.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    pub async fn stack_came(&self) -> Result<()> {
        match &self.leaks {
            Some(leaks) => leaks.stack_came().await,
            None => std::future::pending().await,
        }
    }

    /// Hands out the stacks that wait.
    pub fn stacks(&mut self, stack: impl FnMut(StackRecord<'_>)) {
        if let Some(leaks) = &mut self.leaks {
            leaks.stacks(stack);
        }
    }

    /// Waits until a program has begun after all before it were taken. Cancellation-safe. Never comes back without leak hunting.
    ///
    /// # Errors
    ///
    /// When the runtime is shutting down.
    pub async fn program_began(&self) -> Result<()> {
        match &self.leaks {
            Some(leaks) => leaks.program_began().await,
            None => std::future::pending().await,
        }
    }

    /// Hands out the processes that have begun a program.
    pub fn begun(&mut self, take: impl FnMut(Begun)) {
        if let Some(leaks) = &mut self.leaks {
            leaks.begun(take);
        }
    }

    /// Tells the kernel side where a process has its code. Until then it copies every stack of that process.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to change a map.
    pub fn enter_code(&mut self, pid: u32, code: &CodeRanges) -> Result<()> {
        self.leaks.as_mut().map_or(Ok(()), |leaks| leaks.enter_code(pid, code))
    }

    /// Tells the kernel side how frames are found of programs that an interpreter runs.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to change a map.
    pub fn enter_recipe(&mut self, program: u64, recipe: &Recipe) -> Result<()> {
        self.leaks.as_mut().map_or(Ok(()), |leaks| leaks.enter_recipe(program, recipe))
    }

    /// Tells the kernel side that the stack of a place goes on where its copies ended: from now on they are of the largest size.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to change a map.
    pub fn enter_deep(&mut self, place: PlaceId) -> Result<()> {
        self.leaks.as_mut().map_or(Ok(()), |leaks| leaks.enter_deep(place))
    }

    /// Has the kernel side forget places: when it meets one again, it copies the stack.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to change a map.
    pub fn forget_places(&mut self, places: &[PlaceId]) -> Result<()> {
        self.leaks.as_mut().map_or(Ok(()), |leaks| leaks.forget_places(places))
    }

    /// How leaking sockets stand: a record for each of their descriptors, one for each by itself, and the listeners with a
    /// backlog. Nothing unless the tracer was started for leak hunting and is attached.
    ///
    /// # Errors
    ///
    /// When an iterator cannot run.
    pub fn found(&mut self, found: impl FnMut(&FoundRecord) + Send) -> Result<()> {
        match (&mut self.leaks, &mut self.ebpf) {
            (Some(leaks), Some(ebpf)) => leaks.found(ebpf, found),
            _ => Ok(()),
        }
    }

    /// Only the descriptors, once more.
    ///
    /// # Errors
    ///
    /// When the iterator cannot run.
    pub fn found_descriptors(&mut self, found: impl FnMut(&FoundRecord) + Send) -> Result<()> {
        match (&mut self.leaks, &mut self.ebpf) {
            (Some(leaks), Some(ebpf)) => leaks.found_descriptors(ebpf, found),
            _ => Ok(()),
        }
    }

    /// The threads of processes: where they entered the kernel.
    ///
    /// # Errors
    ///
    /// When the iterator cannot run.
    pub fn threads(&mut self, pids: &[u32]) -> Result<Vec<FoundThread>> {
        match (&mut self.leaks, &mut self.ebpf) {
            (Some(leaks), Some(ebpf)) => leaks.threads(ebpf, pids),
            _ => Ok(Vec::new()),
        }
    }

    /// Detaches every program and waits until none is running, so that the counters and the ring buffer are final.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to change or read a map.
    pub fn detach(&mut self) -> Result<()> {
        let Some(mut ebpf) = self.ebpf.take() else { return Ok(()) };
        // Maps go before programs, and programs one by one, some of them slowly: what happens meanwhile is no longer asked for, and
        // is not lost.
        arm(&mut ebpf, false).context("failed to stop the BPF programs")?;
        self.missed.end()?;
        drop(ebpf);
        // A program on another CPU may still be in mid-record. `membarrier` waits for an RCU grace period, and
        // tracing programs run within one (`__bpf_trace_run()`, kernel/trace/bpf_trace.c).
        let _ = membarrier(MembarrierCommand::Global);
        Ok(())
    }
}

/// Has the programs send what they see, or not.
fn arm(ebpf: &mut Ebpf, armed: bool) -> Result<()> {
    let mut map: Array<_, u32> = ring::borrow(ebpf, "ARMED")?;
    Ok(map.set(0, u32::from(armed), 0)?)
}

/// What is needed, in the order of attaching: from the end of a socket's life to its beginning, so that a story that begins is
/// sure to end.
fn roles(config: &Config) -> impl Iterator<Item = Role> {
    let hunting = config.filters & filter::LEAKS != 0;
    [
        (Role::Ends, true),
        (Role::Accept, true),
        (Role::WaitingAccepts, true),
        (Role::Processes, true),
        (Role::EofReads, hunting),
        (Role::SpliceReads, hunting),
        (Role::Transitions, true),
        (Role::Descriptors, true),
        (Role::Sockets, true),
        (Role::Threads, hunting),
        (Role::SocketIds, true),
        (Role::Cgroups, true),
        (Role::Registers, hunting),
        (Role::UserStacks, hunting),
    ]
    .into_iter()
    .filter_map(|(role, needed)| needed.then_some(role))
}

/// Gives up where a role is not filled that nothing works without.
fn check(probe: &RoleProbe, hooks: &Hooks) -> Result<()> {
    if !probe.role.is_required() || probe.chosen().is_some() {
        return Ok(());
    }
    let reasons = probe.attempts.iter().map(|attempt| {
        let reason = attempt.refused.as_ref().map_or("", |refusal| refusal.reason.as_str());
        format!("`{}`: {reason}", attempt.hook)
    });
    bail!(
        "{} on kernel {}: {}; `tcpstate probes` shows what this kernel allows, `-vv` the verifier's words",
        probe.role.lost(),
        hooks.kernel,
        reasons.collect::<Vec<_>>().join(", ")
    )
}

/// Room for half as many sockets again as there are and some more, in the map that is allocated at start: 120 bytes each and
/// 16 for each of its buckets, the number of which is a power of two (`htab_map_alloc()`, `kernel/bpf/hashtab.c`, Linux 6.18).
fn room_for_sockets() -> u32 {
    let allocated = fs::read_to_string("/proc/net/sockstat").ok().and_then(|text| {
        let tcp = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
        let mut words = tcp.split_ascii_whitespace().skip_while(|word| *word != "alloc");
        words.nth(1)?.parse::<u32>().ok()
    });
    let allocated = allocated.unwrap_or(0);
    allocated.saturating_add(allocated / 2).saturating_add(SPARE_SOCKETS).clamp(MIN_SOCKETS, MAX_SOCKETS)
}
