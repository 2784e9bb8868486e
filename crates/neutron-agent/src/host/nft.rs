//! nftables as text: a table as a value, the script that makes it, and the script that leads from one to another. Pure; [`super::ruleset`]
//! brings the scripts to the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One table of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// `inet`, `bridge` or `ip`
    pub family: &'static str,
    pub name: &'static str,
    pub sets: BTreeMap<String, Set>,
    /// By name, so that they live through changes of the rules that count.
    pub counters: BTreeSet<String>,
    pub chains: BTreeMap<String, Chain>,
}

/// A named set, or a map when its elements have values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// `set` or `map`
    keyword: &'static str,
    /// `type ifname;`
    spec: String,
    elements: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// `type filter hook forward priority 0; policy accept;`
    hook: Option<String>,
    rules: Vec<String>,
}

impl Table {
    pub fn new(family: &'static str, name: &'static str) -> Table {
        Table { family, name, ..Table::default() }
    }

    pub fn set(&mut self, name: impl Into<String>, spec: &str, elements: impl IntoIterator<Item = String>) {
        let elements = elements.into_iter().map(|e| (e, None)).collect();
        self.sets.insert(name.into(), Set { keyword: "set", spec: spec.into(), elements });
    }

    pub fn map(&mut self, name: impl Into<String>, spec: &str, elements: impl IntoIterator<Item = (String, String)>) {
        let elements = elements.into_iter().map(|(k, v)| (k, Some(v))).collect();
        self.sets.insert(name.into(), Set { keyword: "map", spec: spec.into(), elements });
    }

    /// A chain of the kernel's own hooks.
    pub fn hook(&mut self, name: &str, hook: &str, rules: Vec<String>) {
        self.chains.insert(name.into(), Chain { hook: Some(format!("{hook}; policy accept;")), rules });
    }

    /// A chain to jump to.
    pub fn chain(&mut self, name: impl Into<String>, rules: Vec<String>) {
        self.chains.insert(name.into(), Chain { hook: None, rules });
    }

    /// The rules of a chain; none when there is no such chain.
    pub fn rules(&self, chain: &str) -> &[String] {
        self.chains.get(chain).map(|c| c.rules.as_slice()).unwrap_or_default()
    }

    /// The script that puts this table in the place of whatever bears its name, in one transaction.
    pub fn replace(&self) -> String {
        let mut script = self.delete();
        let _ = writeln!(script, "table {} {} {{", self.family, self.name);
        for (name, set) in &self.sets {
            let _ = writeln!(script, " {} {name} {{ {} }}", set.keyword, set.spec);
        }
        for name in &self.counters {
            let _ = writeln!(script, " counter {name} {{ }}");
        }
        for (name, chain) in &self.chains {
            let _ = writeln!(script, " chain {name} {{ {} }}", chain.hook.as_deref().unwrap_or_default());
        }
        script.push_str("}\n");
        for (name, chain) in &self.chains {
            self.add_rules(&mut script, name, &chain.rules);
        }
        for (name, set) in &self.sets {
            self.elements(&mut script, "add", name, set.elements.iter());
        }
        script
    }

    /// The script that removes the table, if it is there.
    pub fn delete(&self) -> String {
        let (family, name) = (self.family, self.name);
        format!("table {family} {name}\ndelete table {family} {name}\n")
    }

    /// The script that leads from `self`, as the kernel has it, to `new`; empty when nothing differs.
    pub fn diff(&self, new: &Table) -> String {
        if !self.same_frame(new) {
            return new.replace();
        }
        let mut script = String::new();
        let id = format!("{} {}", self.family, self.name);
        for (name, set) in new.sets.iter().filter(|(name, _)| !self.sets.contains_key(*name)) {
            let _ = writeln!(script, "add {} {id} {name} {{ {} }}", set.keyword, set.spec);
        }
        for name in new.counters.difference(&self.counters) {
            let _ = writeln!(script, "add counter {id} {name}");
        }
        for (name, _) in new.chains.iter().filter(|(name, _)| !self.chains.contains_key(*name)) {
            let _ = writeln!(script, "add chain {id} {name}");
        }
        for (name, old) in &self.sets {
            let keeps =
                |element: &(&String, &Option<String>)| new.sets.get(name).is_some_and(|set| set.elements.get(element.0) == Some(element.1));
            new.elements(&mut script, "delete", name, old.elements.iter().filter(|e| !keeps(e)));
        }
        for (name, old) in &self.chains {
            if new.chains.get(name).is_none_or(|chain| chain != old) && !old.rules.is_empty() {
                let _ = writeln!(script, "flush chain {id} {name}");
            }
        }
        for (name, chain) in new.chains.iter().filter(|(name, chain)| self.chains.get(*name) != Some(chain)) {
            new.add_rules(&mut script, name, &chain.rules);
        }
        for (name, set) in &new.sets {
            let had = |element: &(&String, &Option<String>)| {
                self.sets.get(name).is_some_and(|set| set.elements.get(element.0) == Some(element.1))
            };
            new.elements(&mut script, "add", name, set.elements.iter().filter(|e| !had(e)));
        }
        for (name, _) in self.chains.iter().filter(|(name, _)| !new.chains.contains_key(*name)) {
            let _ = writeln!(script, "delete chain {id} {name}");
        }
        for (name, set) in self.sets.iter().filter(|(name, _)| !new.sets.contains_key(*name)) {
            let _ = writeln!(script, "delete {} {id} {name}", set.keyword);
        }
        for name in self.counters.difference(&new.counters) {
            let _ = writeln!(script, "delete counter {id} {name}");
        }
        script
    }

