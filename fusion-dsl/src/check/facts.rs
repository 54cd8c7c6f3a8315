//! Facts in `expect`: what can be asked of a result before there is one, of a single one or of each of several.

use crate::ast::{Index, Name, Path, Reference};
use crate::codes::Code;
use crate::descriptor::Space;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::{Formula, Ref};
use crate::resolve::build::{Build, Place};
use crate::resolve::names::Target;
use crate::span::Span;
use crate::suggest;

use super::expect::Typed;

impl Build<'_> {
    /// A name: something known now, or facts of one result or of several.
    pub(crate) fn named(&mut self, place: &Place, reference: &Reference) -> Typed {
        if let Some(typed) = self.indexed(place, reference) {
            return typed;
        }
        match self.resolve(place, reference) {
            Target::Poison => Typed::Poison,
            Target::Value(value) => Typed::Known(value),
            Target::Word(word) => {
                self.unknown(place, &word, reference.span);
                Typed::Poison
            }
            Target::Node(node, rest) => self.fact(&node, &rest, reference.span),
        }
    }

    /// `tuned[*].layers`, `scores.tuned[0]`, `scores.tuned[*].loss`; `None` for other names.
    fn indexed(&mut self, place: &Place, reference: &Reference) -> Option<Typed> {
        let index = reference.index.as_ref()?;
        let span = reference.span;
        if let Some((scores, family)) = self.measured(place, reference) {
            // Scores are named after what was measured.
            let of = Reference { path: family, index: Some(index.clone()), tail: Vec::new(), span };
            let (members, several) = match self.resolve(place, &of) {
                Target::Node(node, _) => (vec![Val::Node(node)], false),
                Target::Value(Val::List(items)) => (items.to_vec(), true),
                Target::Poison => return Some(Typed::Poison),
                Target::Word(_) | Target::Value(_) => (Vec::new(), false),
            };
            let formulas: Vec<Formula> = members
                .iter()
                .filter_map(|member| if let Val::Node(node) = member { Some(node) } else { None })
                .map(|member| {
                    let mut words = vec![self.raw(member.node).name.clone()];
                    words.extend(member.part.clone());
                    words.extend(reference.tail.iter().map(|name| name.text.clone()));
                    Formula::Fact { node: scores.node, fact: words.join("."), span }
                })
                .collect();
            // Of a loop without turns everything holds.
            let nothing = several && members.is_empty() && matches!(index, Index::All);
            if formulas.len() != members.len() || (formulas.is_empty() && !nothing) {
                let message = format!("`{}` are no results that were measured", of.path);
                self.say(Diagnostic::new(Code::UnknownFact, of.path.span, message));
                return Some(Typed::Poison);
            }
            return Some(match index {
                Index::All => Typed::Each { formulas, bytes: false },
                Index::At(_) => Typed::Number { formula: formulas[0].clone(), bytes: false },
            });
        }
        if !matches!(index, Index::All) {
            return None;
        }
        let all = Reference { tail: Vec::new(), ..reference.clone() };
        let Target::Value(Val::List(members)) = self.resolve(place, &all) else { return Some(Typed::Poison) };
        if let (true, Some(last)) = (members.is_empty(), reference.tail.last()) {
            return Some(Typed::Each { formulas: Vec::new(), bytes: last.text == "bytes" });
        }
        if members.is_empty() || !members.iter().all(|member| matches!(member, Val::Node(_))) {
            return Some(Typed::Known(Val::List(members))).filter(|_| reference.tail.is_empty());
        }
        let mut formulas = Vec::with_capacity(members.len());
        let mut bytes = false;
        for member in members.iter() {
            let Val::Node(node) = member else { continue };
            match self.fact(node, &reference.tail, span) {
                Typed::Number { formula, bytes: size } => {
                    formulas.push(formula);
                    bytes = size;
                }
                // The same is wrong with all of them.
                _ => return Some(Typed::Poison),
            }
        }
        Some(Typed::Each { formulas, bytes })
    }

    /// The scores and the name in them, for `scores.tuned[…]`; asked quietly.
    fn measured(&mut self, place: &Place, reference: &Reference) -> Option<(Ref, Path)> {
        if reference.path.segments.len() < 2 {
            return None;
        }
        let before = self.diagnostics.len();
        let bare = Reference { index: None, tail: Vec::new(), ..reference.clone() };
        let target = self.resolve(place, &bare);
        self.diagnostics.truncate(before);
        match target {
            Target::Node(node, rest) if !rest.is_empty() && self.space(&node) == Space::Scores => {
                let span = rest[0].span.to(reference.path.span);
                Some((node, Path { segments: rest, span }))
            }
            _ => None,
        }
    }

    /// A number that is known of a result later.
    fn fact(&mut self, node: &Ref, names: &[Name], span: Span) -> Typed {
        let words: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
        let last = names.last().map_or(span, |name| name.span);
        // A part stands before the fact: `soup.best_single.layers`.
        let mut of = node.clone();
        let mut rest = words.as_slice();
        if of.part.is_none()
            && let Some(first) = words.first()
            && self.parts(node.node).contains(first)
        {
            of.part = Some((*first).to_owned());
            rest = &words[1..];
        }
        let mut fact: Vec<&str> = of.part.as_deref().into_iter().collect();
        fact.extend_from_slice(rest);
        let formula = Formula::Fact { node: node.node, fact: fact.join("."), span };
        let Some(word) = rest.last().copied() else {
            self.no_number(&of, span);
            return Typed::Poison;
        };
        if self.space(&of) == Space::Scores {
            return Typed::Number { formula, bytes: false };
        }
        let several = self.is_several(&of);
        let known = if several { Vec::new() } else { self.facts_of(&of) };
        if rest.len() == 1 && (known.contains(&word) || self.has_own_facts(&of)) {
            return Typed::Number { formula, bytes: word == "bytes" };
        }
        let what = self.describe(&of);
        let message = match known.is_empty() {
            true if several => format!("nothing is known of {what}: it is several models"),
            true => format!("nothing is known of {what} without measuring it"),
            false => format!("nothing called `{}` is known of {what}", rest.join(".")),
        };
        let diagnostic = Diagnostic::new(Code::UnknownFact, last, message);
        self.say(match suggest::closest(word, known.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                format!("change it to `{near}`"),
                last,
                near,
            ),
            None if known.is_empty() => diagnostic.help("measure it with an `evaluate` stage"),
            None => diagnostic
                .help(format!("known are {}", suggest::list(known.iter().copied(), 8)))
                .note("what it scores on data is measured by `evaluate`"),
        });
        Typed::Poison
    }

    /// A result where a number is due.
    fn no_number(&mut self, of: &Ref, span: Span) {
        let name = &self.raw(of.node).name;
        let name = of.part.as_ref().map_or_else(|| name.clone(), |part| format!("{name}.{part}"));
        let facts: Vec<String> = self.facts_of(of).iter().map(|fact| format!("{name}.{fact}")).collect();
        let mut diagnostic =
            Diagnostic::new(Code::UnknownFact, span, format!("{} is not a number", self.describe(of)));
        if self.space(of) == Space::Scores {
            diagnostic = diagnostic.help(format!("name a score: `{name}.INPUT`"));
        } else if !facts.is_empty() {
            let facts = suggest::list(facts.iter().map(String::as_str), 8);
            diagnostic = diagnostic.help(format!("name a fact of it: {facts}"));
        }
        self.say(diagnostic);
    }
}
