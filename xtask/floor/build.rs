//! Builds the BPF programs and leaves their objects in `OUT_DIR`, from where the binary embeds them.

#[path = "../build_ebpf.rs"]
mod build_ebpf;

fn main() -> anyhow::Result<()> {
    build_ebpf::build("tcpstate-floor-ebpf", "../floor-ebpf", &["../../tcpstate-common"])
}
