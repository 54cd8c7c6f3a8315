//! Plots as data: what is drawn, not how.
//!
//! A point whose coordinate is not finite leaves a gap, and the plot says how many there are.

use serde::{Deserialize, Serialize};

use super::finite;

/// A plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plot {
    /// Lines over one axis: a barrier, a path's losses.
    Curve(Curve),
    /// Losses over a plane.
    Landscape(Landscape),
    /// Confidence against accuracy.
    Reliability(Reliability),
    /// What happened over the epochs of a training, one panel for each quantity.
    Training(Training),
    /// A value for every pair: barriers, disagreement, similarity.
    Matrix(Matrix),
    /// One value for each name.
    Bars(Bars),
}

impl Plot {
    /// Its title; names its files.
    pub fn title(&self) -> &str {
        match self {
            Plot::Curve(plot) => &plot.title,
            Plot::Landscape(plot) => &plot.title,
            Plot::Reliability(plot) => &plot.title,
            Plot::Training(plot) => &plot.title,
            Plot::Matrix(plot) => &plot.title,
            Plot::Bars(plot) => &plot.title,
        }
    }

    /// The sentences below it.
    pub fn caption(&self) -> &str {
        match self {
            Plot::Curve(plot) => &plot.caption,
            Plot::Landscape(plot) => &plot.caption,
            Plot::Reliability(plot) => &plot.caption,
            Plot::Training(plot) => &plot.caption,
            Plot::Matrix(plot) => &plot.caption,
            Plot::Bars(plot) => &plot.caption,
        }
    }
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What it measures.
    pub label: String,
    /// In which unit; empty for none. `%` shows fractions in per cent.
    pub unit: String,
    /// Linear or logarithmic.
    pub scale: Scale,
}

impl Axis {
    /// An axis whose scale follows the data.
    pub fn new(label: impl Into<String>, unit: impl Into<String>) -> Axis {
        Axis { label: label.into(), unit: unit.into(), scale: Scale::Auto }
    }

    /// The same with a linear scale.
    #[must_use]
    pub fn linear(mut self) -> Axis {
        self.scale = Scale::Linear;
        self
    }

    /// The same with a logarithmic scale.
    #[must_use]
    pub fn log(mut self) -> Axis {
        self.scale = Scale::Log;
        self
    }
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Logarithmic where all values are positive and span more than two decades.
    #[default]
    Auto,
    /// Linear.
    Linear,
    /// Logarithmic; values that are not positive leave a gap.
    Log,
}

/// Lines over one axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Title.
    pub title: String,
    /// The sentences below it.
    pub caption: String,
    /// Along.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// Lines, in the order of the legend.
    pub series: Vec<Series>,
    /// What is pointed at.
    pub markers: Vec<Marker>,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points (x, y) in drawing order.
    #[serde(with = "finite::pairs")]
    pub points: Vec<(f64, f64)>,
    /// Lower and upper end at each point, for example over seeds; empty for none, else as long as `points`.
    #[serde(with = "finite::pairs")]
    pub band: Vec<(f64, f64)>,
    /// How it looks.
    pub style: Style,
}

impl Series {
    /// A line.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>, style: Style) -> Series {
        Series { name: name.into(), points, band: Vec::new(), style }
    }
}

/// How a line looks. Two lines of one plot should differ in more than the colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Style {
    /// Colour by its number in a palette of seven, counted round.
    pub colour: usize,
    /// Dashes.
    pub dash: Dash,
    /// What stands at each point.
    pub shape: Option<Shape>,
}

impl Style {
    /// The style of the n-th line of a plot: colours, dashes and shapes all change.
    pub fn nth(n: usize) -> Style {
        let dashes = [Dash::Solid, Dash::Dashed, Dash::Dotted, Dash::DashDot];
        let shapes = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];
        Style { colour: n, dash: dashes[n % 4], shape: Some(shapes[n % 4]) }
    }

    /// A line of this colour and these dashes, without shapes at its points.
    pub fn line(colour: usize, dash: Dash) -> Style {
        Style { colour, dash, shape: None }
    }
}

/// Dashes of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dash {
    /// ———
    #[default]
    Solid,
    /// – – –
    Dashed,
    /// · · ·
    Dotted,
    /// – · –
    DashDot,
}

/// What stands at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
}

