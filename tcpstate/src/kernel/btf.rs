//! The running kernel's type information: offsets of fields and numbers of arguments.
//!
//! aya keeps its own reader's members private, and a general BTF crate takes 180 ms for what is needed here in 5.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::{ffi::CStr, fs, io, ops::Range, path::Path};

use tcpstate_common::layout::{ABSENT, KernelField, Layout};

use crate::host::{
    kernel::VMLINUX,
    sysfs::{NO_SYSFS, has_sysfs},
};

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;

/// Why a type could not be found.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// Nobody can say whether the kernel has BTF.
    #[error("{NO_SYSFS}")]
    NoSysfs,
    /// The kernel has no BTF.
    #[error(
        "kernel has no BTF: `{VMLINUX}` is missing; boot a kernel with CONFIG_DEBUG_INFO_BTF=y (every current distribution's has it)"
    )]
    Missing,
    /// The file could not be read.
    #[error("failed to read kernel BTF `{VMLINUX}`")]
    Read(#[source] io::Error),
    /// The file is not BTF as known here.
    #[error("kernel BTF is malformed: {0}")]
    Malformed(&'static str),
    /// A field that the programs need does not exist.
    #[error(
        "kernel field `{structure}.{member}` is not in the BTF of this kernel, so sockets cannot be read; please report it with the output of `uname -r`"
    )]
    Field {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
}

/// The kernel's types.
pub(super) struct KernelBtf {
    /// The whole file: copies of its sections would be megabytes at every start.
    bytes: Vec<u8>,
    types: Range<usize>,
    strings: Range<usize>,
    /// Offset of each type in `types`; ids count from 1.
    offsets: Vec<u32>,
    /// The structures that [`Layout`] has fields of.
    structs: Vec<(&'static str, u32)>,
    /// What programs can be attached to by number: typed tracepoints, iterators, and the functions asked for. Ascending.
    points: Vec<u32>,
}

struct Type<'a> {
    name: u32,
    kind: u32,
    vlen: usize,
    bitfields: bool,
    /// Size or referred type.
    size_or_type: u32,
    data: &'a [u8],
}

