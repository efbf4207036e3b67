//! Writing a record without leaving anything out.

/// Writes the fields of a record: `field: value` first, then `[fields] => |record| work`, where `work` writes those fields. A record of
/// which a field is not named does not compile.
///
/// Has to be called where writing to `$record` is safe.
macro_rules! write_record {
    ($record:expr, $type:ident {
        $($field:ident: $value:expr),*
        $(; [$($part:ident),+] => |$whole:ident| $work:expr)*
    }) => {{
        let record: *mut $type = $record;
        let _ = |$type { $($field: _,)* $($($part: _,)+)* }: $type| {};
        $((&raw mut (*record).$field).write($value);)*
        $({
            let $whole = record;
            $work
        })*
    }};
}
pub(super) use write_record;
