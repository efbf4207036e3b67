//! Compressed sections that lie about their size, and that become very large.

use anyhow::Result;
use flate2::{Compress, Compression, FlushCompress};
use object::elf::{ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD, SHF_COMPRESSED};

use super::{Elf, Hostile, bytes::Bytes};

pub(crate) const COMPRESSED: &[Hostile] = &[
    Hostile { name: "compressed-claims-64-tib", make: |elf| claims(elf, ELFCOMPRESS_ZLIB, ".debug_info", 1 << 46) },
    Hostile { name: "compressed-claims-all", make: |elf| claims(elf, ELFCOMPRESS_ZLIB, ".debug_info", u64::MAX) },
    Hostile { name: "compressed-claims-nothing", make: |elf| claims(elf, ELFCOMPRESS_ZLIB, ".debug_info", 0) },
    Hostile {
        name: "compressed-zstd-claims-64-tib",
        make: |elf| claims(elf, ELFCOMPRESS_ZSTD, ".debug_info", 1 << 46),
    },
    Hostile { name: "compressed-by-nobody", make: |elf| claims(elf, 77, ".debug_line", 1 << 46) },
    Hostile { name: "compressed-old-style", make: old_style },
    Hostile { name: "compressed-bomb", make: |elf| bomb(elf, ".debug_info") },
    Hostile { name: "compressed-bomb-abbreviations", make: |elf| bomb(elf, ".debug_abbrev") },
    Hostile { name: "compressed-bomb-symbols", make: |elf| bomb(elf, ".symtab") },
    Hostile { name: "compressed-bomb-unwinding", make: |elf| bomb(elf, ".debug_frame") },
];

const MIB: usize = 1 << 20;
/// How large a bomb becomes.
const LARGE: usize = 4096 * MIB;

/// So many mebibytes of zeros, a thousandth of it.
fn zeros(mebibytes: usize) -> Result<Vec<u8>> {
    // After a full flush nothing refers to what came before, so the same bytes can follow each other.
    let mut one = Vec::with_capacity(MIB);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![0; MIB], &mut one, FlushCompress::Full)?;
    // The sum of so many zeros is how many there are, modulo a prime.
    let adler = u32::try_from(mebibytes * MIB % 65_521)? << 16 | 1;
    let last = [1, 0, 0, 0xff, 0xff];
    Ok(Bytes::default().raw(&[0x78, 0xda]).repeat(&one, mebibytes).raw(&last).raw(&adler.to_be_bytes()).done())
}

fn with(elf: &Elf, section: &str, kind: u32, size: u64, data: &[u8]) -> Result<Vec<u8>> {
    let content = Bytes::default().u32(kind).u32(0).u64(size).u64(1).raw(data).done();
    let mut elf = elf.clone();
    elf.put(section, content).flags |= u64::from(SHF_COMPRESSED);
    elf.build()
}

fn claims(elf: &Elf, kind: u32, section: &str, size: u64) -> Result<Vec<u8>> {
    with(elf, section, kind, size, &zeros(1)?)
}

fn bomb(elf: &Elf, section: &str) -> Result<Vec<u8>> {
    with(elf, section, ELFCOMPRESS_ZLIB, LARGE as u64, &zeros(LARGE / MIB)?)
}

/// The way of before there were flags.
fn old_style(elf: &Elf) -> Result<Vec<u8>> {
    let content = Bytes::default().raw(b"ZLIB").raw(&(1_u64 << 46).to_be_bytes()).raw(&zeros(1)?).done();
    elf.clone().with(".zdebug_info", content).build()
}
