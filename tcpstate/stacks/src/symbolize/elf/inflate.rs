//! Sections that are stored compressed: as `SHF_COMPRESSED` says (`Elf64_Chdr`), or as `.zdebug_` did before that.

use std::io::Read;

use flate2::read::ZlibDecoder;
use ruzstd::decoding::StreamingDecoder;

/// To how much one section may inflate, bytes. The debug info of a browser takes more; nobody compresses that.
const MAX_INFLATED: usize = 192 << 20;
/// To how much all sections of one file may inflate, bytes.
pub(super) const MAX_INFLATED_OF_FILE: usize = 256 << 20;
/// To how many times its size zlib can inflate data (RFC 1951: 258 bytes take two bits at least).
const MAX_RATIO: usize = 1032;
/// The same of zstd (RFC 8878, section 3.1.1.2: a block of four bytes is one byte repeated up to 128 KiB times).
const MAX_ZSTD_RATIO: usize = 128 << 10;
/// `ELFCOMPRESS_ZLIB` and `ELFCOMPRESS_ZSTD` of `elf.h`.
const ZLIB: u32 = 1;
const ZSTD: u32 = 2;
/// Size of `Elf64_Chdr`: kind, padding, size, alignment.
const HEADER: usize = 24;

/// Why a compressed section is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InflateError {
    /// Its header is cut off.
    #[error("its header is cut off")]
    Header,
    /// It is compressed in a way that is not known here.
    #[error("compression {0} is not known")]
    Kind(u32),
    /// It says that it is larger than it can be, or than may be.
    #[error("it says that it inflates to {0} bytes")]
    Claim(u64),
    /// It is not what its header says.
    #[error("it inflates to something else than it says")]
    Content,
}

/// Inflates a section with `SHF_COMPRESSED`, into at most `room` bytes.
pub(super) fn elf(section: &[u8], room: usize) -> Result<Vec<u8>, InflateError> {
    let header: &[u8; HEADER] = section.first_chunk().ok_or(InflateError::Header)?;
    let kind = header.first_chunk().copied().map_or(0, u32::from_le_bytes);
    let claim = header[8..].first_chunk().copied().map_or(0, u64::from_le_bytes);
    let stored = &section[HEADER..];
    match kind {
        ZLIB => zlib(stored, claim, room),
        ZSTD => {
            let size = size(claim, room, stored, MAX_ZSTD_RATIO)?;
            // It refuses windows beyond 128 MiB.
            inflated(StreamingDecoder::new(stored).map_err(|_| InflateError::Content)?, size)
        }
        _ => Err(InflateError::Kind(kind)),
    }
}

/// Inflates a section `.zdebug_…`, into at most `room` bytes.
pub(super) fn gnu(section: &[u8], room: usize) -> Result<Vec<u8>, InflateError> {
    let rest = section.strip_prefix(b"ZLIB").ok_or(InflateError::Header)?;
    let claim = rest.first_chunk().copied().map(u64::from_be_bytes).ok_or(InflateError::Header)?;
    zlib(&rest[8..], claim, room)
}

fn zlib(stored: &[u8], claim: u64, room: usize) -> Result<Vec<u8>, InflateError> {
    inflated(ZlibDecoder::new(stored), size(claim, room, stored, MAX_RATIO)?)
}

/// The size that a section says it has, if it can and may have that.
fn size(claim: u64, room: usize, stored: &[u8], ratio: usize) -> Result<usize, InflateError> {
    let most = room.min(MAX_INFLATED).min(stored.len().saturating_mul(ratio));
    usize::try_from(claim).ok().filter(|&size| size <= most).ok_or(InflateError::Claim(claim))
}