impl KernelBtf {
    /// Reads the running kernel's types; of its functions only `functions` are found again.
    pub(super) fn load(functions: &[&str]) -> Result<Self, BtfError> {
        let bytes = fs::read(Path::new(VMLINUX)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !has_sysfs() => BtfError::NoSysfs,
            io::ErrorKind::NotFound => BtfError::Missing,
            _ => BtfError::Read(error),
        })?;
        Self::parse(bytes, functions)
    }

    fn parse(bytes: Vec<u8>, functions: &[&str]) -> Result<Self, BtfError> {
        let header = bytes.get(..HEADER_LEN).ok_or(BtfError::Malformed("it ends within its header"))?;
        if u16::from_ne_bytes([header[0], header[1]]) != MAGIC {
            return Err(BtfError::Malformed("it does not begin with BTF's magic number"));
        }
        let [header_len, type_off, type_len, string_off, string_len] =
            [4, 8, 12, 16, 20].map(|at| word(header, at).unwrap_or_default() as usize);
        let section = |offset: usize, len: usize| {
            let start = header_len.checked_add(offset)?;
            let section = start..start.checked_add(len)?;
            bytes.get(section.clone()).map(|_| section)
        };
        let types = section(type_off, type_len).ok_or(BtfError::Malformed("its types lie outside of it"))?;
        let strings = section(string_off, string_len).ok_or(BtfError::Malformed("its strings lie outside of it"))?;
        let offsets = Vec::with_capacity(types.len() / 24);
        let mut btf = Self { bytes, types, strings, offsets, structs: Vec::new(), points: Vec::new() };
        btf.index(functions)?;
        Ok(btf)
    }

    /// Goes once through all types, a hundred thousand of them.
    fn index(&mut self, functions: &[&str]) -> Result<(), BtfError> {
        let types = &self.bytes[self.types.clone()];
        let strings = &self.bytes[self.strings.clone()];
        let mut rest = types;
        while let Some((head, after)) = rest.split_first_chunk::<TYPE_LEN>() {
            let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (name, info) = (word(0), word(4));
            let (kind, vlen) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let extra = match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * vlen,
                6 | 13 => 8 * vlen,
                2 | 7..=12 | 16 | 18 => 0,
                _ => return Err(BtfError::Malformed("it has a kind of type that this version does not know")),
            };
            let offset = u32::try_from(types.len() - rest.len());
            self.offsets.push(offset.map_err(|_| BtfError::Malformed("it is larger than 4 GiB"))?);
            rest = after.get(extra..).ok_or(BtfError::Malformed("it ends within a type"))?;
            let id = self.offsets.len() as u32;
            match kind {
                KIND_STRUCT => {
                    let name = string(strings, name);
                    let field = Layout::FIELDS.iter().find(|field| field.structure.as_bytes() == name);
                    self.structs.extend(field.map(|field| (field.structure, id)));
                }
                KIND_TYPEDEF if string(strings, name).starts_with(b"btf_trace_") => self.points.push(id),
                KIND_FUNC => {
                    let name = string(strings, name);
                    if name.starts_with(b"bpf_iter_") || functions.iter().any(|wanted| wanted.as_bytes() == name) {
                        self.points.push(id);
                    }
                }
                _ => {}
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(BtfError::Malformed("it ends within a type")) }
    }

    /// Offsets of all fields that the programs read.
    pub(super) fn layout(&self) -> Result<Layout, BtfError> {
        let mut offsets = [ABSENT; Layout::LEN];
        for (offset, field) in offsets.iter_mut().zip(Layout::FIELDS) {
            *offset = match self.field(field) {
                Some(found) => found,
                None if field.optional => ABSENT,
                None => return Err(BtfError::Field { structure: field.structure, member: field.member }),
            };
        }
        Ok(Layout::from_offsets(offsets))
    }

    /// How many arguments a kernel function takes; `None` when there is no such function, or it was not asked for.
    pub(super) fn argument_count(&self, function: &str) -> Option<usize> {
        let is_it = |entry: &Type<'_>| entry.kind == KIND_FUNC && self.name(entry.name) == function.as_bytes();
        let entry = self.points.iter().filter_map(|&id| self.get(id)).find(is_it)?;
        let proto = self.get(entry.size_or_type)?;
        (proto.kind == KIND_FUNC_PROTO).then_some(proto.vlen)
    }

    /// What programs can be attached to by number, as BTF for a reader of names. Every other type is there to be counted only, and
    /// those behind the last one are not.
    pub(super) fn attach_points(&self) -> Vec<u8> {
        let last = self.points.last().copied().unwrap_or_default() as usize;
        let mut types = bytes_of([0, KIND_FWD << 24, 0]).repeat(last);
        let mut strings = vec![0];
        for &id in &self.points {
            let Some(entry) = self.get(id) else { continue };
            let at = (id as usize - 1) * TYPE_LEN;
            let point = bytes_of([strings.len() as u32, entry.kind << 24, 0]);
            types[at..at + TYPE_LEN].copy_from_slice(&point);
            strings.extend_from_slice(self.name(entry.name));
            strings.push(0);
        }
        let mut bytes = Vec::with_capacity(HEADER_LEN + types.len() + strings.len());
        // Its version is 1, and no flags are set.
        bytes.extend(MAGIC.to_ne_bytes().iter().chain(&[1, 0]));
        let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
        let header = [HEADER_LEN as u32, 0, types_len, types_len, strings_len];
        bytes.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    /// Byte offset of a field, through members of members and anonymous members.
    fn field(&self, field: KernelField) -> Option<u32> {
        let (_, mut id) = *self.structs.iter().find(|(name, _)| *name == field.structure)?;
        let mut bits = 0;
        for name in field.member.split('.') {
            let (offset, member_type) = self.member(id, name.as_bytes(), 0)?;
            bits += offset;
            id = member_type;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Bit offset and type of a member.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let entry = self.get(self.strip_modifiers(id)?)?;
        if !matches!(entry.kind, KIND_STRUCT | KIND_UNION) || depth > 8 {
            return None;
        }
        (0..entry.vlen).find_map(|index| {
            let at = index * 12;
            let (member, member_type) = (word(entry.data, at)?, word(entry.data, at + 4)?);
            let offset = word(entry.data, at + 8)? & if entry.bitfields { 0x00ff_ffff } else { u32::MAX };
            if self.name(member) == name {
                return Some((offset, member_type));
            }
            if member != 0 {
                return None;
            }
            self.member(member_type, name, depth + 1).map(|(inner, found)| (offset + inner, found))
        })
    }

    fn strip_modifiers(&self, mut id: u32) -> Option<u32> {
        for _ in 0..16 {
            let entry = self.get(id)?;
            // Typedef, `volatile`, `const`, `restrict`, type tag: stand for another type.
            if !matches!(entry.kind, KIND_TYPEDEF..=11 | 18) {
                return Some(id);
            }
            id = entry.size_or_type;
        }
        None
    }

    fn get(&self, id: u32) -> Option<Type<'_>> {
        let types = self.bytes.get(self.types.clone())?;
        let offset = *self.offsets.get((id as usize).checked_sub(1)?)? as usize;
        let info = word(types, offset + 4)?;
        Some(Type {
            name: word(types, offset)?,
            kind: (info >> 24) & 0x1f,
            vlen: (info & 0xffff) as usize,
            bitfields: info >> 31 != 0,
            size_or_type: word(types, offset + 8)?,
            data: types.get(offset + TYPE_LEN..)?,
        })
    }

    fn name(&self, offset: u32) -> &[u8] {
        string(self.bytes.get(self.strings.clone()).unwrap_or_default(), offset)
    }
}

