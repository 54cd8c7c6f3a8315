//! Parameters from outside: `--set` and `sweep`, their types, and the product of their values.

use std::collections::BTreeMap;

use crate::ast::{Expr, ExprKind, Item, Param};
use crate::check::kinds::Kind;
use crate::codes::Code;
use crate::descriptor::ParamKind;
use crate::diag::Diagnostic;
use crate::eval::value::Val;
use crate::graph::Value;
use crate::import::Program;
use crate::parse;
use crate::resolve::build::{Build, MAX_NODES};
use crate::span::{SourceMap, Span};
use crate::suggest;
use crate::world::World;

/// Most combinations of swept values.
const MAX_VARIANTS: usize = 4096;
/// Most nodes in all variants together.
pub(crate) const MAX_TOTAL_NODES: usize = 10 * MAX_NODES;

/// A parameter that is set from outside.
pub(crate) struct Axis {
    pub(crate) name: String,
    /// One or more.
    values: Vec<Val>,
    /// Whether it was written as several values.
    swept: bool,
    /// Names of the recipe that the values use.
    pub(crate) uses: Vec<String>,
    /// Where the parameter is declared, for the order of labels.
    item: usize,
}

/// A value of `--set`, parsed.
struct Override {
    name: String,
    span: Span,
    value: Given,
}

enum Given {
    Text(Vec<String>),
    Expr(Expr),
}

/// The axes in the order in which the parameters are declared. `--set` takes precedence over `sweep`.
pub(crate) fn axes(
    world: &dyn World,
    program: &Program,
    sources: &mut SourceMap,
    overrides: &[(String, String)],
) -> (Vec<Axis>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let Some(unit) = program.units.first() else { return (Vec::new(), diagnostics) };
    let params: BTreeMap<&str, (usize, &Param)> = unit
        .file
        .items
        .iter()
        .enumerate()
        .filter(|(index, _)| !unit.scope.rejected.contains(index))
        .filter_map(|(index, item)| match item {
            Item::Param(param) => Some((param.name.text.as_str(), (index, param))),
            _ => None,
        })
        .collect();
    let broken =
        |name: &str| unit.file.broken.iter().any(|item| item.name.as_ref().is_some_and(|n| n.text == name));

    let mut given: Vec<Override> = Vec::new();
    for (name, text) in overrides {
        // The pair is a small source of its own, so that messages can point into it.
        let shown = format!("{name}={text}");
        let file = sources.add("--set", shown.clone());
        let value_at = name.len() as u32 + 1;
        let span = Span::new(file, value_at, shown.len() as u32);
        let Some((_, param)) = params.get(name.as_str()) else {
            if !broken(name) {
                diagnostics.push(unknown_set(
                    name,
                    Span::new(file, 0, name.len() as u32),
                    params.keys().copied(),
                ));
            }
            continue;
        };
        let is_text = matches!(Kind::parse(&param.kind.text), Some(Kind::Of(ParamKind::Text)));
        let value = if is_text && !text.trim_start().starts_with(['"', '[']) {
            Ok(Given::Text(text.split(',').map(|part| part.trim().to_owned()).collect()))
        } else {
            parse_value(file, name.len() + 1, text).map(Given::Expr)
        };
        match value {
            Ok(value) => match given.iter_mut().find(|old| old.name == *name) {
                Some(old) => *old = Override { name: name.clone(), span, value },
                None => given.push(Override { name: name.clone(), span, value }),
            },
            Err(why) => {
                let mut diagnostic =
                    Diagnostic::new(Code::BadSetValue, span, format!("the value of `{name}` cannot be read"))
                        .label(format!("should be {}", described(param)));
                diagnostic =
                    why.into_iter().take(1).fold(diagnostic, |diagnostic, d| diagnostic.note(d.message));
                diagnostics.push(diagnostic.help(format!("for instance `--set {name}={}`", example(param))));
            }
        }
    }

    let sources = &*sources;
    let mut axes: BTreeMap<usize, Axis> = BTreeMap::new();
    for it in given {
        let Some((item, param)) = params.get(it.name.as_str()) else { continue };
        let mut build = Build::new(program, world, sources, BTreeMap::new());
        let place = build.top(0);
        let (values, swept) = match &it.value {
            Given::Text(texts) => {
                (texts.iter().cloned().map(Val::Text).map(|v| (v, it.span)).collect(), texts.len() > 1)
            }
            Given::Expr(expr) => spread(&mut build, &place, param, expr, false),
        };
        push(&mut axes, &mut build, *item, param, values, swept, &mut diagnostics);
    }
    for item in &unit.file.items {
        let Item::Sweep(sweep) = item else { continue };
        let mut names: Vec<(&str, Span)> = Vec::new();
        for axis in &sweep.axes {
            let name = axis.name.text.as_str();
            if let Some((_, first)) = names.iter().find(|(known, _)| *known == name) {
                diagnostics.push(
                    Diagnostic::new(
                        Code::DuplicateSetting,
                        axis.name.span,
                        format!("`{name}` is swept twice"),
                    )
                    .secondary(*first, "first swept here"),
                );
                continue;
            }
            names.push((name, axis.name.span));
            let Some((index, param)) = params.get(name) else {
                if !broken(name) {
                    let mut diagnostic = Diagnostic::new(
                        Code::BadSweep,
                        axis.name.span,
                        format!("`{name}` is not a parameter, so it cannot be swept"),
                    );
                    diagnostic = match suggest::closest(name, params.keys().copied()) {
                        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(
                            format!("change it to `{near}`"),
                            axis.name.span,
                            near,
                        ),
                        None => diagnostic.help(format!("declare it: `param {name}: number = …`")),
                    };
                    diagnostics.push(diagnostic);
                }
                continue;
            };
            let mut build = Build::new(program, world, sources, BTreeMap::new());
            let place = build.top(0);
            let (values, _) = spread(&mut build, &place, param, &axis.value, true);
            if axes.contains_key(index) {
                // `--set` decides; what the sweep says is still checked.
                let mut dropped = BTreeMap::new();
                push(&mut dropped, &mut build, *index, param, values, true, &mut diagnostics);
            } else {
                push(&mut axes, &mut build, *index, param, values, true, &mut diagnostics);
            }
        }
    }
    let mut axes: Vec<Axis> = axes.into_values().collect();
    let count = axes.iter().fold(1usize, |count, axis| count.saturating_mul(axis.values.len()));
    if count > MAX_VARIANTS {
        let place =
            unit.file.items.iter().find(|item| matches!(item, Item::Sweep(_))).map_or(Span::NONE, Item::span);
        diagnostics.push(
            Diagnostic::new(
                Code::TooManyVariants,
                place,
                format!("the sweep has {count} combinations; at most {MAX_VARIANTS} are run"),
            )
            .help("sweep over fewer values"),
        );
        axes.iter_mut().for_each(|axis| axis.values.truncate(1));
    }
    (axes, diagnostics)
}

