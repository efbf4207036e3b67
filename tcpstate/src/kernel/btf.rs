//! The running kernel's type information: offsets of fields and numbers of arguments.
//!
//! aya keeps its own reader's members private, and a general BTF crate takes 180 ms for what is needed here in 5.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::{collections::HashMap, fs, io, ops::Range, path::Path};

use tcpstate_common::layout::{ABSENT, KernelField, Layout};

/// Where the kernel shows its BTF (`CONFIG_DEBUG_INFO_BTF`).
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;

const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;

/// Why a type could not be found.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Struct,
    Union,
    Func,
    FuncProto,
    /// `const`, `volatile`, `restrict`, typedef, type tag: stand for another type.
    Modifier,
    Other,
}

/// The kernel's types.
pub(super) struct KernelBtf {
    /// The whole file: copies of its sections would be megabytes at every start.
    bytes: Vec<u8>,
    types: Range<usize>,
    strings: Range<usize>,
    /// Offset of each type in `types`; ids count from 1.
    offsets: Vec<u32>,
    /// Named structures.
    structs: HashMap<Vec<u8>, u32>,
}

struct Type<'a> {
    name: u32,
    kind: Kind,
    vlen: usize,
    bitfields: bool,
    /// Size or referred type.
    size_or_type: u32,
    data: &'a [u8],
}

impl KernelBtf {
    /// Reads the running kernel's types.
    pub(super) fn load() -> Result<Self, BtfError> {
        let bytes = fs::read(Path::new(VMLINUX)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BtfError::Missing,
            _ => BtfError::Read(error),
        })?;
        Self::parse(bytes)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
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
        let mut btf = Self { bytes, types, strings, offsets, structs: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let types = &self.bytes[self.types.clone()];
        let mut offset = 0;
        while offset < types.len() {
            let info = word(types, offset + 4).ok_or(BtfError::Malformed("it ends within a type"))?;
            let vlen = (info & 0xffff) as usize;
            let extra = match (info >> 24) & 0x1f {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * vlen,
                6 | 13 => 8 * vlen,
                2 | 7..=12 | 16 | 18 => 0,
                _ => return Err(BtfError::Malformed("it has a kind of type that this version does not know")),
            };
            self.offsets.push(u32::try_from(offset).map_err(|_| BtfError::Malformed("it is larger than 4 GiB"))?);
            offset += TYPE_LEN + extra;
            if offset > types.len() {
                return Err(BtfError::Malformed("it ends within a type"));
            }
        }
        for id in 1..=self.offsets.len() as u32 {
            let Some(entry) = self.get(id) else { continue };
            if entry.kind == Kind::Struct && entry.name != 0 {
                let name = self.name(entry.name).to_vec();
                self.structs.entry(name).or_insert(id);
            }
        }
        Ok(())
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

    /// How many arguments a kernel function takes; `None` when there is no such function.
    pub(super) fn argument_count(&self, function: &str) -> Option<usize> {
        let proto = (1..=self.offsets.len() as u32).find_map(|id| {
            let entry = self.get(id)?;
            (entry.kind == Kind::Func && self.name(entry.name) == function.as_bytes()).then_some(entry.size_or_type)
        })?;
        let proto = self.get(proto)?;
        (proto.kind == Kind::FuncProto).then_some(proto.vlen)
    }

    /// What programs can be attached to by number, as BTF for a reader of names: typed tracepoints, iterators, and `functions`. Every
    /// other type is there to be counted only, and those behind the last one are not.
    pub(super) fn attach_points(&self, functions: &[&str]) -> Vec<u8> {
        let mut types = Vec::with_capacity(self.offsets.len() * TYPE_LEN);
        let mut strings = vec![0];
        let mut end = 0;
        for id in 1..=self.offsets.len() as u32 {
            let name = self.attach_point(id, functions).unwrap_or_default();
            let (name_at, info) = match name {
                [] => (0, KIND_FWD << 24),
                _ => (strings.len() as u32, self.word_of(id, 4).unwrap_or_default()),
            };
            types.extend([name_at, info, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()));
            if !name.is_empty() {
                strings.extend(name.iter().chain(&[0]));
                end = types.len();
            }
        }
        types.truncate(end);
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

    /// The name of a type that stands for something to attach to.
    fn attach_point(&self, id: u32, functions: &[&str]) -> Option<&[u8]> {
        let kind = (self.word_of(id, 4)? >> 24) & 0x1f;
        if !matches!(kind, KIND_TYPEDEF | KIND_FUNC) {
            return None;
        }
        let name = self.name(self.word_of(id, 0)?);
        let wanted = if kind == KIND_TYPEDEF {
            name.starts_with(b"btf_trace_")
        } else {
            name.starts_with(b"bpf_iter_") || functions.iter().any(|function| function.as_bytes() == name)
        };
        wanted.then_some(name)
    }

    /// Byte offset of a field, through members of members and anonymous members.
    fn field(&self, field: KernelField) -> Option<u32> {
        let mut id = *self.structs.get(field.structure.as_bytes())?;
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
        if !matches!(entry.kind, Kind::Struct | Kind::Union) || depth > 8 {
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
            if entry.kind != Kind::Modifier {
                return Some(id);
            }
            id = entry.size_or_type;
        }
        None
    }

    /// The word at `at` in a type.
    fn word_of(&self, id: u32, at: usize) -> Option<u32> {
        let offset = *self.offsets.get((id as usize).checked_sub(1)?)? as usize;
        word(self.bytes.get(self.types.clone())?, offset + at)
    }

    fn get(&self, id: u32) -> Option<Type<'_>> {
        let types = self.bytes.get(self.types.clone())?;
        let offset = *self.offsets.get((id as usize).checked_sub(1)?)? as usize;
        let info = word(types, offset + 4)?;
        Some(Type {
            name: word(types, offset)?,
            kind: match (info >> 24) & 0x1f {
                4 => Kind::Struct,
                5 => Kind::Union,
                12 => Kind::Func,
                13 => Kind::FuncProto,
                8..=11 | 18 => Kind::Modifier,
                _ => Kind::Other,
            },
            vlen: (info & 0xffff) as usize,
            bitfields: info >> 31 != 0,
            size_or_type: word(types, offset + 8)?,
            data: types.get(offset + TYPE_LEN..)?,
        })
    }

    fn name(&self, offset: u32) -> &[u8] {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        let rest = strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{HEADER_LEN, KIND_FUNC, KIND_TYPEDEF, KernelBtf, MAGIC, TYPE_LEN};

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
        let ids = 1..=btf.offsets.len() as u32;
        let name = |id| String::from_utf8_lossy(btf.name(btf.word_of(id, 0).expect("a type"))).into_owned();
        ids.map(|id| (btf.word_of(id, 4).expect("a type") >> 24, name(id))).collect()
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
        let kernel = KernelBtf::parse(btf(&of_kernel)).expect("types");
        let points = KernelBtf::parse(kernel.attach_points(&["tcp_recvmsg"])).expect("what it wrote");
        let nothing = || (super::KIND_FWD, String::new());
        let kept = |index: usize| (of_kernel[index].0, of_kernel[index].1.to_owned());
        assert_eq!(types(&points), [nothing(), kept(1), kept(2), nothing(), kept(4)]);
    }

    #[test]
    fn damaged_types_are_an_error() {
        let whole = btf(&[(KIND_TYPEDEF, "u32")]);
        for length in 0..HEADER_LEN + TYPE_LEN {
            assert!(KernelBtf::parse(whole[..length].to_vec()).is_err(), "{length} bytes of it");
        }
        assert!(KernelBtf::parse(whole).is_ok());
    }
}
