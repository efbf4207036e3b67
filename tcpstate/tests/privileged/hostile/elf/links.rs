//! Links to debug info that lead to what no debug info is in.

use anyhow::Result;

use super::{Elf, Hostile, bytes::Bytes};

/// Where the stage has files; each of the names below is there.
pub(crate) const DIRECTORY: &str = "/mnt";

macro_rules! links {
    ($($name:literal: $section:ident $target:literal),+ $(,)?) => {
        &[$(Hostile { name: $name, make: |elf| $section(elf, $target) }),+]
    };
}

pub(crate) const LINKS: &[Hostile] = links![
    "debuglink-fifo": debuglink "/mnt/fifo",
    "debuglink-device": debuglink "/mnt/device",
    "debuglink-secret": debuglink "/mnt/secret",
    "debuglink-sparse": debuglink "/mnt/sparse",
    "debuglink-link": debuglink "/mnt/link-to-secret",
    "debuglink-upwards": debuglink "../../../../../../../mnt/secret",
    "debuglink-memory": debuglink "/proc/self/mem",
    "debuglink-directory": debuglink "/mnt",
    "debuglink-itself": debuglink "debuglink-itself.so",
    "altlink-fifo": altlink "/mnt/fifo",
    "altlink-device": altlink "/mnt/device",
    "altlink-secret": altlink "/mnt/secret",
    "altlink-sparse": altlink "/mnt/sparse",
    "altlink-upwards": altlink "../../../../../../../mnt/secret",
    "sup-fifo": sup "/mnt/fifo",
    "sup-device": sup "/mnt/device",
    "sup-secret": sup "/mnt/secret",
    "sup-sparse": sup "/mnt/sparse",
];

fn debuglink(elf: &Elf, target: &str) -> Result<Vec<u8>> {
    let mut link = Bytes::default();
    link.text(target);
    while !link.len().is_multiple_of(4) {
        link.u8(0);
    }
    // A checksum, for which the whole target would have to be read.
    link.u32(0x0403_0201);
    elf.clone().with(".gnu_debuglink", link.done()).build()
}

fn altlink(elf: &Elf, target: &str) -> Result<Vec<u8>> {
    let link = Bytes::default().text(target).raw(&[7; 20]).done();
    elf.clone().with(".gnu_debugaltlink", link).build()
}

fn sup(elf: &Elf, target: &str) -> Result<Vec<u8>> {
    let link = Bytes::default().u16(5).u8(0).text(target).leb(4).raw(&[7; 4]).done();
    elf.clone().with(".debug_sup", link).build()
}
