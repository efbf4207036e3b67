//! What leak hunting asks of the kernel beyond events: stacks, how leaking sockets stand, where threads are.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, RingBuf},
    programs::Iter,
};
use tcpstate_common::{
    config::{Config, MAX_STACK, filter},
    interpreted::{Begun, InterpretedStack, Recipe},
    leak::{CodeRanges, FoundRecord, KernelStack, MAX_TARGETS, StackHeader, Thread},
};
use tcpstate_core::model::{
    leak::PlaceId,
    probes::{Hooks, Role},
};
use tokio::io::unix::AsyncFd;

use super::{
    object::program,
    ring,
    snapshot::{each_record, in_other_namespaces, open, read_records},
};

/// A stack as the kernel side copied it.
#[derive(Clone, Copy, Debug)]
pub struct StackRecord<'a> {
    /// Whose it is, and where.
    pub header: StackHeader,
    /// Its frames in an interpreter.
    pub interpreted: InterpretedStack,
    /// Its kernel stack.
    pub kernel: KernelStack,
    /// Its bytes, from [`StackHeader::start`] on.
    pub bytes: &'a [u8],
}

/// A thread as the iterator writes it.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct FoundThread {
    /// Who it is, and where it entered the kernel.
    pub thread: Thread,
    /// Where it is there.
    pub kernel: KernelStack,
}

/// Stacks of the usual size that wait for user space, which fetches them every 50 ms. Their memory is resident, twice.
const WAITING_STACKS: u32 = 128;
/// The same of the largest size.
const WAITING_DEEP: u32 = 24;

/// Bytes of the ring buffer of stacks: a page where none are taken.
pub(super) fn stacks_bytes(config: &Config) -> u32 {
    let hunting = config.filters & filter::LEAKS != 0;
    let waiting = (WAITING_STACKS * config.stack_bytes).max(WAITING_DEEP * MAX_STACK);
    if hunting { waiting.next_power_of_two() } else { 4096 }
}

/// Maps of leak hunting, and which of its iterators are loaded.
pub(super) struct LeakMaps {
    stacks: RingBuf<MapData>,
    readiness: AsyncFd<OwnedFd>,
    begun: RingBuf<MapData>,
    begins: AsyncFd<OwnedFd>,
    code: HashMap<MapData, u32, CodeRanges>,
    places: HashMap<MapData, u64, u64>,
    deep: HashMap<MapData, u64, u32>,
    recipes: HashMap<MapData, u64, Recipe>,
    has_recipes: Array<MapData, u32>,
    epoch: Array<MapData, u64>,
    /// How many have begun.
    epochs: u64,
    targets: HashMap<MapData, u32, u32>,
    descriptors: bool,
    sockets: bool,
    asleep: bool,
}

impl LeakMaps {
    pub(super) fn new(ebpf: &mut Ebpf, hooks: &Hooks) -> Result<Self> {
        let (stacks, begun) = (ring::take(ebpf, "STACKS")?, ring::take(ebpf, "BEGUN")?);
        Ok(Self {
            readiness: ring::watch(&stacks)?,
            stacks,
            begins: ring::watch(&begun)?,
            begun,
            code: ring::take(ebpf, "CODE")?,
            places: ring::take(ebpf, "PLACES")?,
            deep: ring::take(ebpf, "DEEP")?,
            recipes: ring::take(ebpf, "RECIPES")?,
            has_recipes: ring::take(ebpf, "HAS_RECIPES")?,
            epoch: ring::take(ebpf, "EPOCH")?,
            epochs: 0,
            targets: ring::take(ebpf, "TARGETS")?,
            descriptors: hooks.chosen(Role::Descriptors).is_some(),
            sockets: hooks.chosen(Role::Sockets).is_some(),
            asleep: hooks.chosen(Role::Threads).is_some(),
        })
    }

    /// Waits until a stack has come after all before it were taken. Cancellation-safe.
    pub(super) async fn stack_came(&self) -> Result<()> {
        ring::readable(&self.readiness).await
    }

    /// Waits until a program has begun after all before it were taken. Cancellation-safe.
    pub(super) async fn program_began(&self) -> Result<()> {
        ring::readable(&self.begins).await
    }

    /// Hands out the processes that have begun a program.
    pub(super) fn begun(&mut self, mut take: impl FnMut(Begun)) {
        while let Some(record) = self.begun.next() {
            if let Ok(begun) = bytemuck::try_pod_read_unaligned(&record) {
                take(begun);
            }
        }
    }

