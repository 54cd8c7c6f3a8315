//! Uses of names: through loops, scopes, imports, indices and parts to a value or a node.

use crate::ast::{Expr, Index, Name, Reference};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::eval::value::{Val, whole};
use crate::graph::Ref;
use crate::span::Span;
use crate::suggest;

use super::build::{Build, Member, Place};
use super::scope::Binding;
use crate::descriptor::Space;

/// What a reference means.
pub(crate) enum Target {
    /// A node and what is said of it after the name: a part or a fact.
    Node(Ref, Vec<Name>),
    Value(Val),
    /// One bare word that names nothing here.
    Word(String),
    /// Reported.
    Poison,
}

impl Build<'_> {
    /// The value of a reference; nodes' facts have none before the run.
    pub(crate) fn eval_reference(&mut self, place: &Place, reference: &Reference) -> Val {
        match self.resolve(place, reference) {
            Target::Value(value) => value,
            Target::Word(word) => Val::Word(word),
            Target::Poison => Val::Poison,
            Target::Node(node, rest) => self.part(node, &rest, reference.span),
        }
    }

    fn part(&mut self, node: Ref, rest: &[Name], span: Span) -> Val {
        let [part] = rest else {
            if rest.is_empty() {
                return Val::Node(node);
            }
            let name = &self.raw(node.node).name;
            let message = format!("`{name}` has no such part");
            self.say(Diagnostic::new(Code::UnknownPart, span, message));
            return Val::Poison;
        };
        let parts = self.parts(node.node);
        let text = part.text.as_str();
        if node.part.is_none() && parts.contains(&text) {
            return Val::Node(Ref { node: node.node, part: Some(part.text.clone()) });
        }
        let name = self.raw(node.node).name.clone();
        if self.facts_of(&node).contains(&text) || (node.part.is_none() && self.space(&node) == Space::Scores)
        {
            self.say(
                Diagnostic::new(Code::NotKnownAtPlanTime, span, format!("`{name}.{text}` is not known yet"))
                    .label("known only when the recipe is planned or run")
                    .help("facts of results can be used in `expect`"),
            );
            return Val::Poison;
        }
        let mut diagnostic =
            Diagnostic::new(Code::UnknownPart, part.span, format!("`{name}` has no part `{text}`"));
        diagnostic = match suggest::closest(text, parts.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{name}.{near}`?")),
            None if parts.is_empty() => diagnostic,
            None => diagnostic.help(format!("it has {}", suggest::list(parts.iter().copied(), 8))),
        };
        self.say(diagnostic);
        Val::Poison
    }

    /// Looks a reference up.
    pub(crate) fn resolve(&mut self, place: &Place, reference: &Reference) -> Target {
        let Some((first, mut rest)) = reference.path.segments.split_first() else { return Target::Poison };
        let local =
            place.locals.iter().rev().find(|(name, _)| *name == first.text).map(|(_, value)| value.clone());
        if let Some(value) = local {
            return self.apply(place, value, first, rest, reference);
        }
        let mut name = first;
        let mut unit = place.unit;
        loop {
            let scope = &self.unit(unit).scope;
            let Some(bound) = scope.names.get(&name.text) else {
                if unit != place.unit {
                    self.unknown_in_import(unit, name);
                    return Target::Poison;
                }
                if reference.bare().is_some() {
                    return Target::Word(name.text.clone());
                }
                self.unknown(place, &name.text, name.span);
                return Target::Poison;
            };
            let binding = &bound.binding;
            self.used.insert((unit, name.text.clone()));
            match binding {
                Binding::Broken | Binding::Import(_, None) => return Target::Poison,
                Binding::Param(_) | Binding::Let(_) => {
                    let value = self.value(unit, name, binding);
                    return self.apply(place, value, name, rest, reference);
                }
                Binding::Node(item) => {
                    let Some(node) = self.nodes.get(&(unit, *item)).copied() else { return Target::Poison };
                    return self.apply(place, Val::Node(Ref { node, part: None }), name, rest, reference);
                }
                Binding::Family(items) => return self.family(place, unit, name, items, rest, reference),
                Binding::Plugin { .. } => {
                    let message = format!("`{}` is a plugin, not a value", name.text);
                    self.say(
                        Diagnostic::new(Code::WrongType, reference.span, message)
                            .help(format!("its methods stand after `using`: `using {}.METHOD`", name.text)),
                    );
                    return Target::Poison;
                }
                Binding::Import(_, Some(target)) => {
                    let Some((next, others)) = rest.split_first() else {
                        let message = format!("`{}` is an imported recipe, not a value", name.text);
                        self.say(
                            Diagnostic::new(Code::WrongType, reference.span, message)
                                .help(format!("name something in it: `{}.NAME`", name.text)),
                        );
                        return Target::Poison;
                    };
                    unit = *target;
                    name = next;
                    rest = others;
                }
            }
        }
    }

    fn unknown_in_import(&mut self, unit: usize, name: &Name) {
        let it = self.unit(unit);
        let import = it.prefix.trim_end_matches('.');
        let mut diagnostic = Diagnostic::new(
            Code::UnknownName,
            name.span,
            format!("`{import}` has nothing called `{}`", name.text),
        );
        let names = it.scope.names.keys().map(String::as_str);
        diagnostic = match suggest::closest(&name.text, names.clone()) {
            Some(near) => diagnostic.help(format!("did you mean `{import}.{near}`?")).fix(
                format!("change it to `{near}`"),
                name.span,
                near,
            ),
            None => diagnostic.help(format!("it has {}", suggest::list(names, 8))),
        };
        self.say(diagnostic);
    }

    /// What follows a value: an index and parts.
    fn apply(
        &mut self,
        place: &Place,
        value: Val,
        name: &Name,
        rest: &[Name],
        reference: &Reference,
    ) -> Target {
        if matches!(value, Val::Poison) {
            return Target::Poison;
        }
        let mut value = value;
        if let (Val::Node(node), [part], Some(Index::At(index))) = (&value, rest, &reference.index)
            && self.is_several(&Ref { node: node.node, part: Some(part.text.clone()) })
        {
            return self.indexed_part(place, node.node, part, index, &reference.tail);
        }
        if let Some(index) = &reference.index {
            if !rest.is_empty() || !matches!(value, Val::List(_)) {
                let what = if rest.is_empty() { value.kind() } else { "a part".to_owned() };
                self.say(
                    Diagnostic::new(
                        Code::BadIndex,
                        reference.span,
                        format!("`{}` is {what} and has no index", reference.path.dotted()),
                    )
                    .help("lists, and stages made in a loop, have one"),
                );
                return Target::Poison;
            }
            value = match index {
                Index::All => value,
                Index::At(expr) => self.element(place, &value, &name.text, expr),
            };
        }
        match value {
            Val::Poison => Target::Poison,
            Val::Node(node) => Target::Node(node, rest.iter().chain(&reference.tail).cloned().collect()),
            value if rest.is_empty() && reference.tail.is_empty() => Target::Value(value),
            value => {
                let message = format!("`{}` is {} and has no parts", name.text, value.kind());
                self.say(Diagnostic::new(Code::UnknownPart, reference.span, message));
                Target::Poison
            }
        }
    }

    /// One model of a part that is several: `run.snapshots[0]`. How many there are is the planner's to know.
    fn indexed_part(
        &mut self,
        place: &Place,
        node: crate::graph::NodeId,
        part: &Name,
        index: &Expr,
        tail: &[Name],
    ) -> Target {
        match self.eval(place, index) {
            Val::Poison => Target::Poison,
            Val::Number { value, percent: false } if whole(value) && value >= 0.0 => {
                let part = Some(format!("{}[{value}]", part.text));
                Target::Node(Ref { node, part }, tail.to_vec())
            }
            other => {
                let message =
                    format!("an index of a part is a whole number from 0 on, this is {}", other.kind());
                self.say(Diagnostic::new(Code::BadIndex, index.span, message));
                Target::Poison
            }
        }
    }

    fn element(&mut self, place: &Place, list: &Val, name: &str, index: &Expr) -> Val {
        let Val::List(items) = list else { return Val::Poison };
        match self.eval(place, index) {
            Val::Poison => Val::Poison,
            Val::Number { value, percent: false } if whole(value) => {
                let found = if value >= 0.0 { items.get(value as usize).cloned() } else { None };
                found.unwrap_or_else(|| {
                    self.say(
                        Diagnostic::new(
                            Code::IndexOutOfRange,
                            index.span,
                            format!("`{name}` has {} elements, there is no `{name}[{value}]`", items.len()),
                        )
                        .note("indices count from 0"),
                    );
                    Val::Poison
                })
            }
            Val::Word(word) => {
                self.unknown(place, &word, index.span);
                Val::Poison
            }
            other => {
                let message = format!("an index into a list is a whole number, this is {}", other.kind());
                self.say(Diagnostic::new(Code::BadIndex, index.span, message));
                Val::Poison
            }
        }
    }

    fn family(
        &mut self,
        place: &Place,
        unit: usize,
        name: &Name,
        items: &[usize],
        rest: &[Name],
        reference: &Reference,
    ) -> Target {
        if !items.iter().all(|item| self.expand_item(unit, *item, name.span)) {
            return Target::Poison;
        }
        let Some(index) = reference.index.as_ref().filter(|_| rest.is_empty()) else {
            self.say(
                Diagnostic::new(
                    Code::BadIndex,
                    reference.span,
                    format!("`{}` is made in a loop and needs an index", name.text),
                )
                .help(format!("`{0}[*]` for all of them, `{0}[0]` for one", name.text)),
            );
            return Target::Poison;
        };
        let key = (unit, name.text.clone());
        match index {
            Index::All => {
                let Some(members) = self.families.get(&key) else { return Target::Poison };
                let all: Vec<Val> =
                    members.values().map(|node| Val::Node(Ref { node: *node, part: None })).collect();
                if reference.tail.is_empty() {
                    return Target::Value(Val::List(all.into()));
                }
                let span = reference.span;
                let parts: Vec<Val> = all
                    .into_iter()
                    .map(|value| match value {
                        Val::Node(node) => self.part(node, &reference.tail, span),
                        other => other,
                    })
                    .collect();
                Target::Value(Val::List(parts.into()))
            }
            Index::At(expr) => {
                let value = self.eval(place, expr);
                let Some(member) = self.member(place, &value, expr.span) else { return Target::Poison };
                let Some(members) = self.families.get(&key) else { return Target::Poison };
                if let Some(node) = members.get(&member) {
                    return Target::Node(Ref { node: *node, part: None }, reference.tail.clone());
                }
                let known: Vec<String> = members.keys().map(|it| format!("{}[{it}]", name.text)).collect();
                let note = match known.is_empty() {
                    true => "the loop that makes them runs over nothing".to_owned(),
                    false => format!("there are {}", suggest::list(known.iter().map(String::as_str), 5)),
                };
                let diagnostic = Diagnostic::new(
                    Code::IndexOutOfRange,
                    expr.span,
                    format!("there is no `{}[{member}]`", name.text),
                )
                .note(note);
                self.say(diagnostic);
                Target::Poison
            }
        }
    }

    /// An evaluated index as the key of a family.
    pub(crate) fn member(&mut self, place: &Place, value: &Val, span: Span) -> Option<Member> {
        match value {
            Val::Poison => None,
            Val::Number { value, percent: false } if whole(*value) => Some(Member::Number(*value as i64)),
            Val::Text(text) => Some(Member::Text(text.clone())),
            Val::Node(node) => Some(Member::Text(self.raw(node.node).name.clone())),
            Val::Word(word) => {
                self.unknown(place, word, span);
                None
            }
            other => {
                let message =
                    format!("an index is a whole number, a text or a model, this is {}", other.kind());
                self.say(Diagnostic::new(Code::BadIndex, span, message));
                None
            }
        }
    }
}
