//! The running kernel's type information: offsets of fields and numbers of arguments.
//!
//! aya keeps its own reader's members private, and a general BTF crate takes 180 ms for what is needed here in 5.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::{collections::HashMap, fs, io, path::Path};

use tcpstate_common::layout::{ABSENT, KernelField, Layout};

/// Where the kernel shows its BTF (`CONFIG_DEBUG_INFO_BTF`).
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;

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
    types: Vec<u8>,
    strings: Vec<u8>,
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
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let header = bytes.get(..HEADER_LEN).ok_or(BtfError::Malformed("it ends within its header"))?;
        if u16::from_ne_bytes([header[0], header[1]]) != MAGIC {
            return Err(BtfError::Malformed("it does not begin with BTF's magic number"));
        }
        let [header_len, type_off, type_len, string_off, string_len] =
            [4, 8, 12, 16, 20].map(|at| word(header, at).unwrap_or_default() as usize);
        let section = |offset: usize, len: usize| {
            let start = header_len.checked_add(offset)?;
            bytes.get(start..start.checked_add(len)?)
        };
        let types = section(type_off, type_len).ok_or(BtfError::Malformed("its types lie outside of it"))?;
        let strings = section(string_off, string_len).ok_or(BtfError::Malformed("its strings lie outside of it"))?;
        let mut btf = Self {
            types: types.to_vec(),
            strings: strings.to_vec(),
            offsets: Vec::with_capacity(types.len() / 24),
            structs: HashMap::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut offset = 0;
        while offset < self.types.len() {
            let info = word(&self.types, offset + 4).ok_or(BtfError::Malformed("it ends within a type"))?;
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
            if offset > self.types.len() {
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

    fn get(&self, id: u32) -> Option<Type<'_>> {
        let offset = *self.offsets.get((id as usize).checked_sub(1)?)? as usize;
        let info = word(&self.types, offset + 4)?;
        Some(Type {
            name: word(&self.types, offset)?,
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
            size_or_type: word(&self.types, offset + 8)?,
            data: self.types.get(offset + TYPE_LEN..)?,
        })
    }

    fn name(&self, offset: u32) -> &[u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}
