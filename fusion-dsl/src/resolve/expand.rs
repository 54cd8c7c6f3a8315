//! Loops: `for i in 0..12 { … }` becomes twelve of everything in it, before anything else is known.

use std::rc::Rc;

use crate::ast::{Expr, For, Item, Name};
use crate::codes::Code;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::import::UnitId;
use crate::span::Span;

use super::build::{Build, Locals, MAX_NODES, Place, Raw};

impl<'a> Build<'a> {
    /// Makes the nodes of one top-level item that is a loop or has an index. `false` if it is being made right now.
    pub(crate) fn expand_item(&mut self, unit: UnitId, index: usize, span: Span) -> bool {
        match self.loops.get(&(unit, index)) {
            Some(true) => return true,
            Some(false) => {
                self.say(
                    Diagnostic::new(Code::Cycle, span, "the loop depends on what it makes")
                        .help("take what the loop runs over from something made outside it"),
                );
                return false;
            }
            None => {}
        }
        self.loops.insert((unit, index), false);
        let item = self.item(unit, index);
        let place = self.top(unit);
        match item {
            Item::For(it) => self.turns(&place, it),
            _ => self.make(&place, item),
        }
        self.loops.insert((unit, index), true);
        true
    }

    /// Expands every loop of every file and adds what the recipe itself saves, reports and expects.
    pub(crate) fn expand_all(&mut self) {
        let program = self.program;
        for (unit, it) in program.units.iter().enumerate() {
            for (index, item) in it.file.items.iter().enumerate() {
                if it.scope.rejected.contains(&index) {
                    continue;
                }
                match item {
                    Item::For(it) => {
                        self.expand_item(unit, index, it.span);
                    }
                    Item::Model(model) if model.index.is_some() => {
                        self.expand_item(unit, index, model.span);
                    }
                    Item::Stage(stage) if stage.index.is_some() => {
                        self.expand_item(unit, index, stage.span);
                    }
                    Item::Save(_) | Item::Report(_) | Item::Expect(_) => {
                        let place = self.top(unit);
                        self.make(&place, item);
                    }
                    _ => {}
                }
            }
        }
    }

    fn turns(&mut self, place: &Place, it: &'a For) {
        let over = self.eval(place, &it.over);
        if !self.is_new(place, &it.variable) {
            return;
        }
        let Some(count) = self.count(place, &over, &it.over) else { return };
        if count == 0 {
            self.nothing(place.unit, it);
        }
        for turn in 0..count {
            if self.overflow {
                return;
            }
            let Some(value) = over.item(turn) else { return };
            let mut locals = Locals::clone(&place.locals);
            locals.push((it.variable.text.clone(), value));
            let mut inner = Place { unit: place.unit, locals: Rc::new(locals) };
            for item in &it.items {
                if let Item::Let(binding) = item {
                    if turn == 0 && !self.is_new(&inner, &binding.name) {
                        continue;
                    }
                    let value = self.eval(&inner, &binding.value);
                    Rc::make_mut(&mut inner.locals).push((binding.name.text.clone(), value));
                }
            }
            for item in &it.items {
                match item {
                    Item::For(nested) => self.turns(&inner, nested),
                    item => self.make(&inner, item),
                }
            }
        }
    }

    /// The families of a loop without turns: there are no members, which is not the same as a mistake.
    fn nothing(&mut self, unit: UnitId, it: &'a For) {
        for item in &it.items {
            let name = match item {
                Item::Model(model) if model.index.is_some() => &model.name,
                Item::Stage(stage) if stage.index.is_some() => &stage.name,
                Item::For(inner) => {
                    self.nothing(unit, inner);
                    continue;
                }
                _ => continue,
            };
            self.families.entry((unit, name.text.clone())).or_default();
        }
    }

