//! The state of building one variant: what has been evaluated, which nodes there are, what has been said.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::ast::{self, Item};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::NodeId;
use crate::import::{Program, Unit, UnitId};
use crate::span::{SourceMap, Span};
use crate::suggest;
use crate::world::World;

/// Most nodes in a graph, and most turns of a loop.
pub(crate) const MAX_NODES: usize = 100_000;
/// How deep names may lead to names and calls into calls.
const MAX_DEPTH: usize = 300;
/// Did-you-mean costs a pass over all names; a file with thousands of unknown names gets it for the first ones.
const MAX_SUGGESTIONS: usize = 200;

/// Loop variables and loop-local `let`s, innermost last.
pub(crate) type Locals = Vec<(String, Val)>;

/// A node to be built: an item in one turn of its loops.
#[derive(Clone)]
pub(crate) struct Raw<'a> {
    pub(crate) unit: UnitId,
    pub(crate) item: &'a Item,
    pub(crate) locals: Rc<Locals>,
    pub(crate) name: String,
    pub(crate) name_span: Span,
}

/// Where an expression stands.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) unit: UnitId,
    pub(crate) locals: Rc<Locals>,
}

pub(crate) enum Memo {
    /// Being evaluated.
    Open,
    Done(Val),
}

/// One variant under construction.
pub(crate) struct Build<'a> {
    pub(crate) program: &'a Program,
    pub(crate) world: &'a dyn World,
    pub(crate) sources: &'a SourceMap,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Values of the recipe's parameters from `--set` and `sweep`.
    pub(crate) sets: BTreeMap<String, Val>,
    pub(crate) raws: Vec<Raw<'a>>,
    pub(crate) nodes: BTreeMap<(UnitId, usize), NodeId>,
    pub(crate) families: BTreeMap<(UnitId, String), BTreeMap<Member, NodeId>>,
    pub(crate) loops: BTreeMap<(UnitId, usize), bool>,
    pub(crate) values: BTreeMap<(UnitId, String), Memo>,
    /// Names being evaluated, for the message about a circle.
    pub(crate) trail: Vec<(UnitId, String, Span)>,
    pub(crate) used: BTreeSet<(UnitId, String)>,
    pub(crate) depth: usize,
    pub(crate) overflow: bool,
    /// A loop ran over nothing: what its body uses is not known to be used.
    pub(crate) skipped: bool,
    /// Turns of loops and comprehensions that may still be made.
    pub(crate) turns_left: usize,
    suggestions: usize,
}

/// The index of a member of a family. Numbers sort before texts, and by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Number(i64),
    Text(String),
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Member::Number(number) => write!(f, "{number}"),
            Member::Text(text) => f.write_str(text),
        }
    }
}

impl<'a> Build<'a> {
    pub(crate) fn new(
        program: &'a Program,
        world: &'a dyn World,
        sources: &'a SourceMap,
        sets: BTreeMap<String, Val>,
    ) -> Self {
        let mut build = Build {
            program,
            world,
            sources,
            diagnostics: Vec::new(),
            sets,
            raws: Vec::new(),
            nodes: BTreeMap::new(),
            families: BTreeMap::new(),
            loops: BTreeMap::new(),
            values: BTreeMap::new(),
            trail: Vec::new(),
            used: BTreeSet::new(),
            depth: 0,
            overflow: false,
            skipped: false,
            turns_left: 10 * MAX_NODES,
            suggestions: 0,
        };
        build.declare();
        build
    }

    /// Gives every item outside loops its node, so that values can refer to nodes that are not built yet.
    fn declare(&mut self) {
        let program = self.program;
        let none = Rc::new(Locals::new());
        for (unit, it) in program.units.iter().enumerate() {
            for (index, item) in it.file.items.iter().enumerate() {
                if it.scope.rejected.contains(&index) {
                    continue;
                }
                let named = match item {
                    Item::Model(model) if model.index.is_none() => Some(&model.name),
                    Item::Stage(stage) if stage.index.is_none() => Some(&stage.name),
                    Item::Data(data) => Some(&data.name),
                    _ => None,
                };
                if let Some(name) = named {
                    let raw = Raw {
                        unit,
                        item,
                        locals: none.clone(),
                        name: format!("{}{}", it.prefix, name.text),
                        name_span: name.span,
                    };
                    if let Some(id) = self.push(raw) {
                        self.nodes.insert((unit, index), id);
                    }
                }
            }
        }
    }

    pub(crate) fn unit(&self, unit: UnitId) -> &'a Unit {
        &self.program.units[unit]
    }

    pub(crate) fn item(&self, unit: UnitId, index: usize) -> &'a Item {
        &self.program.units[unit].file.items[index]
    }

    /// Adds a node, up to the limit.
    pub(crate) fn push(&mut self, raw: Raw<'a>) -> Option<NodeId> {
        if self.raws.len() >= MAX_NODES {
            if !self.overflow {
                self.overflow = true;
                self.say(
                    Diagnostic::new(
                        Code::TooManyVariants,
                        raw.item.span(),
                        format!("the recipe makes more than {MAX_NODES} nodes"),
                    )
                    .help("shorten the loops"),
                );
            }
            return None;
        }
        let id = NodeId(self.raws.len() as u32);
        self.raws.push(raw);
        Some(id)
    }

    pub(crate) fn raw(&self, id: NodeId) -> &Raw<'a> {
        &self.raws[id.0 as usize]
    }

    pub(crate) fn say(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Runs `inner` one level deeper, or complains once and gives up.
    pub(crate) fn deeper(&mut self, span: Span, inner: impl FnOnce(&mut Self) -> Val) -> Val {
        if self.depth >= MAX_DEPTH {
            self.say(
                Diagnostic::new(
                    Code::NestingTooDeep,
                    span,
                    format!("values lead to other values more than {MAX_DEPTH} steps deep"),
                )
                .help("shorten the chain of `let`s and calculations"),
            );
            return Val::Poison;
        }
        self.depth += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    /// Did-you-mean among all that can be named from here.
    pub(crate) fn similar(&mut self, place: &Place, word: &str) -> Option<String> {
        if self.suggestions >= MAX_SUGGESTIONS {
            return None;
        }
        self.suggestions += 1;
        let scope = &self.unit(place.unit).scope;
        let names = scope.names.keys().map(String::as_str);
        let locals = place.locals.iter().map(|(name, _)| name.as_str());
        suggest::closest(word, names.chain(locals)).map(str::to_owned)
    }

    /// "nothing is called `x`", with the nearest name.
    pub(crate) fn unknown(&mut self, place: &Place, word: &str, span: Span) {
        let mut diagnostic = Diagnostic::new(Code::UnknownName, span, format!("nothing is called `{word}`"))
            .label("unknown name");
        if let Some(near) = self.similar(place, word) {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?")).fix(
                format!("change it to `{near}`"),
                span,
                near,
            );
        }
        self.say(diagnostic);
    }

    /// The text of a place, for messages.
    pub(crate) fn source(&self, span: Span) -> &'a str {
        self.sources.text(span)
    }

    /// A place outside loops.
    pub(crate) fn top(&self, unit: UnitId) -> Place {
        Place { unit, locals: Rc::new(Locals::new()) }
    }

    /// The fields of the `with { … }` that gave this instance its parameters.
    pub(crate) fn given(&self, unit: UnitId) -> Option<(UnitId, &'a [ast::Field])> {
        let (parent, index) = self.unit(unit).parent?;
        match self.item(parent, index) {
            Item::Import(import) => Some((parent, &import.with)),
            _ => None,
        }
    }
}
