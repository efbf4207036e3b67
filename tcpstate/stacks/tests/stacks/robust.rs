//! Whatever is captured, a stack comes out.

use std::{cell::RefCell, iter, process, sync::OnceLock};

use proptest::prelude::*;
use tcpstate_broker::process::program::start_stack;
use tcpstate_common::leak::Registers;
use tcpstate_wire::{Backing, StackEnd, Truncation};

use crate::{
    reader::{Copied, Reader},
    target::{Capture, Target, build},
};

/// A captured stack of a program, and the program: it lives as long as the tests, which hold the pipe that it reads from.
fn sample() -> &'static (Target, Capture) {
    static SAMPLE: OnceLock<(Target, Capture)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let program = build("robust", "blocked.c", "gcc -O2 -fno-omit-frame-pointer -pthread").expect("gcc");
        let target = Target::start(&program, &["read"]).expect("it starts");
        let capture = target.blocked(libc::SYS_read).expect("it blocks");
        (target, capture)
    })
}

thread_local! {
    static READER: RefCell<Reader> = RefCell::default();
}

/// Follows a stack, and asserts what holds of every one, whatever it was made from.
fn check(copy: &Copied) {
    READER.with_borrow_mut(|reader| check_with(copy, reader));
}

fn check_with(copy: &Copied, reader: &mut Reader) {
    let stack = reader.unwind(copy);
    assert!((1..=512).contains(&stack.frames.len()));
    assert!(stack.frames[1..].iter().all(|address| address.is_return && address.backing != Backing::Unknown));
    let frames = reader.name(copy.pid, &stack);
    assert_eq!(frames.iter().filter(|frame| !frame.inlined).count(), stack.frames.len());
}

/// A word as it might lie on a stack: an address in the stack, one of code, a small number, anything.
fn word() -> impl Strategy<Value = u64> {
    let (_, capture) = sample();
    let code: Vec<u64> = Reader::default().unwind(&capture.copy()).frames.iter().map(|address| address.ip).collect();
    let sp = capture.registers.sp;
    prop_oneof![
        (0..4096_u64).prop_map(move |offset| sp + offset),
        (0..512_u64).prop_map(move |words| sp + words * 8),
        prop::sample::select(code.clone()),
        (prop::sample::select(code), 0..64_u64).prop_map(|(ip, offset)| ip.wrapping_add(offset)),
        0..16_u64,
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn anything_in_registers_and_stack(
        (ip, sp, fp) in (word(), word(), word()),
        words in prop::collection::vec(word(), 0..200),
        may_go_on in any::<bool>(),
    ) {
        let (_, capture) = sample();
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let copy = Copied { registers: Registers { ip, sp, bp: fp }, bytes: stack, may_go_on, ..capture.copy() };
        check(&copy);
    }

    #[test]
    fn a_real_stack_with_wrong_words(
        wrong in prop::collection::vec((0..100_usize, word()), 1..6),
        fp in prop::option::of(word()),
        length in 0..2000_usize,
    ) {
        let (_, capture) = sample();
        let mut stack = capture.bytes.clone();
        for (index, word) in wrong {
            if let Some(bytes) = stack.get_mut(index * 8..index * 8 + 8) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
        stack.truncate(length);
        let registers = Registers { bp: fp.unwrap_or(capture.registers.bp), ..capture.registers };
        check(&Copied { registers, bytes: stack, ..capture.copy() });
    }
}

/// Of this process, with nothing special about it.
fn of_own(registers: Registers, bytes: &[u8]) -> Copied {
    let bytes = bytes.to_vec();
    Copied { pid: process::id(), start_stack: None, registers, bytes, missing: Vec::new(), may_go_on: false }
}

#[test]
fn no_registers() {
    let stack = Reader::default().unwind(&of_own(Registers::default(), &[]));
    assert_eq!(stack.end, StackEnd::Truncated(Truncation::NoRegisters));
}

#[test]
fn no_code_at_the_first_address() {
    let registers = Registers { ip: 0x10_0000, sp: 0x7fff_0000_0000, bp: 0 };
    let stack = Reader::default().unwind(&of_own(registers, &[0; 64]));
    assert_eq!(stack.end, StackEnd::Truncated(Truncation::NotCode(0x10_0000)));
}

#[test]
fn what_is_not_in_memory_is_not_zero() {
    let (_, capture) = sample();
    let mut reader = Reader::default();
    let whole = reader.unwind(&capture.copy());
    let sp = capture.registers.sp;
    // Behind the first frame, and all of it.
    for from in [sp + 64, sp] {
        let stack = reader.unwind(&Copied { missing: iter::once(from..u64::MAX).collect(), ..capture.copy() });
        assert_eq!(stack.end, StackEnd::Truncated(Truncation::NotInMemory));
        assert_eq!(stack.frames, whole.frames[..stack.frames.len()]);
        assert!(stack.frames.len() < whole.frames.len());
    }
}

#[test]
fn of_another_program_of_the_process() {
    let (_, capture) = sample();
    let start = start_stack(capture.pid).expect("it lives");
    let mut reader = Reader::default();
    for _ in 0..2 {
        let own = reader.unwind(&Copied { start_stack: Some(start), ..capture.copy() });
        assert_eq!(own.end, StackEnd::Complete);
        let others = reader.unwind(&Copied { start_stack: Some(start ^ 16), ..capture.copy() });
        assert_eq!(others.end, StackEnd::Truncated(Truncation::ProgramGone));
        assert_eq!(others.frames.len(), 1);
    }
}

#[test]
fn a_chain_that_goes_round() {
    let (_, capture) = sample();
    let mut stack = capture.bytes.clone();
    let sp = capture.registers.sp;
    for (index, word) in stack.chunks_exact_mut(16).enumerate() {
        word[..8].copy_from_slice(&(sp + 16 * (index as u64 % 2)).to_le_bytes());
        word[8..].copy_from_slice(&capture.registers.ip.to_le_bytes());
    }
    let registers = Registers { bp: sp, ..capture.registers };
    check(&Copied { registers, bytes: stack, ..capture.copy() });
}

#[test]
fn at_the_edges_of_memory() {
    for sp in [0, 1, 8, 4096, (1 << 63) - 8, 1 << 63, u64::MAX - 8, u64::MAX] {
        for fp in [0, sp, sp.wrapping_add(8), u64::MAX, u64::MAX - 7] {
            let (_, capture) = sample();
            let registers = Registers { sp, bp: fp, ..capture.registers };
            check(&Copied { registers, ..capture.copy() });
        }
    }
}
