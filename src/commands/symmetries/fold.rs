//! Folds what is said of layers that are alike into one line: `layers.[0-11].mlp.up_proj.weight`.

use std::collections::BTreeMap;

/// A row: a name with numbered layers in it, and what is said of it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    name: String,
    cells: Vec<String>,
}

impl Line {
    pub(super) fn new(name: &str, cells: impl IntoIterator<Item = String>) -> Line {
        Line { name: name.to_owned(), cells: cells.into_iter().collect() }
    }

    /// The stack that it belongs to and its number there: `model.layers.` and 3.
    fn place(&self) -> Option<(&str, usize)> {
        let mut start = 0;
        for part in self.name.split('.') {
            if let Ok(number) = part.parse()
                && start > 0
                && start + part.len() < self.name.len()
            {
                return Some((&self.name[..start], number));
            }
            start += part.len() + 1;
        }
        None
    }

    fn row(&self) -> Vec<String> {
        [self.name.clone()].into_iter().chain(self.cells.iter().cloned()).collect()
    }
}

/// The rows, layers folded unless `all`. A group of equal layers stands where its first one does.
pub(super) fn fold(lines: Vec<Line>, all: bool) -> Vec<Vec<String>> {
    if all {
        return lines.iter().map(Line::row).collect();
    }
    // What each layer says, with its own number left open.
    let mut layers: BTreeMap<(String, usize), Vec<Vec<String>>> = BTreeMap::new();
    for line in &lines {
        if let Some((stack, number)) = line.place() {
            let own = format!("{stack}{number}.");
            let open = line.row().into_iter().map(|cell| cell.replace(&own, &format!("{stack}*.")));
            layers.entry((stack.to_owned(), number)).or_default().push(open.collect());
        }
    }
    let mut rows = Vec::new();
    for line in &lines {
        let Some((stack, number)) = line.place() else {
            rows.push(line.row());
            continue;
        };
        let same =
            |other: usize| layers.get(&(stack.to_owned(), other)) == layers.get(&(stack.to_owned(), number));
        // Only the first of a run of equal layers speaks.
        if number > 0 && same(number - 1) {
            continue;
        }
        let last = (number..).take_while(|other| same(*other)).last().unwrap_or(number);
        let label = if last > number { format!("[{number}-{last}]") } else { number.to_string() };
        let (own, folded) = (format!("{stack}{number}."), format!("{stack}{label}."));
        rows.push(line.row().into_iter().map(|cell| cell.replace(&own, &folded)).collect());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_layers_are_one_line() {
        let line = |name: &str, cell: &str| Line::new(name, [cell.to_owned()]);
        let lines = vec![
            line("embed", "stream"),
            line("l.0.up", "l.0.up, reads stream"),
            line("l.0.b", "stream"),
            line("l.1.up", "l.1.up, reads stream"),
            line("l.1.b", "stream"),
            line("l.2.up", "other"),
            line("fc.0", "x"),
        ];
        let names = |all: bool| -> Vec<String> {
            fold(lines.clone(), all).into_iter().map(|row| row.join(" = ")).collect()
        };
        assert_eq!(
            names(false),
            [
                "embed = stream",
                "l.[0-1].up = l.[0-1].up, reads stream",
                "l.[0-1].b = stream",
                "l.2.up = other",
                "fc.0 = x"
            ]
        );
        assert_eq!(names(true).len(), 7);
    }
}