/// The string at `offset`; empty where there is none.
fn string(strings: &[u8], offset: u32) -> &[u8] {
    let rest = strings.get(offset as usize..).unwrap_or_default();
    CStr::from_bytes_until_nul(rest).unwrap_or_default().to_bytes()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A type of three words.
fn bytes_of(words: [u32; 3]) -> [u8; TYPE_LEN] {
    let mut bytes = [0; TYPE_LEN];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{HEADER_LEN, KIND_FUNC, KIND_FWD, KIND_TYPEDEF, KernelBtf, MAGIC, TYPE_LEN};

    /// Types of these kinds and names, each of twelve bytes.
    fn btf(types: &[(u32, &str)]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut section = Vec::new();
        for (kind, name) in types {
            section.extend([strings.len() as u32, kind << 24, 0].iter().flat_map(|word| word.to_ne_bytes()));
            strings.extend(name.bytes().chain([0]));
        }
        let lengths = [section.len() as u32, strings.len() as u32];
        let mut bytes = Vec::from(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        let header = [HEADER_LEN as u32, 0, lengths[0], lengths[0], lengths[1]];
        bytes.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(section);
        bytes.extend(strings);
        bytes
    }

    /// What is left of each type: its kind and name.
    fn types(btf: &KernelBtf) -> Vec<(u32, String)> {
        let types = (1..=btf.offsets.len() as u32).map(|id| btf.get(id).expect("a type"));
        types.map(|entry| (entry.kind, String::from_utf8_lossy(btf.name(entry.name)).into_owned())).collect()
    }

    #[test]
    fn attach_points_keep_their_numbers() {
        let of_kernel = [
            (KIND_TYPEDEF, "u32"),
            (KIND_TYPEDEF, "btf_trace_inet_sock_set_state"),
            (KIND_FUNC, "tcp_recvmsg"),
            (KIND_FUNC, "btf_trace_not_a_type"),
            (KIND_FUNC, "bpf_iter_tcp"),
            (KIND_FUNC, "tcp_sendmsg"),
        ];
        let kernel = KernelBtf::parse(btf(&of_kernel), &["tcp_recvmsg"]).expect("types");
        let points = KernelBtf::parse(kernel.attach_points(), &[]).expect("what it wrote");
        let nothing = || (KIND_FWD, String::new());
        let kept = |index: usize| (of_kernel[index].0, of_kernel[index].1.to_owned());
        assert_eq!(types(&points), [nothing(), kept(1), kept(2), nothing(), kept(4)]);
    }

    #[test]
    fn damaged_types_are_an_error() {
        let whole = btf(&[(KIND_TYPEDEF, "u32")]);
        for length in 0..HEADER_LEN + TYPE_LEN {
            assert!(KernelBtf::parse(whole[..length].to_vec(), &[]).is_err(), "{length} bytes of it");
        }
        assert!(KernelBtf::parse(whole, &[]).is_ok());
    }
}
