//! The method after `using`: known or not, of the right verb or not.

use crate::ast;
use crate::codes::Code;
use crate::descriptor::{MethodDescriptor, Verb};
use crate::diag::Diagnostic;
use crate::recipes;
use crate::resolve::build::{Build, Place};
use crate::resolve::scope::Binding;
use crate::suggest;

impl<'a> Build<'a> {
    /// The stage's method. `None` if there is none, which has been reported.
    pub(crate) fn method(&mut self, place: &Place, stage: &ast::Stage) -> Option<&'a MethodDescriptor> {
        let verb = stage.verb;
        let Some(using) = &stage.using else {
            if verb == Verb::Stitch {
                return self.stitch(place, stage);
            }
            if !self.world.has_verb(verb) {
                self.verb_not_built(place, stage);
                return None;
            }
            let diagnostic = Diagnostic::new(
                Code::MissingMethod,
                stage.name.span,
                format!("`{}` does not say which method it uses", stage.name.text),
            )
            .help(format!("write `{verb} {} using METHOD {{ … }}`", stage.name.text))
            .help(format!("methods that {verb}: {}", self.methods_of(place, verb)));
            self.say(diagnostic);
            return None;
        };
        let span = using.span;
        let id = match using.segments.as_slice() {
            [one] => one.text.clone(),
            [alias, rest @ ..] => {
                let method = rest.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(".");
                let bound = self.unit(place.unit).scope.names.get(&alias.text);
                match bound.map(|bound| &bound.binding) {
                    Some(Binding::Plugin { id, there, .. }) => {
                        self.used.insert((place.unit, alias.text.clone()));
                        if !there {
                            return None;
                        }
                        // Methods of plugins are single words; a longer id would be another plugin's.
                        if rest.len() > 1 {
                            self.unknown_method(place, using, &format!("{id}.{method}"), verb);
                            return None;
                        }
                        format!("{id}.{method}")
                    }
                    Some(Binding::Broken | Binding::Import(_, None)) => return None,
                    Some(_) => {
                        let diagnostic = Diagnostic::new(
                            Code::UnknownMethod,
                            span,
                            format!("`{}` is not a plugin, so there is no method `{using}`", alias.text),
                        )
                        .help("methods of a plugin need `use plugin \"…\" as NAME`");
                        self.say(diagnostic);
                        return None;
                    }
                    None => {
                        let diagnostic = Diagnostic::new(
                            Code::UnknownMethod,
                            span,
                            format!("there is no method `{using}`: nothing is called `{}`", alias.text),
                        )
                        .help(format!("methods of a plugin need `use plugin \"…\" as {}`", alias.text));
                        self.say(diagnostic);
                        return None;
                    }
                }
            }
            [] => return None,
        };
        let world = self.world;
        let found = world.method(verb, &id);
        if found.is_none() {
            let others: Vec<Verb> =
                Verb::ALL.into_iter().filter(|other| world.method(*other, &id).is_some()).collect();
            if !others.is_empty() {
                self.wrong_verb(place, stage, using, &others);
            } else if !world.has_verb(verb) {
                self.verb_not_built(place, stage);
            } else {
                self.unknown_method(place, using, &id, verb);
            }
        }
        found
    }

    /// The name is that of methods of other verbs.
    fn wrong_verb(&mut self, place: &Place, stage: &ast::Stage, using: &ast::Path, others: &[Verb]) {
        let verb = stage.verb;
        let actual: Vec<String> = others.iter().map(|other| format!("{} {other}", article(*other))).collect();
        let mut diagnostic = Diagnostic::new(
            Code::WrongVerb,
            using.span,
            format!("`{using}` is {} method, not {} {verb} method", actual.join(" and "), article(verb)),
        )
        .secondary(stage.verb_span, format!("needs a method that {verb}s"));
        for other in others {
            diagnostic = diagnostic.help(format!(
                "with `{using}` the stage is `{other} {} using {using} {{ … }}`",
                stage.name.text
            ));
        }
        // With several it is not known which is meant.
        if let [other] = others {
            diagnostic = diagnostic.fix(format!("make it `{other}`"), stage.verb_span, other.word());
        }
        if self.world.has_verb(verb) {
            diagnostic = diagnostic.help(format!("methods that {verb}: {}", self.methods_of(place, verb)));
        }
        self.say(diagnostic);
    }

    fn stitch(&mut self, place: &Place, stage: &ast::Stage) -> Option<&'a MethodDescriptor> {
        let world = self.world;
        let found = world.method(Verb::Stitch, "stitch");
        if found.is_none() {
            self.verb_not_built(place, stage);
        }
        found
    }

    fn verb_not_built(&mut self, place: &Place, stage: &ast::Stage) {
        let verb = stage.verb;
        let mut diagnostic = Diagnostic::new(
            Code::VerbWithoutMethods,
            stage.verb_span,
            format!("this version of fusion has no method for `{verb}` yet"),
        );
        let built: Vec<Verb> = Verb::ALL.into_iter().filter(|verb| self.world.has_verb(*verb)).collect();
        if built.is_empty() {
            diagnostic = diagnostic.note("it has no methods at all");
        }
        for verb in built {
            diagnostic = diagnostic.note(format!("`{verb}`: {}", self.methods_of(place, verb)));
        }
        self.say(diagnostic);
    }

    fn unknown_method(&mut self, place: &Place, using: &ast::Path, id: &str, verb: Verb) {
        let mut diagnostic =
            Diagnostic::new(Code::UnknownMethod, using.span, format!("there is no method `{using}`"));
        let known = self.shown_methods(place, Some(verb));
        let all = self.shown_methods(place, None);
        let written = using.dotted();
        let near = suggest::closest(&written, known.iter().map(String::as_str))
            .or_else(|| suggest::closest(id, all.iter().map(String::as_str)));
        if let Some(recipe) = recipes::recipe(&written) {
            diagnostic = diagnostic.help(recipe);
        } else if let Some(near) = near {
            diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
            // Only within the verb is it the whole fix.
            if known.iter().any(|name| name == near) {
                diagnostic = diagnostic.fix(format!("change it to `{near}`"), using.span, near);
            }
        }
        diagnostic = diagnostic.help(format!("methods that {verb}: {}", self.methods_of(place, verb)));
        self.say(diagnostic);
    }

    /// Methods as this file can name them: those of plugins by their alias, if the file uses the plugin.
    fn shown_methods(&self, place: &Place, verb: Option<Verb>) -> Vec<String> {
        let names = &self.unit(place.unit).scope.names;
        let shown = |id: &str| {
            let Some((plugin, method)) = id.rsplit_once('.') else { return Some(id.to_owned()) };
            names.iter().find_map(|(alias, bound)| match &bound.binding {
                Binding::Plugin { id, .. } if id == plugin => Some(format!("{alias}.{method}")),
                _ => None,
            })
        };
        let methods =
            self.world.methods().iter().filter(|method| verb.is_none_or(|verb| method.verb == verb));
        methods.filter_map(|method| shown(&method.id)).collect()
    }

    fn methods_of(&self, place: &Place, verb: Verb) -> String {
        suggest::list(self.shown_methods(place, Some(verb)).iter().map(String::as_str), 20)
    }
}

fn article(verb: Verb) -> &'static str {
    if verb.word().starts_with(['a', 'e']) { "an" } else { "a" }
}
