//! A drawing on plotters' SVG backend, in units of a pixel.
//!
//! The backend knows whole pixels only and no groups. So each layer is drawn ten times too large and scaled back by the view
//! box, and is wrapped in a group of its own, which carries dashes, halos and the name that a browser shows under the mouse.

use std::fmt::Write as _;

use plotters::backend::SVGBackend;
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

use crate::escape;

use super::theme::{self, PAPER};

/// Units of the backend in a pixel.
const UNIT: f64 = 10.0;
/// Fonts, the first that is there.
const FONTS: &str =
    "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif";

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) w: f64,
    pub(crate) h: f64,
}

impl Rect {
    pub(crate) fn new(x: f64, y: f64, w: f64, h: f64) -> Rect {
        Rect { x, y, w, h }
    }

    pub(crate) fn right(&self) -> f64 {
        self.x + self.w
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.y + self.h
    }

    pub(crate) fn corners(&self) -> [(f64, f64); 4] {
        [(self.x, self.y), (self.right(), self.y), (self.right(), self.bottom()), (self.x, self.bottom())]
    }
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Font {
    pub(crate) size: f64,
    pub(crate) colour: RGBColor,
    pub(crate) anchor: Anchor,
    pub(crate) bold: bool,
    /// Reads from bottom to top.
    pub(crate) up: bool,
}

impl Font {
    pub(crate) fn new(size: f64, colour: RGBColor, anchor: Anchor) -> Font {
        Font { size, colour, anchor, bold: false, up: false }
    }
}

/// What a layer's group says of everything in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    attributes: String,
    title: String,
}

impl Layer {
    /// Shown under the mouse and read aloud.
    pub(crate) fn titled(title: &str) -> Layer {
        Layer { attributes: String::new(), title: title.to_owned() }
    }

    /// Dashes, lengths in pixels.
    pub(crate) fn dashed(mut self, lengths: &[f64]) -> Layer {
        if !lengths.is_empty() {
            let lengths: Vec<String> =
                lengths.iter().map(|length| (length * UNIT).round().to_string()).collect();
            let _ = write!(self.attributes, " stroke-dasharray=\"{}\"", lengths.join(" "));
        }
        self
    }

    /// Round ends and corners.
    pub(crate) fn round(mut self) -> Layer {
        self.attributes.push_str(" stroke-linejoin=\"round\" stroke-linecap=\"round\"");
        self
    }

    /// Texts get an edge of this colour, so that they can be read on lines.
    pub(crate) fn halo(mut self, colour: RGBColor) -> Layer {
        let (colour, width) = (theme::hex(colour), 3.5 * UNIT);
        let _ = write!(
            self.attributes,
            " stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" paint-order=\"stroke\""
        );
        self
    }

    /// Edges of rectangles on whole pixels of the screen: no seams between neighbours.
    pub(crate) fn crisp(mut self) -> Layer {
        self.attributes.push_str(" shape-rendering=\"crispEdges\"");
        self
    }
}

/// A drawing of fixed size.
pub(crate) struct Canvas {
    size: (f64, f64),
    body: String,
}

impl Canvas {
    /// Nothing but paper. Whole pixels.
    pub(crate) fn new(width: f64, height: f64) -> Canvas {
        let mut canvas = Canvas { size: (width.ceil(), height.ceil()), body: String::new() };
        let all = Rect::new(0.0, 0.0, canvas.size.0, canvas.size.1);
        canvas.layer(Layer::default(), |pen| pen.rect(all, PAPER, 1.0));
        canvas
    }

    /// Draws a layer over what is there.
    pub(crate) fn layer(&mut self, layer: Layer, draw: impl FnOnce(&mut Pen<'_>)) {
        let mut text = String::new();
        let size = ((self.size.0 * UNIT) as u32, (self.size.1 * UNIT) as u32);
        let mut pen = Pen { backend: SVGBackend::with_string(&mut text, size) };
        draw(&mut pen);
        sure(pen.backend.present());
        drop(pen);
        // What stands between the backend's own opening and closing tag.
        let start = text.find('>').map_or(0, |at| at + 1);
        let end = text.rfind("</svg>").unwrap_or(text.len());
        let inner = text[start..end].trim();
        if inner.is_empty() {
            return;
        }
        // Both say what is the case anyway. A quote in a text is `&quot;`, so nothing else can look like them.
        let inner = inner.replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", "");
        if layer.attributes.is_empty() && layer.title.is_empty() {
            self.body.push_str(&inner);
            self.body.push('\n');
            return;
        }
        let _ = writeln!(self.body, "<g{}>", layer.attributes);
        if !layer.title.is_empty() {
            let _ = writeln!(self.body, "<title>{}</title>", escape::xml(&layer.title));
        }
        let _ = writeln!(self.body, "{inner}\n</g>");
    }

    /// The drawing as an element of a page. `label` is what it is, for those who do not see it. `style` are rules for a
    /// drawing that stands alone, which then also follows the colours of the screen.
    pub(crate) fn finish(self, label: &str, style: &str) -> String {
        let (width, height) = self.size;
        let style = if style.is_empty() { String::new() } else { format!("<style>\n{style}</style>\n") };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fusion-plot\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 \
             {} {}\" font-family=\"{FONTS}\" role=\"img\" aria-label=\"{}\">\n{style}{}</svg>\n",
            width * UNIT,
            height * UNIT,
            escape::xml(label),
            self.body
        )
    }
}

