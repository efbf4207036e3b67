//! Builds the BPF programs and leaves the object in `OUT_DIR/tcpstate-ebpf`, from where the binary embeds it.

#[path = "../xtask/build_ebpf.rs"]
mod build_ebpf;

fn main() -> anyhow::Result<()> {
    build_ebpf::build("tcpstate-ebpf", "../tcpstate-ebpf", &["../tcpstate-common"])
}