    /// Hooks and set types cannot be changed in place.
    fn same_frame(&self, new: &Table) -> bool {
        let chains = self.chains.iter().all(|(name, old)| new.chains.get(name).is_none_or(|c| c.hook == old.hook));
        let hooks = new.chains.iter().all(|(name, c)| c.hook.is_none() || self.chains.contains_key(name));
        let sets = self.sets.iter().all(|(name, old)| new.sets.get(name).is_none_or(|s| s.spec == old.spec && s.keyword == old.keyword));
        chains && hooks && sets
    }

    fn add_rules(&self, script: &mut String, chain: &str, rules: &[String]) {
        for rule in rules {
            let _ = writeln!(script, "add rule {} {} {chain} {rule}", self.family, self.name);
        }
    }

    /// Element statements, some hundred elements to a line.
    fn elements<'a>(&self, script: &mut String, verb: &str, set: &str, elements: impl Iterator<Item = (&'a String, &'a Option<String>)>) {
        let deleting = verb == "delete";
        let texts: Vec<String> = elements
            .map(|(key, value)| match value {
                Some(value) if !deleting => format!("{key} : {value}"),
                _ => key.clone(),
            })
            .collect();
        for chunk in texts.chunks(200) {
            let _ = writeln!(script, "{verb} element {} {} {set} {{ {} }}", self.family, self.name, chunk.join(", "));
        }
    }
}

/// A listing of tables by `nft`, put in an order of its own: the kernel lists chains in the order in which they came.
pub fn canonical(listing: &str) -> String {
    let mut blocks: Vec<String> = vec![];
    let mut table = "";
    for line in listing.lines().filter(|line| !matches!(line.trim(), "" | "}")) {
        match blocks.last_mut() {
            Some(block) if line.starts_with("\t\t") => {
                block.push_str(line);
                block.push('\n');
            }
            _ if line.starts_with('\t') => blocks.push(format!("{table}\n{line}\n")),
            _ => {
                table = line;
                blocks.push(format!("{line}\n"));
            }
        }
    }
    blocks.sort();
    blocks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("inet", "cumulo_test");
        table.set("bridges", "type ifname;", ["\"cub1\"".to_owned()]);
        table.map("ports", "type mark : verdict;", [("1".to_owned(), "jump port-1".to_owned())]);
        table.hook("forward", "type filter hook forward priority 0", vec!["meta mark vmap @ports".into(), "drop".into()]);
        table.chain("port-1", vec!["tcp dport 22 accept".into()]);
        table
    }

    #[test]
    fn a_table_is_replaced_as_a_whole() {
        let script = table().replace();
        assert!(script.starts_with("table inet cumulo_test\ndelete table inet cumulo_test\ntable inet cumulo_test {\n"));
        assert!(script.contains(" chain forward { type filter hook forward priority 0; policy accept; }\n"));
        assert!(script.contains("add rule inet cumulo_test port-1 tcp dport 22 accept\n"));
        assert!(script.ends_with("add element inet cumulo_test ports { 1 : jump port-1 }\n"));
    }

    #[test]
    fn equal_tables_need_nothing() {
        assert_eq!(table().diff(&table()), "");
    }

    #[test]
    fn a_difference_is_a_few_statements_in_an_order_the_kernel_takes() {
        let mut new = table();
        new.chains.remove("port-1");
        new.chain("port-2", vec!["accept".into()]);
        new.map("ports", "type mark : verdict;", [("2".to_owned(), "jump port-2".to_owned())]);
        let expected = "add chain inet cumulo_test port-2\n\
                        delete element inet cumulo_test ports { 1 }\n\
                        flush chain inet cumulo_test port-1\n\
                        add rule inet cumulo_test port-2 accept\n\
                        add element inet cumulo_test ports { 2 : jump port-2 }\n\
                        delete chain inet cumulo_test port-1\n";
        assert_eq!(table().diff(&new), expected);
    }

    #[test]
    fn counters_outlive_the_rules_that_count() {
        let mut counting = table();
        counting.counters.insert("label-1".into());
        counting.chain("port-1", vec!["counter name label-1 accept".into()]);
        assert!(counting.replace().contains(" counter label-1 { }\n chain"));
        let script = table().diff(&counting);
        assert!(script.starts_with("add counter inet cumulo_test label-1\n"), "{script}");
        assert!(counting.diff(&table()).ends_with("delete counter inet cumulo_test label-1\n"));
        let mut more = counting.clone();
        more.chain("port-1", vec!["ip daddr 192.0.2.1 counter name label-1 accept".into()]);
        assert!(!counting.diff(&more).contains("counter inet"));
    }

    #[test]
    fn a_changed_hook_replaces_the_table() {
        let mut new = table();
        new.hook("forward", "type filter hook forward priority 10", vec![]);
        assert!(table().diff(&new).contains("delete table inet cumulo_test"));
    }

    #[test]
    fn listings_compare_in_any_order() {
        let a = "table inet t {\n\tchain a {\n\t\taccept\n\t}\n\n\tchain b {\n\t\tdrop\n\t}\n}\n";
        let b = "table inet t {\n\tchain b {\n\t\tdrop\n\t}\n\n\tchain a {\n\t\taccept\n\t}\n}\n";
        assert_eq!(canonical(a), canonical(b));
        assert_ne!(canonical(a), canonical(&b.replace("drop", "accept")));
        let other = b.replace("inet t", "inet u");
        assert_eq!(canonical(&format!("{a}{other}")), canonical(&format!("{other}{b}")), "tables in any order, too");
    }
}
