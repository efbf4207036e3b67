//! Cycles in a graph of files.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

/// Files, and what each takes from which.
#[derive(Debug, Default)]
pub(super) struct Graph(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

/// One import of a cycle.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    from: String,
    to: String,
    names: Vec<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}: {}", self.from, self.to, self.names.join(", "))
    }
}

impl Graph {
    /// `from` takes `name` from `to`. What a file has itself it does not take.
    pub(super) fn add(&mut self, from: &str, to: &str, name: String) {
        if from != to {
            self.0.entry(from.to_owned()).or_default().entry(to.to_owned()).or_default().insert(name);
        }
    }

    /// The shortest cycle, then the shortest that is left without the import of the fewest names of it, and so on: without all these
    /// imports none is left.
    pub(super) fn into_cycles(mut self) -> Vec<Vec<Step>> {
        let mut cycles = Vec::new();
        while let Some(cycle) = self.shortest_cycle() {
            if let Some(lightest) = cycle.iter().min_by_key(|step| step.names.len())
                && let Some(taken) = self.0.get_mut(&lightest.from)
            {
                taken.remove(&lightest.to);
            }
            cycles.push(cycle);
        }
        cycles
    }

    fn shortest_cycle(&mut self) -> Option<Vec<Step>> {
        self.drop_leaves();
        let cycles = self.0.keys().filter_map(|file| self.way_back(file));
        let files = cycles.min_by_key(Vec::len)?;
        let steps = files.iter().zip(files.iter().cycle().skip(1)).map(|(from, to)| Step {
            from: (*from).clone(),
            to: (*to).clone(),
            names: self.0[*from][*to].iter().cloned().collect(),
        });
        Some(steps.collect())
    }

    /// Files that take nothing are in no cycle, and neither is what takes from such files only.
    fn drop_leaves(&mut self) {
        loop {
            let before = self.0.len();
            let files: BTreeSet<String> = self.0.keys().cloned().collect();
            self.0.retain(|_, taken| {
                taken.retain(|to, _| files.contains(to));
                !taken.is_empty()
            });
            if self.0.len() == before {
                return;
            }
        }
    }

    /// The files of the shortest cycle through `start`, which is the first of them.
    fn way_back(&self, start: &String) -> Option<Vec<&String>> {
        let mut came_from: BTreeMap<&String, &String> = BTreeMap::new();
        let mut next = VecDeque::from([self.0.get_key_value(start)?.0]);
        while let Some(file) = next.pop_front() {
            for to in self.0.get(file)?.keys() {
                if to == start {
                    let mut files = vec![file];
                    while let Some(&before) = files.last().and_then(|file| came_from.get(file)) {
                        files.push(before);
                    }
                    files.reverse();
                    return Some(files);
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, file);
                    next.push_back(to);
                }
            }
        }
        None
    }
}
