//! Symbols whose names and numbers are not what they should be.

use anyhow::Result;

use super::{Elf, Hostile, SYMBOL, bytes::Bytes};

pub(crate) const SYMBOLS: &[Hostile] = &[
    Hostile { name: "symbols-cpp", make: |elf| named(elf, &cpp(20)) },
    Hostile { name: "symbols-cpp-nested", make: |elf| named(elf, &nested(100_000)) },
    Hostile { name: "symbols-rust", make: |elf| named(elf, &rust(24)) },
    Hostile { name: "symbols-long", make: |elf| named(elf, &vec![b'x'; 8 << 20]) },
    Hostile {
        name: "symbols-escapes",
        make: |elf| named(elf, b"\x1b]0;title\x07\x1b[2J\x1b[31mred\n\rnext\tline\x7f\x9b31m"),
    },
    Hostile {
        name: "symbols-invisible",
        make: |elf| named(elf, "a\u{202e}b\u{2066}c\u{200b}\u{feff}\u{2028}".as_bytes()),
    },
    Hostile { name: "symbols-markup", make: |elf| named(elf, b"<script>\"'&]]>{}\\x1b;;1 %s%n") },
    Hostile { name: "symbols-no-text", make: |elf| named(elf, b"\xff\xfe\xc0\x80\xed\xa0\x80") },
    Hostile { name: "symbols-without-zero", make: without_zero },
    Hostile { name: "symbols-name-beyond", make: |elf| table(elf, &[(u32::MAX, elf.text.start, 64)], b"\0") },
    Hostile {
        name: "symbols-of-all",
        make: |elf| table(elf, &[(1, 0, u64::MAX), (1, u64::MAX, u64::MAX)], b"\0all\0"),
    },
    Hostile { name: "symbols-many", make: many_symbols },
    Hostile { name: "symbols-many-at-one", make: |elf| many(elf, |_| 0x1000) },
    Hostile { name: "symbols-no-entry-size", make: no_entry_size },
    Hostile { name: "symbols-linked-to-itself", make: linked_to_itself },
    Hostile {
        name: "symbols-mini-debug-info",
        make: |elf| elf.clone().with(".gnu_debugdata", vec![0xfd; 4096]).build(),
    },
];

/// Each type has the one before twice: a name of little more than 200 bytes that becomes one of megabytes.
fn cpp(doublings: usize) -> Vec<u8> {
    let mut name = b"_Z1f1AIiiE".to_vec();
    for index in 0..doublings {
        let letter = char::from(b'B' + u8::try_from(index % 25).unwrap_or_default());
        // `S_` is the name of the first template, `S0_` that template with its arguments, and so on.
        let last = base_36(2 * index);
        name.extend(format!("1{letter}IS{last}_S{last}_E").bytes());
    }
    name
}

fn base_36(mut number: usize) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 36]));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// A pointer to a pointer to a pointer…
fn nested(depth: usize) -> Vec<u8> {
    [b"_Z1f", &*vec![b'P'; depth], b"i"].concat()
}

/// A pair of pairs of pairs…, each of which refers back to its first half.
fn rust(doublings: usize) -> Vec<u8> {
    let mut name = b"_RINvC1a1f".to_vec();
    let first = name.len() - 2;
    name.extend(vec![b'T'; doublings]);
    name.push(b'u');
    for depth in 0..doublings {
        let at = first + doublings - depth;
        name.extend(format!("B{}E", base_62(at)).bytes());
    }
    name.push(b'E');
    name
}

/// A place of an odd number system: none of its digits is the first place, `0` the second.
fn base_62(number: usize) -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut text = vec!['_'];
    let mut rest = number.checked_sub(1);
    while let Some(value) = rest {
        text.push(char::from(digits[value % 62]));
        rest = (value >= 62).then_some(value / 62);
    }
    text.into_iter().rev().collect()
}

fn symbol(name: u32, address: u64, size: u64) -> Vec<u8> {
    Bytes::default().u32(name).u8(0x12).u8(0).u16(1).u64(address).u64(size).done()
}

/// Symbols by the places of their names, in no other order than this.
fn table(elf: &Elf, symbols: &[(u32, u64, u64)], names: &[u8]) -> Result<Vec<u8>> {
    let mut content = vec![0; SYMBOL];
    content.extend(symbols.iter().flat_map(|&(name, address, size)| symbol(name, address, size)));
    elf.clone().with(".symtab", content).with(".strtab", names.to_vec()).build()
}

/// One name for all the code.
fn named(elf: &Elf, name: &[u8]) -> Result<Vec<u8>> {
    let names = [b"\0", name, b"\0"].concat();
    table(elf, &[(1, elf.text.start, elf.text.end - elf.text.start)], &names)
}

fn without_zero(elf: &Elf) -> Result<Vec<u8>> {
    table(elf, &[(1, elf.text.start, elf.text.end - elf.text.start)], &vec![b'n'; 16 << 20])
}

/// A file that takes a while to read.
pub(crate) fn many_symbols(elf: &Elf) -> Result<Vec<u8>> {
    many(elf, |index| index << 12)
}

/// 36 MB of them.
fn many(elf: &Elf, address: impl Fn(u64) -> u64) -> Result<Vec<u8>> {
    let symbols: Vec<_> = (0..1_500_000).map(|index| (1, address(index), 16)).collect();
    table(elf, &symbols, b"\0many\0")
}

fn no_entry_size(elf: &Elf) -> Result<Vec<u8>> {
    let mut elf = elf.clone();
    elf.section(".symtab")?.entry_size = 0;
    elf.build()
}

fn linked_to_itself(elf: &Elf) -> Result<Vec<u8>> {
    let mut elf = elf.clone();
    for (name, link) in [(".symtab", 10), (".strtab", 10), (".dynsym", u32::MAX)] {
        elf.section(name)?.link = link;
    }
    elf.build()
}
