//! Inputs of stages against the ports that the method declares.

use crate::ast::{self, Expr, ExprKind};
use crate::codes::Code;
use crate::descriptor::{Port, Space, Verb};
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::{Edge, Ref};
use crate::resolve::build::{Build, Place};
use crate::span::Span;
use crate::suggest;

use super::settings::{Level, Owner};

/// Edges of a stage while they are collected.
#[derive(Default)]
pub(crate) struct Wiring {
    pub(crate) edges: Vec<Edge>,
    /// Roles with an input that is broken: their counts are not checked.
    pub(crate) broken: Vec<String>,
    /// Roles and places of lists without elements.
    pub(crate) empty: Vec<(String, Span)>,
    /// There was an unknown role: what misses may be what it was meant to be.
    pub(crate) unknown_role: bool,
}

impl Build<'_> {
    /// `from chat { weight = 0.3 }`
    pub(crate) fn edge(
        &mut self,
        place: &Place,
        edge: &ast::Edge,
        verb: Verb,
        owner: Owner<'_>,
        known: bool,
        wiring: &mut Wiring,
    ) {
        let port = owner.ports.iter().find(|port| port.role == edge.role.text);
        if known && port.is_none() {
            self.unknown_role(edge, owner);
            wiring.unknown_role = true;
            // Names in it count as used, and unknown ones are mistakes of their own.
            let _ = self.inputs(place, &edge.operand);
            return;
        }
        let settings;
        let rules;
        match port {
            Some(port) if !port.settings && (!edge.settings.is_empty() || !edge.rules.is_empty()) => {
                let span = edge.settings.first().map_or_else(|| edge.rules[0].span, |field| field.span);
                let diagnostic = Diagnostic::new(
                    Code::NoInputSettings,
                    span,
                    format!("`{}` of `{}` takes no settings", port.role, owner.name),
                )
                .help("set it on the stage");
                self.say(diagnostic);
                settings = Vec::new();
                rules = Vec::new();
            }
            _ => {
                settings = self.settings(place, &edge.settings, owner, Level::Edge);
                let on: Vec<&ast::On> = edge.rules.iter().collect();
                rules = self.rules(place, &on, owner, Level::EdgeRule);
            }
        }
        let role = &edge.role.text;
        self.connect(place, role, &edge.operand, port, verb, wiring, |input, span| Edge {
            role: role.clone(),
            input,
            settings: settings.clone(),
            rules: rules.clone(),
            span,
        });
    }

    /// Adds an input for every model of an operand.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn connect(
        &mut self,
        place: &Place,
        role: &str,
        operand: &Expr,
        port: Option<&Port>,
        verb: Verb,
        wiring: &mut Wiring,
        make: impl Fn(Ref, Span) -> Edge,
    ) {
        let inputs = self.inputs(place, operand);
        if inputs.is_empty() {
            wiring.empty.push((role.to_owned(), operand.span));
        }
        if inputs.iter().any(|(input, _)| input.is_none()) {
            wiring.broken.push(role.to_owned());
        }
        for (input, span) in inputs {
            let Some(input) = input else { continue };
            if let Some(port) = port
                && !(self.fits(&input, span, port, verb) && self.is_one(&input, span, port))
            {
                wiring.broken.push(role.to_owned());
                continue;
            }
            wiring.edges.push(make(input, span));
        }
    }

    /// The nodes that an operand names, lists spread. `None` for what is broken, which has been reported.
    pub(crate) fn inputs(&mut self, place: &Place, operand: &Expr) -> Vec<(Option<Ref>, Span)> {
        if let ExprKind::List(items) = &operand.kind {
            return items.iter().flat_map(|item| self.inputs(place, item)).collect();
        }
        if let ExprKind::Call(call) = &operand.kind
            && !crate::eval::call::names().any(|name| name == call.function.dotted())
        {
            let text = self.source(operand.span);
            let diagnostic =
                Diagnostic::new(Code::WrongSpace, operand.span, "an input is named, not made in place")
                    .help(format!("declare it first: `model NAME of {text}`"));
            self.say(diagnostic);
            return vec![(None, operand.span)];
        }
        let value = self.eval(place, operand);
        let mut found = Vec::new();
        self.spread(place, &value, operand.span, &mut found);
        found
    }

    fn spread(&mut self, place: &Place, value: &Val, span: Span, found: &mut Vec<(Option<Ref>, Span)>) {
        match value {
            Val::Node(node) => return found.push((Some(node.clone()), span)),
            Val::List(items) => {
                for item in items.iter() {
                    self.spread(place, item, span, found);
                }
                return;
            }
            Val::Poison => {}
            Val::Word(word) => self.unknown(place, word, span),
            Val::Text(text) => {
                let diagnostic = Diagnostic::new(Code::WrongSpace, span, "an input is a name, not a path")
                    .help(format!("give it a name first: `model NAME from \"{text}\"`"));
                self.say(diagnostic);
            }
            other => {
                let message = format!("an input is a model or another result, this is {}", other.kind());
                self.say(Diagnostic::new(Code::WrongSpace, span, message));
            }
        }
        found.push((None, span));
    }

    /// A port for one input, and the ends of a path, take no part that holds several models.
    fn is_one(&mut self, input: &Ref, span: Span, port: &Port) -> bool {
        if (port.max != Some(1) && port.role != "between") || !self.is_several(input) {
            return true;
        }
        let name = self.source(span);
        let diagnostic = Diagnostic::new(
            Code::TooManyInputs,
            span,
            format!("`{}` takes one model, `{name}` is several", port.role),
        )
        .secondary(self.raw(input.node).name_span, "declared here")
        .help("average or select them first");
        self.say(diagnostic);
        false
    }

    /// Whether a result may be connected to a port. What measures or teaches with a model's outputs takes ensembles too.
    fn fits(&mut self, input: &Ref, span: Span, port: &Port, verb: Verb) -> bool {
        let space = self.space(input);
        let predicts = matches!(verb, Verb::Evaluate | Verb::Distill | Verb::Select | Verb::Ensemble)
            && port.space == Space::Model
            && space == Space::Ensemble;
        // The engine takes models from along the path.
        let sampled = verb == Verb::Ensemble && port.space == Space::Model && space == Space::Path;
        // The engine subtracts the base.
        let task_vector = port.space == Space::Delta && space == Space::Model;
        if space == port.space || predicts || sampled || task_vector {
            return true;
        }
        let what = self.describe(input);
        let mut diagnostic = Diagnostic::new(
            Code::WrongSpace,
            span,
            format!("`{}` takes {} {}, this is {what}", port.role, article(port.space), port.space),
        )
        .secondary(self.raw(input.node).name_span, "declared here");
        diagnostic = match (port.space, space) {
            (Space::Model, Space::Ensemble) => {
                diagnostic.help("an ensemble becomes one model by `distill NAME using … { teacher … }`")
            }
            (Space::Path, Space::Model) => {
                diagnostic.help("a path joins two models: `connect NAME using linear { between a and b }`")
            }
            (Space::Model, Space::Path) => diagnostic
                .help("one point of a path is a model: `average NAME using point { path …; at = 0.5 }`"),
            _ => diagnostic,
        };
        self.say(diagnostic);
        false
    }

    fn unknown_role(&mut self, edge: &ast::Edge, owner: Owner<'_>) {
        let role = edge.role.text.as_str();
        let mut diagnostic = Diagnostic::new(
            Code::UnknownRole,
            edge.role.span,
            format!("`{}` has no input `{role}`", owner.name),
        );
        if owner.specs.is_some_and(|specs| specs.iter().any(|spec| spec.name == role)) {
            self.say(
                diagnostic.help(format!("`{role}` is a parameter, and parameters are set with `=`")).fix(
                    "add `=`",
                    edge.role.span.after(),
                    " =",
                ),
            );
            return;
        }
        let roles = || owner.ports.iter().map(|port| port.role.as_str());
        diagnostic = match suggest::closest(role, roles()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                format!("change it to `{near}`"),
                edge.role.span,
                near,
            ),
            None if owner.ports.is_empty() => diagnostic.note("it takes no inputs"),
            None => diagnostic.help(format!("its inputs are {}", suggest::list(roles(), 8))),
        };
        self.say(diagnostic);
    }

    /// Too few, too many, none.
    pub(crate) fn check_counts(&mut self, owner: Owner<'_>, name_span: Span, wiring: &Wiring) {
        for port in owner.ports {
            if wiring.broken.contains(&port.role) {
                continue;
            }
            let mut of_port: Vec<(Span, bool)> = Vec::new();
            for edge in wiring.edges.iter().filter(|edge| edge.role == port.role) {
                // A path where models are due is as many as are taken from it.
                let sampled = port.space == Space::Model && self.space(&edge.input) == Space::Path;
                of_port.push((edge.span, sampled || self.is_several(&edge.input)));
            }
            let (role, min) = (port.role.as_str(), port.min);
            let count = of_port.len() as u32;
            let open = of_port.iter().any(|(_, several)| *several);
            if count < min && !open {
                if wiring.unknown_role {
                    continue;
                }
                let empty = wiring.empty.iter().find(|(of, _)| of == role).map(|(_, span)| *span);
                let diagnostic = match (role, count, empty) {
                    (_, _, Some(span)) => Diagnostic::new(
                        if count == 0 { Code::MissingEdge } else { Code::TooFewInputs },
                        span,
                        format!("`{}` needs {}, there {} {count}", owner.name, amount(port), are(count)),
                    )
                    .label("there is nothing in it"),
                    ("base", 0, None) => Diagnostic::new(
                        Code::MissingBase,
                        name_span,
                        format!("`{}` needs a base model", owner.name),
                    )
                    .help("name the model that the others were trained from: `base NAME`"),
                    (_, 0, None) => Diagnostic::new(
                        Code::MissingEdge,
                        name_span,
                        format!("`{}` needs {}", owner.name, amount(port)),
                    )
                    .help(if role == "between" {
                        "write `between a and b`".to_owned()
                    } else {
                        format!("write `{role} NAME`")
                    }),
                    _ => Diagnostic::new(
                        Code::TooFewInputs,
                        name_span,
                        format!("`{}` needs {}, there {} {count}", owner.name, amount(port), are(count)),
                    ),
                };
                self.say(note(diagnostic, port));
            } else if let Some(max) = port.max
                && count > max
            {
                let (extra, _) = of_port[max as usize];
                let diagnostic = Diagnostic::new(
                    Code::TooManyInputs,
                    extra,
                    format!("`{}` takes {}, there are {count}", owner.name, amount(port)),
                )
                .label("one too many")
                .secondary(of_port[0].0, "the first");
                self.say(note(diagnostic, port));
            }
        }
    }
}

fn article(space: Space) -> &'static str {
    if matches!(space, Space::Ensemble | Space::Alignment) { "an" } else { "a" }
}

fn are(count: u32) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// "exactly 2 `from`", "at least 2 `from`"
fn amount(port: &Port) -> String {
    let role = &port.role;
    match (port.min, port.max) {
        (min, Some(max)) if min == max => format!("exactly {min} `{role}`"),
        (0, Some(max)) => format!("at most {max} `{role}`"),
        (min, Some(max)) => format!("{min} to {max} `{role}`"),
        (min, None) => format!("at least {min} `{role}`"),
    }
}

fn note(diagnostic: Diagnostic, port: &Port) -> Diagnostic {
    if port.doc.is_empty() { diagnostic } else { diagnostic.note(format!("`{}`: {}", port.role, port.doc)) }
}
