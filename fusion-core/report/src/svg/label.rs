//! Where a label may stand so that it hides no data: of some candidates, the one that covers least.

use super::canvas::{Anchor, Rect, width};

/// What labels must keep clear of.
pub(crate) struct Placer {
    bounds: Rect,
    /// Points of lines, close to each other.
    points: Vec<(f64, f64)>,
    boxes: Vec<Rect>,
}

/// A place for a label: its point (middle of its height) and the side on which the text stands.
pub(crate) type Spot = (f64, f64, Anchor);

impl Placer {
    /// Labels stay within these bounds where they can.
    pub(crate) fn new(bounds: Rect) -> Placer {
        Placer { bounds, points: Vec::new(), boxes: Vec::new() }
    }

    /// Keeps clear of a line through these points.
    pub(crate) fn avoid_line(&mut self, line: &[(f64, f64)]) {
        for pair in line.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let steps = (((x1 - x0).hypot(y1 - y0) / 3.0).ceil() as usize).clamp(1, 1000);
            for step in 0..=steps {
                let part = step as f64 / steps as f64;
                self.points.push((x0 + (x1 - x0) * part, y0 + (y1 - y0) * part));
            }
        }
    }

    /// Keeps clear of a mark of this radius.
    pub(crate) fn avoid_mark(&mut self, (x, y): (f64, f64), radius: f64) {
        self.boxes.push(Rect::new(x - radius, y - radius, 2.0 * radius, 2.0 * radius));
    }

    /// The best of the candidates, which earlier ones win when equal; it is taken from then on. Also how bad it is: below 1 it
    /// covers nothing.
    pub(crate) fn place(&mut self, text: &str, size: f64, candidates: &[Spot]) -> Option<(Spot, f64)> {
        let mut best: Option<(Spot, f64)> = None;
        for (order, spot) in candidates.iter().enumerate() {
            let cost = self.cost(extent(text, size, *spot)) + order as f64 * 0.01;
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((*spot, cost));
            }
        }
        if let Some((spot, _)) = best {
            self.boxes.push(extent(text, size, spot));
        }
        best
    }

    /// How bad a place is, without taking it.
    pub(crate) fn try_out(&self, text: &str, size: f64, spot: Spot) -> f64 {
        self.cost(extent(text, size, spot))
    }

    fn cost(&self, area: Rect) -> f64 {
        let near = |(x, y): &&(f64, f64)| {
            *x > area.x - 2.0 && *x < area.right() + 2.0 && *y > area.y - 1.0 && *y < area.bottom() + 1.0
        };
        let points = self.points.iter().filter(near).count() as f64;
        let boxes: f64 = self.boxes.iter().map(|other| overlap(area, *other)).sum();
        let outside = area.w * area.h - overlap(area, self.bounds);
        points + boxes + outside * 2.0
    }
}

/// The rectangle that a text covers.
pub(crate) fn extent(text: &str, size: f64, (x, y, anchor): Spot) -> Rect {
    let w = width(text, size);
    let left = match anchor {
        Anchor::Start => x,
        Anchor::Middle => x - w / 2.0,
        Anchor::End => x - w,
    };
    Rect::new(left, y - size * 0.6, w, size * 1.2)
}

fn overlap(a: Rect, b: Rect) -> f64 {
    let w = a.right().min(b.right()) - a.x.max(b.x);
    let h = a.bottom().min(b.bottom()) - a.y.max(b.y);
    if w > 0.0 && h > 0.0 { w * h } else { 0.0 }
}

/// Eight places around a mark.
pub(crate) fn around((x, y): (f64, f64), far: f64) -> Vec<Spot> {
    let near = far * 0.7;
    vec![
        (x + far, y, Anchor::Start),
        (x - far, y, Anchor::End),
        (x, y - far - 6.0, Anchor::Middle),
        (x, y + far + 6.0, Anchor::Middle),
        (x + near, y - near - 4.0, Anchor::Start),
        (x - near, y - near - 4.0, Anchor::End),
        (x + near, y + near + 4.0, Anchor::Start),
        (x - near, y + near + 4.0, Anchor::End),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_goes_where_nothing_is() {
        let mut placer = Placer::new(Rect::new(0.0, 0.0, 200.0, 100.0));
        placer.avoid_line(&[(50.0, 50.0), (200.0, 50.0)]);
        let (spot, cost) = placer.place("left", 10.0, &around((50.0, 50.0), 8.0)).unwrap();
        assert_eq!(spot.2, Anchor::End);
        assert!(cost < 1.0);
        // The second label of the same mark must take another place.
        let (second, cost) = placer.place("again", 10.0, &around((50.0, 50.0), 8.0)).unwrap();
        assert_ne!(second, spot);
        assert!(cost < 1.0);
    }

    #[test]
    fn a_label_stays_within_the_bounds() {
        let mut placer = Placer::new(Rect::new(0.0, 0.0, 200.0, 100.0));
        let (spot, _) = placer.place("a long label", 10.0, &around((195.0, 5.0), 8.0)).unwrap();
        let area = extent("a long label", 10.0, spot);
        assert!(area.right() <= 200.0 && area.x >= 0.0, "{area:?}");
    }
}
