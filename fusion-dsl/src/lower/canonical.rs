//! The canonical graph of one variant: broken nodes and circles taken out, seeds drawn, nodes in an order that depends on
//! content alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::items::added;
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::graph::{Graph, ModelSource, Node, NodeId, NodeKind, PluginUse, Value};
use crate::hash::{Key, node_key};
use crate::resolve::build::Raw;
use crate::world::World;

use super::order;

/// Input lists by node, for nodes that were built.
type Inputs = Vec<Option<Vec<NodeId>>>;

/// What is left, in canonical order, and the circles.
pub(crate) fn canonical(
    built: Vec<Option<Node>>,
    raws: &[Raw<'_>],
    plugins: Vec<PluginUse>,
    edition: u32,
    world: &dyn World,
) -> (Graph, Vec<Diagnostic>) {
    let mut inputs: Inputs = built.iter().map(|node| node.as_ref().map(order::inputs)).collect();
    let (sorted, waiting) = topological(&inputs);
    let mut diagnostics = circles(&inputs, &waiting, raws);
    // A node with a broken input is broken too, silently: the cause has been reported.
    let mut alive = vec![false; built.len()];
    for id in &sorted {
        let ready =
            inputs[id.0 as usize].as_ref().is_some_and(|ids| ids.iter().all(|id| alive[id.0 as usize]));
        alive[id.0 as usize] = ready;
    }
    prune_imports(&inputs, raws, &mut alive);

    let mut nodes: Vec<Node> = built
        .into_iter()
        .map(|node| {
            node.unwrap_or_else(|| Node {
                name: String::new(),
                kind: NodeKind::Data { source: String::new(), sets: Vec::new(), settings: Vec::new() },
                span: crate::span::Span::NONE,
                name_span: crate::span::Span::NONE,
            })
        })
        .collect();
    let mut keys: Vec<Option<Key>> = vec![None; nodes.len()];
    let mut drawn: BTreeMap<Key, usize> = BTreeMap::new();
    for id in &sorted {
        let at = id.0 as usize;
        if !alive[at] {
            inputs[at] = None;
            continue;
        }
        let mut key = node_key(&nodes[at], &nodes, |id| keys[id.0 as usize]);
        if let NodeKind::Stage(stage) = &mut nodes[at].kind
            && !stage.settings.iter().any(|setting| setting.name == "seed")
            && world.method(stage.verb, &stage.method).is_some_and(|method| method.random)
        {
            stage.settings.push(added("seed", drawn_seed(&key)));
            key = node_key(&nodes[at], &nodes, |id| keys[id.0 as usize]);
        }
        if let NodeKind::Model { source: ModelSource::Network { name, from: None, .. }, settings } =
            &mut nodes[at].kind
            && !settings.iter().any(|setting| setting.name == "seed")
            && world.networks().iter().any(|block| block.id == *name)
        {
            settings.push(added("seed", drawn_seed(&key)));
            key = node_key(&nodes[at], &nodes, |id| keys[id.0 as usize]);
            let first = *drawn.entry(key).or_insert(at);
            if first != at {
                diagnostics.push(same_network(&raws[first], &raws[at]));
            }
        }
        keys[at] = Some(key);
    }
    let ranks = ranked(&inputs, &keys, &nodes);
    let mut place = vec![NodeId(u32::MAX); nodes.len()];
    for (rank, id) in ranks.iter().enumerate() {
        place[id.0 as usize] = NodeId(rank as u32);
    }
    let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let nodes = ranks
        .iter()
        .filter_map(|id| slots[id.0 as usize].take())
        .map(|mut node| {
            order::each_input(&mut node, &mut |id| *id = place[id.0 as usize]);
            node
        })
        .collect();
    (Graph { edition, plugins, nodes }, diagnostics)
}

fn same_network(first: &Raw<'_>, second: &Raw<'_>) -> Diagnostic {
    let (name, other) = (&second.name, &first.name);
    let mut diagnostic = Diagnostic::new(
        Code::SameNetwork,
        second.name_span,
        format!("the network `{name}` starts from the same weights as `{other}`"),
    )
    .note(
        "weights are drawn from the seed and the architecture; without a seed, from the architecture alone",
    );
    if first.name_span != second.name_span {
        diagnostic = diagnostic.secondary(first.name_span, "the same network");
    }
    diagnostic.help("give each a seed of its own: `{ seed = 1 }`")
}

/// A seed from what a node computes, so that names and other nodes do not matter.
fn drawn_seed(key: &Key) -> Value {
    Value::Number(f64::from(u32::from_le_bytes([key[0], key[1], key[2], key[3]])))
}

/// Kahn's algorithm in the order of the text; broken nodes count as having no inputs. Gives what is left in or behind circles.
fn topological(inputs: &Inputs) -> (Vec<NodeId>, BTreeSet<NodeId>) {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); inputs.len()];
    let mut missing = vec![0usize; inputs.len()];
    for (at, ids) in inputs.iter().enumerate() {
        for id in ids.iter().flatten() {
            users[id.0 as usize].push(at);
            missing[at] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..inputs.len()).filter(|at| missing[*at] == 0).rev().collect();
    let mut sorted = Vec::with_capacity(inputs.len());
    while let Some(at) = ready.pop() {
        sorted.push(NodeId(at as u32));
        for user in &users[at] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    let waiting = (0..inputs.len()).filter(|at| missing[*at] > 0).map(|at| NodeId(at as u32)).collect();
    (sorted, waiting)
}

/// One message for each circle among the nodes that wait for each other.
fn circles(inputs: &Inputs, waiting: &BTreeSet<NodeId>, raws: &[Raw<'_>]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    for start in waiting {
        // Every waiting node has a waiting input: following the first one ends in a circle, or where we have been.
        let mut path = Vec::new();
        let mut on_path = BTreeSet::new();
        let mut at = *start;
        while !seen.contains(&at) && on_path.insert(at) {
            path.push(at);
            let next = inputs[at.0 as usize].iter().flatten().find(|id| waiting.contains(id));
            match next {
                Some(next) => at = *next,
                None => break,
            }
        }
        if let Some(first) = path.iter().position(|id| *id == at).filter(|_| !seen.contains(&at)) {
            let circle = &path[first..];
            let name = |id: &NodeId| format!("`{}`", raws[id.0 as usize].name);
            let mut names: Vec<String> = circle.iter().take(12).map(name).collect();
            if circle.len() > 12 {
                names.push("…".to_owned());
            }
            names.push(name(&circle[0]));
            let mut diagnostic = Diagnostic::new(
                Code::Cycle,
                raws[circle[0].0 as usize].name_span,
                format!("{} depends on itself", name(&circle[0])),
            )
            .note(names.join(" needs "));
            for id in circle.iter().skip(1).take(3) {
                diagnostic = diagnostic.secondary(raws[id.0 as usize].name_span, "in the circle");
            }
            diagnostics.push(diagnostic);
        }
        seen.extend(path);
    }
    diagnostics
}

/// Of imported recipes, only what is used takes part.
fn prune_imports(inputs: &Inputs, raws: &[Raw<'_>], alive: &mut [bool]) {
    let mut needed = vec![false; alive.len()];
    let mut stack: Vec<usize> = (0..alive.len()).filter(|at| alive[*at] && raws[*at].unit == 0).collect();
    while let Some(at) = stack.pop() {
        if std::mem::replace(&mut needed[at], true) {
            continue;
        }
        stack.extend(inputs[at].iter().flatten().map(|id| id.0 as usize));
    }
    for (alive, needed) in alive.iter_mut().zip(needed) {
        *alive = *alive && needed;
    }
}

/// Topological order in which, among what could come next, the smallest key does; equal content by name.
fn ranked(inputs: &Inputs, keys: &[Option<Key>], nodes: &[Node]) -> Vec<NodeId> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); inputs.len()];
    let mut missing = vec![0usize; inputs.len()];
    for (at, ids) in inputs.iter().enumerate() {
        if keys[at].is_some() {
            for id in ids.iter().flatten() {
                users[id.0 as usize].push(at);
                missing[at] += 1;
            }
        }
    }
    let entry = |at: usize| keys[at].map(|key| (key, nodes[at].name.clone(), at));
    let mut ready: BTreeSet<(Key, String, usize)> =
        (0..inputs.len()).filter(|at| missing[*at] == 0).filter_map(entry).collect();
    let mut ranks = Vec::new();
    while let Some((_, _, at)) = ready.pop_first() {
        ranks.push(NodeId(at as u32));
        for user in &users[at] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.extend(entry(*user));
            }
        }
    }
    ranks
}