    /// How often something runs, checked against the limit; complains where it is not a list or range. None at all is a mistake only where
    /// nothing but numbers stand: a list or an end that has a name may come from `--set`.
    pub(crate) fn count(&mut self, place: &Place, over: &Val, expr: &Expr) -> Option<usize> {
        let count = match over.count() {
            Some(count) => count,
            None => {
                match over {
                    Val::Poison => {}
                    Val::Word(word) => self.unknown(place, word, expr.span),
                    other => {
                        let message = format!("a loop runs over a list or a range, this is {}", other.kind());
                        self.say(
                            Diagnostic::new(Code::WrongType, expr.span, message)
                                .help("`for i in 0..12`, `for x in [a, b]`"),
                        );
                    }
                }
                return None;
            }
        };
        if count == 0 && expr.has_names() {
            self.skipped = true;
            return Some(0);
        }
        if count == 0 {
            let message = "the loop runs over nothing";
            self.say(
                Diagnostic::new(Code::EmptyRange, expr.span, message)
                    .label("empty")
                    .note("ranges are half-open"),
            );
            return None;
        }
        self.turns_left = self.turns_left.saturating_sub(count);
        if count > MAX_NODES || self.turns_left == 0 {
            if !self.overflow {
                self.overflow = true;
                let message = format!("loops make more than {MAX_NODES} turns");
                self.say(
                    Diagnostic::new(Code::TooManyVariants, expr.span, message).help("shorten the loops"),
                );
            }
            return None;
        }
        Some(count)
    }

    /// A loop's variable is bound once, like every name.
    pub(crate) fn is_new(&mut self, place: &Place, name: &Name) -> bool {
        let outer = self.unit(place.unit).scope.names.get(&name.text).map(|bound| bound.span);
        if outer.is_none() && place.locals.iter().all(|(local, _)| *local != name.text) {
            return true;
        }
        let mut diagnostic =
            Diagnostic::new(Code::DuplicateName, name.span, format!("`{}` is bound twice", name.text))
                .label("bound again here");
        if let Some(outer) = outer {
            diagnostic = diagnostic.secondary(outer, "first bound here");
        }
        self.say(diagnostic);
        false
    }

    /// One node of an item in one turn.
    fn make(&mut self, place: &Place, item: &'a Item) {
        let (name, index) = match item {
            Item::Model(it) => (&it.name, &it.index),
            Item::Stage(it) => (&it.name, &it.index),
            Item::Save(_) | Item::Report(_) | Item::Expect(_) => {
                // An imported recipe gives names; what it saves and expects is its own affair.
                if place.unit == 0 {
                    let name = match item {
                        Item::Save(_) => "save",
                        Item::Report(_) => "report",
                        _ => "expect",
                    };
                    self.push(Raw {
                        unit: place.unit,
                        item,
                        locals: place.locals.clone(),
                        name: name.to_owned(),
                        name_span: item.span(),
                    });
                }
                return;
            }
            _ => return,
        };
        let Some(index) = index else { return };
        let value = self.eval(place, index);
        let Some(member) = self.member(place, &value, index.span) else { return };
        let key = (place.unit, name.text.clone());
        let first = self.families.get(&key).and_then(|members| members.get(&member)).copied();
        if let Some(first) = first {
            let first = self.raw(first).name_span;
            let same = first == name.span;
            let mut diagnostic = Diagnostic::new(
                Code::DuplicateName,
                name.span.to(index.span),
                format!("`{}[{member}]` is made twice", name.text),
            );
            diagnostic = if same {
                diagnostic.help("use the loop's variable as the index")
            } else {
                diagnostic.secondary(first, "first made here")
            };
            if !self.diagnostics.contains(&diagnostic) {
                self.say(diagnostic);
            }
            return;
        }
        let raw = Raw {
            unit: place.unit,
            item,
            locals: place.locals.clone(),
            name: format!("{}{}[{member}]", self.unit(place.unit).prefix, name.text),
            name_span: name.span,
        };
        if let Some(id) = self.push(raw) {
            self.families.entry(key).or_default().insert(member, id);
        }
    }
}
