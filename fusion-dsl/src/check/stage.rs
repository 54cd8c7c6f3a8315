//! A stage: its method, inputs, settings and rules together.

use crate::ast::{self, Clause};
use crate::codes::Code;
use crate::descriptor::{MethodDescriptor, ParamSpec, Port, Space, Verb};
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::{Collect, Edge, Ref, Stage, Take};
use crate::resolve::build::{Build, Place};
use crate::resolve::statics::{MODEL_FACTS, TRAIN_FACTS};
use crate::span::Span;

use super::edges::Wiring;
use super::settings::{Level, Owner};
use super::tables;

impl Build<'_> {
    /// The stage with everything resolved; `None` if its method is not known. Mistakes inside leave things out.
    pub(crate) fn stage(&mut self, place: &Place, stage: &ast::Stage) -> Option<Stage> {
        let method = self.method(place, stage);
        let specs = method.map(parameters);
        let shown = stage.using.as_ref().map_or_else(|| stage.verb.word().to_owned(), |using| using.dotted());
        let ports: &[Port] = method.map_or(&[], |method| &method.ports);
        let owner = Owner { name: &shown, ports, specs: specs.as_deref() };

        let mut wiring = Wiring::default();
        let mut fields: Vec<ast::Field> = Vec::new();
        let mut rules: Vec<&ast::On> = Vec::new();
        let (mut takes, mut rest, mut collects): (Vec<Take>, Option<(Ref, Span)>, Vec<Collect>) =
            Default::default();
        let mut broken_stitch = false;
        for clause in &stage.clauses {
            match clause {
                Clause::Field(field) => {
                    // `base = llama` is reported as what it is, not as a missing base too.
                    if ports.iter().any(|port| port.role == field.name.text) {
                        wiring.broken.push(field.name.text.clone());
                    }
                    fields.push(field.clone());
                }
                Clause::On(on) => rules.push(on),
                Clause::Edge(edge) => match method.filter(|method| !method.kernel.takes_rules()) {
                    Some(_) if !edge.rules.is_empty() => {
                        self.no_rules(&shown, edge.rules[0].selector.span());
                        let plain = ast::Edge { rules: Vec::new(), ..edge.clone() };
                        self.edge(place, &plain, stage.verb, owner, true, &mut wiring);
                    }
                    _ => self.edge(place, edge, stage.verb, owner, method.is_some(), &mut wiring),
                },
                Clause::Between(between) => {
                    if self.belongs(stage, Verb::Connect, "between", between.span) {
                        self.between(place, between, stage.verb, owner, method.is_some(), &mut wiring);
                    }
                }
                Clause::Take(take) => {
                    if self.belongs(stage, Verb::Stitch, "take", take.span) {
                        match self.take(place, take) {
                            Some(take) => takes.push(take),
                            None => broken_stitch = true,
                        }
                    }
                }
                Clause::Rest(clause) => {
                    if self.belongs(stage, Verb::Stitch, "rest", clause.span) {
                        match self.model_reference(place, &clause.of, "`rest of`") {
                            Some(_) if rest.is_some() => {
                                let first = rest.as_ref().map_or(Span::NONE, |(_, span)| *span);
                                self.twice("rest of", clause.span, first);
                            }
                            Some(found) => rest = Some((found, clause.span)),
                            None => broken_stitch = true,
                        }
                    }
                }
                Clause::Collect(collect) => {
                    if self.belongs(stage, Verb::Train, "collect", collect.span) {
                        let block = self.world.collect_settings();
                        let settings =
                            self.block(place, block, "collect", &collect.settings, collect.name.span);
                        if self.hides_fact(&collect.name) {
                            continue;
                        }
                        if let Some(first) = collects.iter().find(|first| first.name == collect.name.text) {
                            let first = first.span;
                            self.say(
                                Diagnostic::new(
                                    Code::DuplicateName,
                                    collect.name.span,
                                    format!("`{}` is bound twice", collect.name.text),
                                )
                                .label("bound again here")
                                .secondary(first, "first bound here"),
                            );
                            continue;
                        }
                        collects.push(Collect {
                            name: collect.name.text.clone(),
                            settings,
                            span: collect.name.span,
                        });
                    }
                }
            }
        }
        let settings = self.settings(place, &fields, owner, Level::Block);
        if let Some(method) = method
            && !rules.is_empty()
            && !method.kernel.takes_rules()
        {
            self.no_rules(&shown, rules[0].selector.span());
            rules.clear();
        }
        let rules = self.rules(place, &rules, owner, Level::Rule);
        let method = method?;
        if stage.verb == Verb::Stitch {
            if takes.is_empty() && !broken_stitch {
                let diagnostic = Diagnostic::new(
                    Code::IncompleteStitch,
                    stage.name.span,
                    format!("`{}` does not say which layers it is made of", stage.name.text),
                )
                .help("add `take layers 0..16 of MODEL` for each run of layers, in order");
                self.say(diagnostic);
            } else if rest.is_none() && !broken_stitch {
                let diagnostic = Diagnostic::new(
                    Code::IncompleteStitch,
                    stage.name.span,
                    format!("`{}` does not say where embeddings, norms and head come from", stage.name.text),
                )
                .help("add `rest of MODEL`");
                self.say(diagnostic);
            }
        } else {
            self.check_counts(owner, stage.name.span, &wiring);
        }
        self.check_required(stage, method, owner);
        let mut edges = wiring.edges;
        let rank = |role: &str| method.ports.iter().position(|port| port.role == role).unwrap_or(usize::MAX);
        edges.sort_by_key(|edge| rank(&edge.role));
        Some(Stage {
            verb: stage.verb,
            method: method.id.clone(),
            version: method.version,
            edges,
            settings,
            rules,
            takes,
            rest: rest.map(|(rest, _)| rest),
            collects,
            method_span: stage.using.as_ref().map_or(stage.verb_span, |using| using.span),
        })
    }

    fn no_rules(&mut self, method: &str, span: Span) {
        let diagnostic = Diagnostic::new(Code::NoRules, span, format!("`{method}` takes no `on` rules"))
            .note("it does not work tensor by tensor");
        self.say(diagnostic);
    }

    /// Whether a part's name is that of a fact, which could then not be asked for.
    fn hides_fact(&mut self, name: &ast::Name) -> bool {
        let hides = TRAIN_FACTS.iter().chain(&MODEL_FACTS).any(|fact| *fact == name.text);
        if hides {
            let message = format!("`{name}` is a fact of every training, so no part can have this name");
            let diagnostic = Diagnostic::new(Code::DuplicateName, name.span, message)
                .help(format!("choose another name: `{name}_models`"));
            self.say(diagnostic);
        }
        hides
    }

    fn belongs(&mut self, stage: &ast::Stage, verb: Verb, clause: &str, span: Span) -> bool {
        if stage.verb == verb {
            return true;
        }
        let diagnostic = Diagnostic::new(
            Code::ClauseOfOtherVerb,
            span,
            format!("`{clause}` belongs to `{verb}` stages, this one is `{}`", stage.verb),
        )
        .secondary(stage.verb_span, "");
        self.say(diagnostic);
        false
    }

    fn between(
        &mut self,
        place: &Place,
        between: &ast::Between,
        verb: Verb,
        owner: Owner<'_>,
        known: bool,
        wiring: &mut Wiring,
    ) {
        let port = owner.ports.iter().find(|port| port.role == "between").cloned().or_else(|| {
            // A method that says nothing of its ends still joins models.
            known.then(|| Port {
                role: "between".into(),
                space: Space::Model,
                min: 2,
                max: Some(2),
                settings: false,
                doc: String::new(),
            })
        });
        for operand in [&between.from, &between.to] {
            // Each end is one model.
            self.connect(place, "between", operand, port.as_ref(), verb, wiring, |input, span| Edge {
                role: "between".to_owned(),
                input,
                settings: Vec::new(),
                rules: Vec::new(),
                span,
            });
        }
    }

    fn take(&mut self, place: &Place, take: &ast::Take) -> Option<Take> {
        let layers = self.layers(place, &take.layers);
        let input = self.model_reference(place, &take.of, "`take … of`");
        if let Some(field) = take.settings.first() {
            let diagnostic = Diagnostic::new(Code::NoInputSettings, field.span, "`take` has no settings")
                .help("to change the layers, make a stage of them first and take from that");
            self.say(diagnostic);
        }
        let ((start, end), input) = (layers?, input?);
        Some(Take { start, end, input, span: take.span })
    }

    /// A reference that must be one model.
    pub(crate) fn model_reference(
        &mut self,
        place: &Place,
        reference: &ast::Reference,
        subject: &str,
    ) -> Option<Ref> {
        let value = self.eval_reference(place, reference);
        let kind = super::kinds::Kind::Of(crate::descriptor::ParamKind::Model);
        match self.fit(place, &kind, value, reference.span, subject) {
            Val::Node(node) => Some(node),
            _ => None,
        }
    }

    /// Required parameters that are set nowhere. It looks at the text: a mistaken value is not a missing one.
    fn check_required(&mut self, stage: &ast::Stage, method: &MethodDescriptor, owner: Owner<'_>) {
        let fields =
            |clause: &Clause, name: &str| matches!(clause, Clause::Field(field) if field.name.text == name);
        for spec in owner.specs.unwrap_or_default() {
            if !spec.required || stage.clauses.iter().any(|clause| fields(clause, &spec.name)) {
                continue;
            }
            let without = |clause: &Clause| match clause {
                Clause::Edge(edge) => {
                    let takes = method.ports.iter().any(|port| port.role == edge.role.text && port.settings);
                    let set = edge.settings.iter().any(|field| field.name.text == spec.name);
                    (takes && !set).then_some(edge.operand.span)
                }
                _ => None,
            };
            let (span, place) = if spec.per_input {
                match stage.clauses.iter().find_map(without) {
                    Some(span) => (span, " for this input"),
                    None => continue,
                }
            } else {
                (stage.name.span, "")
            };
            self.missing_parameter(owner, spec, span, place, " = ");
        }
    }
}

/// A method's parameters, with the `seed` that randomness implies.
fn parameters(method: &MethodDescriptor) -> Vec<ParamSpec> {
    let mut specs = method.parameters();
    if method.random && !specs.iter().any(|spec| spec.name == "seed") {
        specs.push(tables::seed());
    }
    specs
}