/// Parses `text`, or `[text]` where it is a comma list, with spans that point into `name=text`.
fn parse_value(file: crate::span::FileId, offset: usize, text: &str) -> Result<Expr, Vec<Diagnostic>> {
    let padded = |open: &str, close: &str| {
        let spaces = offset.saturating_sub(open.len());
        format!("{}{open}{text}{close}", " ".repeat(spaces))
    };
    parse::parse_expr(file, &padded("", ""))
        .or_else(|why| if text.contains(',') { parse::parse_expr(file, &padded("[", "]")) } else { Err(why) })
}

/// The values that an expression sweeps over: a list's or range's elements unless the parameter is itself one.
fn spread(
    build: &mut Build<'_>,
    place: &crate::resolve::build::Place,
    param: &Param,
    expr: &Expr,
    sweep: bool,
) -> (Vec<(Val, Span)>, bool) {
    let before = build.param_kind(param);
    let wants_list = matches!(before, Some(Kind::List(_)));
    let wants_range = matches!(before, Some(Kind::Range));
    let kind = before.unwrap_or(Kind::AnyWord);
    if let ExprKind::List(items) = &expr.kind {
        let nested = items.iter().any(|item| matches!(item.kind, ExprKind::List(_)));
        if !wants_list || nested || sweep {
            let values = items.iter().map(|item| (build.worded(place, &kind, item), item.span)).collect();
            if items.is_empty() {
                build.say(
                    Diagnostic::new(
                        Code::BadSweep,
                        expr.span,
                        format!("`{}` is swept over nothing", param.name.text),
                    )
                    .help("give it at least one value"),
                );
            }
            return (values, true);
        }
    }
    let value = build.worded(place, &kind, expr);
    let splits = match &value {
        Val::Range { .. } => !wants_range && !wants_list,
        Val::List(_) => !wants_list || sweep,
        _ => false,
    };
    if !splits {
        if sweep && !matches!(value, Val::Poison) {
            let text = build.source(expr.span);
            build.say(
                Diagnostic::new(
                    Code::BadSweep,
                    expr.span,
                    format!(
                        "`{}` is swept over a list or a range, this is {}",
                        param.name.text,
                        value.kind()
                    ),
                )
                .help(format!("write `[{text}]`, or set the parameter's default instead")),
            );
            return (Vec::new(), true);
        }
        return (vec![(value, expr.span)], false);
    }
    match value.count() {
        Some(0) => {
            build.say(
                Diagnostic::new(
                    Code::BadSweep,
                    expr.span,
                    format!("`{}` is swept over nothing", param.name.text),
                )
                .note("ranges are half-open"),
            );
            (Vec::new(), true)
        }
        Some(count) if count <= MAX_VARIANTS => {
            ((0..count).filter_map(|index| value.item(index)).map(|item| (item, expr.span)).collect(), true)
        }
        Some(count) => {
            build.say(
                Diagnostic::new(
                    Code::TooManyVariants,
                    expr.span,
                    format!("the sweep has {count} values; at most {MAX_VARIANTS} are run"),
                )
                .help("sweep over fewer values"),
            );
            (Vec::new(), true)
        }
        None => {
            build.say(
                Diagnostic::new(Code::BadSweep, expr.span, "only a range of whole numbers can be swept over")
                    .help("list the values: `[0.1, 0.2]`"),
            );
            (Vec::new(), true)
        }
    }
}

