//! In which order kernel modules are loaded.

use std::{collections::BTreeMap, path::Path};

/// The files of the modules called `wanted` and of what they depend on, dependencies first, by the text of `modules.dep`,
/// where each line is `FILE: FILE…`. Modules that the kernel has built in are not in it and left out.
pub(crate) fn in_order<'a>(dependencies: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    let files: BTreeMap<&str, &str> = lines.map(|(file, needs)| (file.trim(), needs)).collect();
    let mut order = Vec::new();
    for name in wanted {
        if let Some(file) = files.keys().find(|file| name_of(file) == *name) {
            load(file, &files, &mut order, 0);
        }
    }
    order
}

/// `tcp_diag` of `kernel/net/ipv4/tcp_diag.ko.xz`.
fn name_of(file: &str) -> &str {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    name.split_once(".ko").map_or(name, |(name, _)| name)
}

fn load<'a>(file: &'a str, files: &BTreeMap<&'a str, &'a str>, order: &mut Vec<&'a str>, depth: usize) {
    // Modules that depended on themselves could not be loaded by anybody; depmod leaves them out.
    if order.contains(&file) || depth > files.len() {
        return;
    }
    for needed in files.get(file).into_iter().flat_map(|needs| needs.split_whitespace()) {
        load(needed, files, order, depth + 1);
    }
    order.push(file);
}

#[cfg(test)]
mod tests {
    use super::in_order;

    const DEPENDENCIES: &str = "\
kernel/net/mptcp/mptcp_diag.ko.xz: kernel/net/ipv4/inet_diag.ko.xz
kernel/net/ipv4/inet_diag.ko.xz:
kernel/net/ipv4/tcp_diag.ko.xz: kernel/net/ipv4/inet_diag.ko.xz
kernel/drivers/net/veth.ko.xz:
kernel/fs/overlayfs/overlay.ko: kernel/a.ko kernel/b.ko
kernel/a.ko: kernel/b.ko
kernel/b.ko:
";

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let order = in_order(DEPENDENCIES, &["tcp_diag", "mptcp_diag", "inet_diag", "overlay"]);
        assert_eq!(
            order,
            [
                "kernel/net/ipv4/inet_diag.ko.xz",
                "kernel/net/ipv4/tcp_diag.ko.xz",
                "kernel/net/mptcp/mptcp_diag.ko.xz",
                "kernel/b.ko",
                "kernel/a.ko",
                "kernel/fs/overlayfs/overlay.ko",
            ]
        );
    }

    #[test]
    fn what_is_built_in_is_left_out() {
        assert_eq!(in_order(DEPENDENCIES, &["dummy", "veth"]), ["kernel/drivers/net/veth.ko.xz"]);
        assert_eq!(in_order("", &["veth"]), [""; 0]);
    }
}