    /// Hands out the stacks that wait.
    pub(super) fn stacks(&mut self, mut stack: impl FnMut(StackRecord<'_>)) {
        while let Some(record) = self.stacks.next() {
            let Some((header, rest)) = record.split_at_checked(size_of::<StackHeader>()) else { continue };
            let Some((interpreted, rest)) = rest.split_at_checked(size_of::<InterpretedStack>()) else { continue };
            let Some((kernel, bytes)) = rest.split_at_checked(size_of::<KernelStack>()) else { continue };
            let header: StackHeader = bytemuck::pod_read_unaligned(header);
            stack(StackRecord {
                header,
                interpreted: bytemuck::pod_read_unaligned(interpreted),
                kernel: bytemuck::pod_read_unaligned(kernel),
                bytes: bytes.get(..header.copied as usize).unwrap_or(bytes),
            });
        }
    }

    /// Tells the kernel side how frames are found of programs that an interpreter runs.
    pub(super) fn enter_recipe(&mut self, program: u64, recipe: &Recipe) -> Result<()> {
        if self.recipes.get(&program, 0).is_ok_and(|known| known == *recipe) {
            return Ok(());
        }
        self.recipes
            .insert(program, recipe, 0)
            .context("failed to enter how the frames of an interpreter are found")?;
        self.has_recipes.set(0, 1, 0).context("failed to enter that there are interpreters")?;
        self.begin_epoch()
    }

    /// Tells the kernel side where a process has its code. Until then it copies every stack of the process.
    pub(super) fn enter_code(&mut self, pid: u32, code: &CodeRanges) -> Result<()> {
        if self.code.get(&pid, 0).is_ok_and(|known| known == *code) {
            return Ok(());
        }
        self.code.insert(pid, code, 0).with_context(|| format!("failed to enter the code of process {pid}"))?;
        self.begin_epoch()
    }

    /// Has the kernel side forget places: when it meets one again, it copies the stack.
    pub(super) fn forget_places(&mut self, places: &[PlaceId]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        for place in places {
            // It may have forgotten it by itself.
            let _ = self.places.remove(&place.0);
        }
        self.begin_epoch()
    }

    /// Tells the kernel side that the stack of a place goes on where its copies ended: from now on they are of the largest size.
    pub(super) fn enter_deep(&mut self, place: PlaceId) -> Result<()> {
        self.deep.insert(place.0, 1, 0).context("failed to enter that a stack is deep")
    }

    /// Has the kernel side look anew at whatever it has in mind.
    fn begin_epoch(&mut self) -> Result<()> {
        self.epochs += 1;
        self.epoch.set(0, self.epochs, 0).context("failed to have places looked at anew")
    }

    /// Every descriptor of a leaking socket, then every such socket by itself, and the listeners with a backlog.
    pub(super) fn found(&mut self, ebpf: &mut Ebpf, mut found: impl FnMut(&FoundRecord) + Send) -> Result<()> {
        self.found_descriptors(ebpf, &mut found)?;
        if !self.sockets {
            return Ok(());
        }
        let tcp: &mut Iter = program(ebpf, "leaking_tcp")?;
        each_record(open(tcp)?, &mut found)?;
        in_other_namespaces(tcp, |file| each_record(file, &mut found))?;
        Ok(())
    }

    /// Every descriptor of a leaking socket.
    pub(super) fn found_descriptors(&mut self, ebpf: &mut Ebpf, found: impl FnMut(&FoundRecord) + Send) -> Result<()> {
        if self.descriptors { each_record(open(program(ebpf, "leaking_files")?)?, found) } else { Ok(()) }
    }

    /// The threads of these processes. More than there is room for in the map are asked for in portions, each of which goes through all
    /// threads of the machine once.
    pub(super) fn threads(&mut self, ebpf: &mut Ebpf, pids: &[u32]) -> Result<Vec<FoundThread>> {
        if !self.asleep {
            return Ok(Vec::new());
        }
        let mut threads = Vec::new();
        for portion in pids.chunks(MAX_TARGETS as usize) {
            let before: Vec<u32> = self.targets.keys().flatten().collect();
            for pid in before {
                let _ = self.targets.remove(&pid);
            }
            for pid in portion {
                self.targets.insert(pid, 1, 0).with_context(|| format!("failed to ask for the threads of {pid}"))?;
            }
            threads.append(&mut read_records(open(program(ebpf, "leaking_threads")?)?)?);
        }
        Ok(threads)
    }
}