fn push(
    axes: &mut BTreeMap<usize, Axis>,
    build: &mut Build<'_>,
    item: usize,
    param: &Param,
    values: Vec<(Val, Span)>,
    swept: bool,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let place = build.top(0);
    let subject = format!("`{}`", param.name.text);
    let kind = build.param_kind(param);
    let mut fitting = Vec::new();
    for (value, span) in values {
        let Some(kind) = &kind else { break };
        let value = build.fit(&place, kind, value, span, &subject);
        if !matches!(value, Val::Poison) && !fitting.contains(&value) {
            fitting.push(value);
        }
    }
    diagnostics.append(&mut build.diagnostics);
    // The type is complained about where the parameter is evaluated.
    if kind.is_none() {
        diagnostics.retain(|diagnostic| diagnostic.code != Code::UnknownType);
    }
    // Even a broken value stands for one: the recipe's default is not what was asked for.
    if fitting.is_empty() {
        fitting.push(Val::Poison);
    }
    let uses = build.used.iter().filter(|(unit, _)| *unit == 0).map(|(_, name)| name.clone()).collect();
    let swept = swept && !matches!(fitting[0], Val::Poison);
    axes.insert(item, Axis { name: param.name.text.clone(), values: fitting, swept, uses, item });
}

fn unknown_set<'a>(name: &str, span: Span, params: impl Iterator<Item = &'a str> + Clone) -> Diagnostic {
    let diagnostic =
        Diagnostic::new(Code::UnknownSetParameter, span, format!("the recipe has no parameter `{name}`"));
    match suggest::closest(name, params.clone()) {
        Some(near) => diagnostic.help(format!("did you mean `--set {near}=…`?")),
        None if params.clone().next().is_none() => diagnostic
            .note("it declares no parameters")
            .help(format!("declare it in the recipe: `param {name}: number = …`")),
        None => diagnostic.help(format!("it has {}", suggest::list(params, 12))),
    }
}

fn described(param: &Param) -> String {
    Kind::parse(&param.kind.text).map_or_else(|| param.kind.text.clone(), |kind| kind.describe())
}

fn example(param: &Param) -> &'static str {
    match Kind::parse(&param.kind.text) {
        Some(Kind::Of(ParamKind::Fraction)) => "60%",
        Some(Kind::Of(ParamKind::Bytes)) => "5GB",
        Some(Kind::Of(ParamKind::Bool)) => "true",
        Some(Kind::Of(ParamKind::Word(_))) => "bf16",
        Some(Kind::Of(ParamKind::Text)) => "name",
        _ => "1",
    }
}

/// All combinations, the last axis varying fastest; one empty one without axes.
pub(crate) fn product(axes: &[Axis]) -> Vec<BTreeMap<String, Val>> {
    axes.iter().fold(vec![BTreeMap::new()], |combinations, axis| {
        combinations
            .into_iter()
            .flat_map(|combination| {
                axis.values.iter().map(move |value| {
                    let mut next = combination.clone();
                    next.insert(axis.name.clone(), value.clone());
                    next
                })
            })
            .collect()
    })
}

/// The swept values of a combination, in the order of the declarations.
pub(crate) fn label(axes: &[Axis], sets: &BTreeMap<String, Val>) -> Vec<(String, Value)> {
    debug_assert!(axes.is_sorted_by_key(|axis| axis.item));
    axes.iter()
        .filter(|axis| axis.swept)
        .filter_map(|axis| Some((axis.name.clone(), sets.get(&axis.name)?.lower()?)))
        .collect()
}
