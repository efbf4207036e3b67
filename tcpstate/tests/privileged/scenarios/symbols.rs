//! Which functions a process has: by the symbol tables of what it has mapped, and by its perf map.

use std::{cell::OnceCell, collections::HashSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use super::{
    compile,
    expected::{Stack, plain_name, words},
    proc,
};

/// Names of the functions of a process.
pub(crate) struct Functions {
    pid: u32,
    /// Read when first asked for: some interpreters have a hundred thousand.
    compiled: OnceCell<HashSet<String>>,
    /// `None` where the interpreter does not tell, or where there is none.
    interpreted: Option<HashSet<String>>,
}

impl Functions {
    pub(crate) fn of(pid: u32, has_perf_map: bool) -> Result<Self> {
        let interpreted = has_perf_map.then(|| perf_map(pid)).transpose()?;
        Ok(Self { pid, compiled: OnceCell::new(), interpreted })
    }

    /// An error unless all that a stack has to show exists.
    pub(crate) fn check(&self, stack: &Stack) -> Result<()> {
        for function in stack.functions {
            let inlined = stack.inlined.contains(function);
            ensure!(self.compiled()?.contains(*function) != inlined, "`{function}`: symbol and inlined, or neither");
        }
        for function in stack.interpreted {
            let known = self.interpreted.as_ref().is_none_or(|known| known.contains(*function));
            ensure!(known, "`{function}` is not in the perf map");
        }
        if let Some((file, text)) = stack.line {
            let source = fs::read_to_string(compile::source(file))?;
            let lines = source.lines().filter(|line| line.contains(text)).count();
            ensure!(lines == 1, "`{text}` is on {lines} lines of `{file}`");
        }
        Ok(())
    }

    fn compiled(&self) -> Result<&HashSet<String>> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled);
        }
        let mut compiled = HashSet::new();
        for file in proc::executables(self.pid)? {
            let symbols = symbols(&file, "--debug-syms")?;
            // Stripped: what is left are the names that others link to.
            compiled.extend(if symbols.is_empty() { self::symbols(&file, "--dynamic")? } else { symbols });
        }
        Ok(self.compiled.get_or_init(|| compiled))
    }
}

fn symbols(file: &Path, table: &str) -> Result<Vec<String>> {
    let nm = Command::new("nm").args(["--demangle", "--defined-only", table]).arg(file).output().context("`nm`")?;
    // Of a file without symbols it says so on standard error.
    let listed = String::from_utf8_lossy(&nm.stdout);
    let names = listed.lines().filter_map(|line| line.splitn(3, ' ').nth(2));
    Ok(names.map(|name| plain_name(name).to_owned()).collect())
}

fn perf_map(pid: u32) -> Result<HashSet<String>> {
    let path = proc::perf_map(pid);
    let map = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
    Ok(map.lines().flat_map(words).map(str::to_owned).collect())
}