/// What is pointed at in a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// A named point: an endpoint, the best t.
    Point {
        /// Label.
        name: String,
        /// Along.
        #[serde(with = "finite::one")]
        x: f64,
        /// Up.
        #[serde(with = "finite::one")]
        y: f64,
    },
    /// A bracket from one height to another, such as a barrier over its chord.
    Bracket {
        /// Label, usually with the height.
        name: String,
        /// Along.
        #[serde(with = "finite::one")]
        x: f64,
        /// Lower end.
        #[serde(with = "finite::one")]
        from: f64,
        /// Upper end.
        #[serde(with = "finite::one")]
        to: f64,
    },
    /// A thin straight line between two points, such as the chord between the endpoints.
    Chord {
        /// Name in the legend.
        name: String,
        /// Begin.
        #[serde(with = "finite::pair")]
        from: (f64, f64),
        /// End.
        #[serde(with = "finite::pair")]
        to: (f64, f64),
    },
    /// A thin line across at one height, such as an ensemble's loss.
    Level {
        /// Label.
        name: String,
        /// Up.
        #[serde(with = "finite::one")]
        y: f64,
    },
}

/// Losses over a plane (Garipov et al., 2018, figure 1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Landscape {
    /// Title.
    pub title: String,
    /// The sentences below it.
    pub caption: String,
    /// Along.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What the values are, for the legend: `test loss`.
    pub value: Axis,
    /// Grid lines along x, rising.
    #[serde(with = "finite::many")]
    pub xs: Vec<f64>,
    /// Grid lines along y, rising.
    #[serde(with = "finite::many")]
    pub ys: Vec<f64>,
    /// Values, row by row: that at `(xs[i], ys[j])` is number `j * xs.len() + i`. What is not finite stays blank.
    #[serde(with = "finite::many")]
    pub values: Vec<f64>,
    /// Levels of the contours, rising. Empty: chosen, spaced logarithmically above the least value and up to the 95% quantile.
    #[serde(with = "finite::many")]
    pub levels: Vec<f64>,
    /// Named points: the models.
    pub points: Vec<Place>,
    /// Paths.
    pub paths: Vec<Polyline>,
}

/// A named place in a plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Label.
    pub name: String,
    /// Along.
    #[serde(with = "finite::one")]
    pub x: f64,
    /// Up.
    #[serde(with = "finite::one")]
    pub y: f64,
}

/// A path in a plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Polyline {
    /// Name in the legend.
    pub name: String,
    /// Points (x, y) along it.
    #[serde(with = "finite::pairs")]
    pub points: Vec<(f64, f64)>,
    /// Dashes.
    pub dash: Dash,
}

/// Confidence against accuracy (DeGroot & Fienberg, 1983; Guo et al., 2017).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Title.
    pub title: String,
    /// The sentences below it.
    pub caption: String,
    /// Bins, rising.
    pub bins: Vec<Bin>,
    /// Expected calibration error, Σ countᵢ/n · |accuracyᵢ − confidenceᵢ|.
    #[serde(with = "finite::one")]
    pub ece: f64,
}

/// A bin of a reliability diagram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower end of the confidences in it.
    #[serde(with = "finite::one")]
    pub low: f64,
    /// Upper end.
    #[serde(with = "finite::one")]
    pub high: f64,
    /// Their mean; NaN in an empty bin.
    #[serde(with = "finite::one")]
    pub confidence: f64,
    /// Fraction of right answers; NaN in an empty bin.
    #[serde(with = "finite::one")]
    pub accuracy: f64,
    /// Samples.
    pub count: u64,
}

/// What happened over a training: panels above each other with one x axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Title.
    pub title: String,
    /// The sentences below it.
    pub caption: String,
    /// Along: epochs or steps.
    pub x: Axis,
    /// From top to bottom. A series of the same name in two panels should have the same style.
    pub panels: Vec<Panel>,
}

/// One quantity over a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Up.
    pub y: Axis,
    /// Lines.
    pub series: Vec<Series>,
}

/// A value for every pair of names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Title.
    pub title: String,
    /// The sentences below it.
    pub caption: String,
    /// What the values are.
    pub value: Axis,
    /// Names of rows and columns.
    pub names: Vec<String>,
    /// Values row by row; what is not finite stays blank.
    #[serde(with = "finite::many")]
    pub values: Vec<f64>,
}

/// One value for each name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// Title.
    pub title: String,
    /// The sentences below it.
    pub caption: String,
    /// What the values are.
    pub value: Axis,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// A bar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Label.
    pub name: String,
    /// Length.
    #[serde(with = "finite::one")]
    pub value: f64,
    /// Lower and upper end over seeds or folds, where there are several.
    #[serde(with = "finite::maybe_pair")]
    pub spread: Option<(f64, f64)>,
}