/// Memory is taken as the data comes, and no more of it than was said to come.
fn inflated(data: impl Read, size: usize) -> Result<Vec<u8>, InflateError> {
    let mut bytes = Vec::new();
    // One byte more tells data that goes on.
    data.take(size as u64 + 1).read_to_end(&mut bytes).map_err(|_| InflateError::Content)?;
    if bytes.len() != size {
        return Err(InflateError::Content);
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn deflated(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    fn elf_section(kind: u32, claim: u64, data: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &[0; 4], &claim.to_le_bytes(), &1_u64.to_le_bytes(), data].concat()
    }

    fn gnu_section(claim: u64, data: &[u8]) -> Vec<u8> {
        [b"ZLIB", &claim.to_be_bytes()[..], data].concat()
    }

    #[test]
    fn what_is_true_is_inflated() {
        let data: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        let compressed = deflated(&data);
        assert_eq!(elf(&elf_section(1, 40_000, &compressed), 40_000).as_deref(), Ok(&data[..]));
        assert_eq!(gnu(&gnu_section(40_000, &compressed), 40_000).as_deref(), Ok(&data[..]));
        let compressed = compress_to_vec(&data[..], CompressionLevel::Fastest);
        assert_eq!(elf(&elf_section(2, 40_000, &compressed), 40_000).as_deref(), Ok(&data[..]));
        for claim in [39_999, 40_001] {
            assert_eq!(elf(&elf_section(2, claim, &compressed), 1 << 40), Err(InflateError::Content));
        }
        for claim in [1 << 30, u64::MAX] {
            assert_eq!(elf(&elf_section(2, claim, &compressed), 1 << 40), Err(InflateError::Claim(claim)));
        }
    }

    #[test]
    fn sizes_are_not_believed() {
        let compressed = deflated(&[0; 64]);
        for claim in [u64::MAX, 1 << 46, 1 << 31, 1 << 20] {
            assert_eq!(elf(&elf_section(1, claim, &compressed), 1 << 40), Err(InflateError::Claim(claim)));
            assert_eq!(gnu(&gnu_section(claim, &compressed), 1 << 40), Err(InflateError::Claim(claim)));
        }
        // Within what zlib could do, and not what it did.
        for claim in [0, 63, 65, 1000] {
            assert_eq!(elf(&elf_section(1, claim, &compressed), 1 << 40), Err(InflateError::Content));
        }
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let compressed = deflated(&[0; 4096]);
        assert!(elf(&elf_section(1, 4096, &compressed), 4096).is_ok());
        assert_eq!(elf(&elf_section(1, 4096, &compressed), 4095), Err(InflateError::Claim(4096)));
        // Enough to inflate to it.
        let bomb = vec![0; MAX_INFLATED / 1000];
        let claim = MAX_INFLATED as u64 + 1;
        assert_eq!(elf(&elf_section(1, claim, &bomb), usize::MAX), Err(InflateError::Claim(claim)));
    }

    #[test]
    fn other_kinds() {
        assert_eq!(elf(&elf_section(3, 4, b"what"), 64), Err(InflateError::Kind(3)));
        assert_eq!(elf(&elf_section(2, 4, b"zstd"), 64), Err(InflateError::Content));
        assert_eq!(elf(&[1; 23], 64), Err(InflateError::Header));
        assert_eq!(gnu(b"ZLIB", 64), Err(InflateError::Header));
    }

    proptest! {
        #[test]
        fn zstd_with_wrong_bytes(wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)) {
            let data: Vec<u8> = (0..500_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
            let mut compressed = compress_to_vec(&data[..], CompressionLevel::Fastest);
            for (at, byte) in wrong {
                let at = at.index(compressed.len());
                compressed[at] = byte;
            }
            let inflated = elf(&elf_section(2, 2000, &compressed), 1 << 20);
            prop_assert!(inflated.is_err() || inflated.is_ok_and(|data| data.len() == 2000));
        }

        #[test]
        fn any_bytes(kind in 0_u32..4, claim in 0_u64..100_000, data in prop::collection::vec(any::<u8>(), 0..200)) {
            for inflated in [elf(&elf_section(kind, claim, &data), 1 << 20), gnu(&gnu_section(claim, &data), 1 << 20)] {
                prop_assert!(inflated.is_err() || inflated.is_ok_and(|data| data.len() as u64 == claim));
            }
        }
    }
}
