//! Where in the recipe a method's error belongs: at the setting that it blames, else at the input, else at the method's name.

use fusion_dsl::graph::Stage;
use fusion_dsl::span::Span;
use fusion_sdk::MethodError;

/// The places of a stage, for errors while planning and while running.
#[derive(Clone, Debug)]
pub struct Places {
    method: Span,
    edges: Vec<Span>,
    /// Input, name and place of each setting, the stage's own first.
    settings: Vec<(Option<usize>, String, Span)>,
}

impl Places {
    /// Those of a stage.
    pub(super) fn new(stage: &Stage) -> Self {
        let own = stage.settings.iter().map(|setting| (None, setting.name.clone(), setting.span));
        let of_edges = stage.edges.iter().enumerate().flat_map(|(index, edge)| {
            edge.settings.iter().map(move |setting| (Some(index), setting.name.clone(), setting.span))
        });
        Places {
            method: stage.method_span,
            edges: stage.edges.iter().map(|edge| edge.span).collect(),
            settings: own.chain(of_edges).collect(),
        }
    }

    /// The place of an error.
    pub(crate) fn blamed(&self, error: &MethodError) -> Span {
        let named = |here: &dyn Fn(Option<usize>) -> bool| {
            let parameter = error.parameter?;
            self.settings.iter().find(|(input, name, _)| name == parameter && here(*input))
        };
        named(&|input| input.is_some() && input == error.input)
            .or_else(|| named(&|_| true))
            .map(|(_, _, span)| *span)
            .or_else(|| error.input.and_then(|input| self.edges.get(input).copied()))
            .unwrap_or(self.method)
    }
}
