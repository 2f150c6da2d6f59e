//! Graphs of what names what, and their cycles.

use std::collections::{BTreeMap, BTreeSet};

/// From each node to the nodes that it names, with an example of where.
pub(super) type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the nodes that are in a cycle, or on a way from one cycle to another.
fn nodes_in_cycles(graph: &Graph) -> BTreeSet<&String> {
    let targets = graph.values().flat_map(BTreeMap::keys);
    let mut left: BTreeSet<&String> = graph.keys().chain(targets).collect();
    loop {
        let names_none = |node: &String| !graph.get(node).is_some_and(|to| to.keys().any(|to| left.contains(to)));
        let is_unnamed = |node: &String| {
            !left
                .iter()
                .any(|from| graph.get(*from).is_some_and(|to| to.contains_key(node)))
        };
        let Some(done) = left.iter().copied().find(|node| names_none(node) || is_unnamed(node)) else {
            return left;
        };
        left.remove(done);
    }
}

/// Describes the arrows that are in a cycle.
pub(super) fn arrows_in_cycles(graph: &Graph) -> Vec<String> {
    let left = nodes_in_cycles(graph);
    let mut arrows = Vec::new();
    for from in &left {
        let within = graph[*from].iter().filter(|(to, _)| left.contains(to));
        arrows.extend(within.map(|(to, example)| format!("{from} -> {to}: {example}")));
    }
    arrows
}

#[test]
fn a_cycle_is_found() {
    let graph = |arrows: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            let arrows = graph.entry((*from).to_owned()).or_default();
            arrows.insert((*to).to_owned(), "x".to_owned());
        }
        graph
    };
    let acyclic = graph(&[("a", "b"), ("b", "c"), ("a", "c")]);
    assert!(arrows_in_cycles(&acyclic).is_empty());
    let cyclic = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]);
    assert_eq!(arrows_in_cycles(&cyclic), ["b -> c: x", "c -> b: x"]);
}