/// Draws into a layer. Coordinates and widths are pixels; what is not finite must have been left out before.
pub(crate) struct Pen<'a> {
    backend: SVGBackend<'a>,
}

/// The backend writes to a string, which takes everything.
fn sure<E: std::fmt::Debug>(result: Result<(), E>) {
    debug_assert!(result.is_ok(), "{result:?}");
}

fn place((x, y): (f64, f64)) -> (i32, i32) {
    ((x * UNIT).round() as i32, (y * UNIT).round() as i32)
}

fn stroke(colour: RGBColor, width: f64) -> ShapeStyle {
    ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: (width * UNIT).round() as u32 }
}

fn fill(colour: RGBColor, alpha: f64) -> ShapeStyle {
    ShapeStyle { color: colour.mix(alpha), filled: true, stroke_width: 0 }
}

impl Pen<'_> {
    /// A line through the points.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], colour: RGBColor, width: f64) {
        if points.len() > 1 {
            sure(self.backend.draw_path(points.iter().copied().map(place), &stroke(colour, width)));
        }
    }

    /// A filled polygon.
    pub(crate) fn polygon(&mut self, points: &[(f64, f64)], colour: RGBColor, alpha: f64) {
        sure(self.backend.fill_polygon(points.iter().copied().map(place), &fill(colour, alpha)));
    }

    /// A filled rectangle.
    pub(crate) fn rect(&mut self, rect: Rect, colour: RGBColor, alpha: f64) {
        let (from, to) = (place((rect.x, rect.y)), place((rect.right(), rect.bottom())));
        sure(self.backend.draw_rect(from, to, &fill(colour, alpha), true));
    }

    /// The edge of a rectangle.
    pub(crate) fn outline(&mut self, rect: Rect, colour: RGBColor, width: f64) {
        let [a, b, c, d] = rect.corners();
        // From the middle of a side, so that every corner is a joint.
        let start = ((a.0 + b.0) / 2.0, a.1);
        self.line(&[start, b, c, d, a, start], colour, width);
    }

    /// A filled circle.
    pub(crate) fn disc(&mut self, at: (f64, f64), radius: f64, colour: RGBColor) {
        sure(self.backend.draw_circle(place(at), (radius * UNIT).round() as u32, &fill(colour, 1.0), true));
    }

    /// The edge of a circle.
    pub(crate) fn ring(&mut self, at: (f64, f64), radius: f64, colour: RGBColor, width: f64) {
        sure(self.backend.draw_circle(
            place(at),
            (radius * UNIT).round() as u32,
            &stroke(colour, width),
            false,
        ));
    }

    /// A text in one line whose middle height is at the point.
    pub(crate) fn text(&mut self, at: (f64, f64), text: &str, font: Font) {
        // The backend divides sizes by 1.24, and has the middle of an x at the point.
        let family = ("sans-serif", font.size * 1.24 * UNIT).into_font();
        let family = if font.bold { family.style(FontStyle::Bold) } else { family };
        let family = if font.up { family.transform(FontTransform::Rotate270) } else { family };
        let across = match font.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let style = TextStyle::from(family).color(&font.colour).pos(Pos::new(across, VPos::Center));
        sure(self.backend.draw_text(&escape::line(text), &style, place(at)));
    }
}

/// About how wide a text is, in pixels: by the widths of Helvetica, rounded up, since the font is the reader's.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let em: f64 = text.chars().map(em).sum();
    em * size
}

fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' | '|' | '.' | ',' | ':' | ';' | '!' | '\u{202f}' => 0.29,
        ' ' | 'f' | 't' | 'r' | 'I' | '(' | ')' | '[' | ']' | '/' | '-' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '→' | '∞' => 0.9,
        'A'..='Z' | '&' => 0.7,
        '⁰'..='⁹' | '⁻' | '¹' | '²' | '³' => 0.36,
        c if (c as u32) < 0x1100 => 0.57,
        // Wide scripts and pictures.
        c if (c as u32) >= 0x2e80 => 1.05,
        _ => 0.8,
    }
}

/// The text, or as much of it as fits, with `…` at its end.
pub(crate) fn fit(text: &str, size: f64, most: f64) -> String {
    let text = escape::line(text);
    if width(&text, size) <= most {
        return text;
    }
    let mut kept = String::new();
    let mut used = em('…') * size;
    for c in text.chars() {
        used += em(c) * size;
        if used > most {
            break;
        }
        kept.push(c);
    }
    kept.trim_end().to_owned() + "…"
}
