//! Programs of an unprivileged user that attack the tracer with what it reads of them.
//!
//! Each test has a stage of its own with a good neighbour. README.md here says how to try one by hand.

mod attack;
mod elf;
mod leaks;
mod opened;
mod record;
mod run;
mod stage;
mod tracer;
mod verdicts;
mod watch;

use std::io;

use anyhow::{Context, Result};
use libtest_mimic::Trial;

use stage::Stage;

pub(crate) use stage::build;

pub(crate) fn trials() -> Vec<Trial> {
    [leaks::trials(), record::trials(), run::trials()].into_iter().flatten().collect()
}

/// Prepares attacks by name, begins them with the first line of standard input, has the neighbour leak with every line, and ends all
/// with the end of input; without a name lists what there is.
pub(crate) fn by_hand(names: &[String]) -> Result<()> {
    let all = attack::all();
    if names.is_empty() {
        all.iter().for_each(|attack| println!("{}", attack.name));
        return Ok(());
    }
    let named =
        |name: &String| all.iter().find(|attack| attack.name == *name).with_context(|| format!("no attack `{name}`"));
    let attacks = names.iter().map(named).collect::<Result<Vec<_>>>()?;
    let mut stage = Stage::new()?;
    attacks.iter().try_for_each(|attack| stage.prepare(attack))?;
    let pid = stage.neighbour.pid;
    println!(
        "nsenter --mount=/proc/{pid}/ns/mnt tcpstate leaks --netns /proc/{pid}/ns/net --interval 1s --older-than 50ms"
    );
    println!("trace it now; the next line of input begins the attack");
    let (mut attackers, mut late) = (Vec::new(), true);
    for line in io::stdin().lines() {
        line?;
        if attackers.is_empty() {
            for attack in &attacks {
                let attacker = stage.start(attack)?;
                println!("{}: process {}, {} sockets", attack.name, attacker.pid, attack.sockets);
                attackers.push(attacker);
            }
        }
        late = !late;
        println!("the neighbour: process {pid}, {} sockets", stage.neighbour_leaks(late)?);
    }
    Ok(())
}
