//! The embedded BPF object: whether it is of this program, and what is in it.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, include_bytes_aligned,
    programs::{Program, ProgramError},
};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, read::elf::ElfFile64};
use tcpstate_common::{FINGERPRINT, FINGERPRINT_SYMBOL};

/// The programs, built by `build.rs`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstate-ebpf"));

/// Why an object is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectError {
    #[error(
        "the embedded BPF object was built with other types (fingerprint {found:016x}) than this program ({FINGERPRINT:016x}), which \
         would misread its records; rebuild both with `cargo clean -p tcpstate && cargo xtask build`"
    )]
    OtherTypes { found: u64 },
    #[error(
        "the embedded BPF object does not say with what types it was built; rebuild it with `cargo clean -p tcpstate && cargo xtask build`"
    )]
    NoFingerprint,
}

/// The object, if it was built with the types of this program.
pub(super) fn embedded() -> Result<&'static [u8], ObjectError> {
    checked(OBJECT)
}

fn checked(object: &[u8]) -> Result<&[u8], ObjectError> {
    match fingerprint(object) {
        Some(FINGERPRINT) => Ok(object),
        Some(found) => Err(ObjectError::OtherTypes { found }),
        None => Err(ObjectError::NoFingerprint),
    }
}

/// The fingerprint that an object carries.
fn fingerprint(object: &[u8]) -> Option<u64> {
    let file: ElfFile64<'_> = ElfFile64::parse(object).ok()?;
    let symbol = file.symbol_by_name(FINGERPRINT_SYMBOL)?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let bytes = section.data_range(symbol.address(), size_of::<u64>() as u64).ok()??;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

/// A program of the object by its name and type.
pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .with_context(|| format!("the BPF object has no program `{name}`"))?
        .try_into()
        .with_context(|| format!("the program `{name}` of the BPF object is of another type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The object as it would be if something in `tcpstate-common` were another: changed where it says what it was built with.
    fn of_other_types() -> Vec<u8> {
        let mut object = OBJECT.to_vec();
        let wanted = FINGERPRINT.to_ne_bytes();
        let places: Vec<_> = (0..object.len() - wanted.len()).filter(|&at| object[at..].starts_with(&wanted)).collect();
        assert_eq!(places.len(), 1, "the fingerprint is in the object once");
        object[places[0]] ^= 1;
        object
    }

    #[test]
    fn the_embedded_one_is_of_this_program() {
        assert_eq!(embedded().expect("the object that was built with it").len(), OBJECT.len());
    }

    #[test]
    fn one_of_other_types_is_refused() {
        let refused = checked(&of_other_types()).expect_err("another fingerprint");
        let said = refused.to_string();
        let found = FINGERPRINT ^ u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
        for part in [&format!("{found:016x}"), &format!("{FINGERPRINT:016x}"), "other types", "cargo xtask build"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn one_that_does_not_say_is_refused() {
        let mut object = OBJECT.to_vec();
        let name = FINGERPRINT_SYMBOL.as_bytes();
        let at = (0..object.len() - name.len()).filter(|&at| object[at..].starts_with(name)).collect::<Vec<_>>();
        for at in at {
            object[at] = b'_';
        }
        assert!(matches!(checked(&object), Err(ObjectError::NoFingerprint)));
        assert!(matches!(checked(b"no object"), Err(ObjectError::NoFingerprint)));
    }
}
