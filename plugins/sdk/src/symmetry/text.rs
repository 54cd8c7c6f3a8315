//! Symmetries as text, to be read, declared in a recipe, or kept in a file beside a checkpoint.
//!
//! ```text
//! symmetries 1
//! node stream[768]
//! node head[12]
//! node dv[64] in head
//! attn.v.weight = head · dv, reads stream
//! attn.o.weight = stream, reads head · dv
//! bn.running_var (variance) = stream
//! ```
//! Where the parts of a product differ, they stand in brackets behind what they have in common, which is the slower:
//! `attn.qkv.weight = head · (pin[128] ++ dv), reads stream`. Tensors in any order; nodes before their use; `*` may stand for `·`, `;` for the
//! end of a line; `#` begins a comment; `1` is an axis of length 1.

use std::fmt;

use super::{
    Axis, Factor, Node, NodeId, Origin, Product, Side, Symmetries, SymmetryError, TensorAxes, TensorRole,
};

/// A text that is no description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A line that cannot be read.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// An empty text, or one in which nothing could move.
    #[error(
        "there is no node in it: `node name[units]`, then the tensors that have it, `tensor = name, pin[3]`"
    )]
    NoNodes,
    /// It reads, and contradicts itself.
    #[error(transparent)]
    Contradiction(#[from] SymmetryError),
}

/// First line.
const HEADING: &str = "symmetries 1";

impl fmt::Display for Symmetries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADING}")?;
        for node in &self.nodes {
            write!(f, "node {}[{}]", node.name, node.size)?;
            for (index, parent) in node.parents.iter().enumerate() {
                let word = if index == 0 { " in " } else { ", " };
                write!(f, "{word}{}", self.node(*parent).name)?;
            }
            writeln!(f, "{}", if node.scalable { " scalable" } else { "" })?;
        }
        for tensor in &self.tensors {
            write!(f, "{}", tensor.name)?;
            match tensor.role {
                TensorRole::Parameter => {}
                TensorRole::Mean => write!(f, " (mean)")?,
                TensorRole::Variance => write!(f, " (variance)")?,
            }
            writeln!(f, " = {}", self.dimension_texts(tensor).join(", "))?;
        }
        Ok(())
    }
}

impl Symmetries {
    /// The dimensions of a tensor as texts.
    #[must_use]
    pub fn dimension_texts(&self, tensor: &TensorAxes) -> Vec<String> {
        let text = |axes: &[Axis]| match axes {
            [axis] => self.axis_text(axis),
            _ => {
                let inner = axes.iter().rev().map(|axis| self.segments_text(axis));
                let inner = inner.reduce(|inner, outer| format!("{outer} · ({inner})")).unwrap_or_default();
                format!("{}{inner}", axes.first().map_or("", |axis| word(axis.side)))
            }
        };
        tensor.dimensions().map(text).collect()
    }

    /// An axis as text.
    #[must_use]
    pub fn axis_text(&self, axis: &Axis) -> String {
        format!("{}{}", word(axis.side), self.segments_text(axis))
    }

    fn segments_text(&self, axis: &Axis) -> String {
        let products: Vec<String> = axis.segments.iter().map(|product| self.product_text(product)).collect();
        products.join(" ++ ")
    }

    /// A product as text.
    #[must_use]
    pub fn product_text(&self, product: &[Factor]) -> String {
        let factors: Vec<String> = product
            .iter()
            .map(|factor| match factor {
                Factor::Node(id) => self.node(*id).name.clone(),
                Factor::Pinned(length) => format!("pin[{length}]"),
            })
            .collect();
        if factors.is_empty() { "1".to_owned() } else { factors.join(" · ") }
    }

    /// Reads what [`std::fmt::Display`] writes, or what a person has written like it, also with a byte order mark.
    ///
    /// # Errors
    /// A line cannot be read, there is no node, or the whole contradicts itself ([`Symmetries::check`]).
    pub fn parse(text: &str) -> Result<Symmetries, TextError> {
        let mut found = Symmetries {
            origin: Origin::Declared,
            nodes: Vec::new(),
            tensors: Vec::new(),
            notes: Vec::new(),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.split(['\n', ';']).enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() || line == HEADING {
                continue;
            }
            let read = match line.strip_prefix("node ") {
                Some(rest) if !rest.contains('=') => found.read_node(rest.trim()),
                _ => found.read_tensor(line),
            };
            read.map_err(|message| TextError::Line { line: index + 1, message })?;
        }
        if found.nodes.is_empty() {
            return Err(TextError::NoNodes);
        }
        found.check()?;
        Ok(found)
    }

    fn read_node(&mut self, text: &str) -> Result<(), String> {
        let (text, scalable) = match text.strip_suffix(" scalable") {
            Some(text) => (text.trim_end(), true),
            None => (text, false),
        };
        let (head, parents) = match text.split_once(" in ") {
            Some((head, parents)) => (head.trim(), parents.trim()),
            None => (text, ""),
        };
        let (name, size) = sized(head).ok_or_else(|| format!("`{head}` should be `name[units]`"))?;
        let mut own = Vec::new();
        for parent in parents.split(',').map(str::trim).filter(|parent| !parent.is_empty()) {
            let id = self.known(parent)?;
            own.push(id);
            own.extend(self.node(id).parents.iter().copied());
        }
        own.sort_unstable();
        own.dedup();
        self.nodes.push(Node { name: name.to_owned(), size, parents: own, scalable });
        Ok(())
    }

    fn read_tensor(&mut self, line: &str) -> Result<(), String> {
        let (name, axes) = line
            .split_once('=')
            .ok_or_else(|| format!("`{line}` should be `tensor = axis, axis` or `node name[units]`"))?;
        let name = name.trim();
        let (name, role) = match name.rsplit_once(" (") {
            Some((name, "mean)")) => (name, TensorRole::Mean),
            Some((name, "variance)")) => (name, TensorRole::Variance),
            _ => (name, TensorRole::Parameter),
        };
        if self.tensor(name).is_some() {
            return Err(format!("`{name}` has its axes already"));
        }
        let each = axes.split(',').map(|axis| self.read_dimension(axis.trim()));
        let axes = each.collect::<Result<Vec<Vec<Axis>>, _>>()?.concat();
        self.tensors.push(TensorAxes { name: name.to_owned(), role, axes });
        Ok(())
    }

    /// The axes of a dimension: one, or `product · (segments)`.
    fn read_dimension(&self, text: &str) -> Result<Vec<Axis>, String> {
        let (side, mut text) = match (text.strip_prefix("reads "), text.strip_prefix("both ")) {
            (Some(rest), _) => (Side::Reads, rest),
            (_, Some(rest)) => (Side::Both, rest),
            _ => (Side::Writes, text),
        };
        let mut axes = Vec::new();
        while let Some((outer, rest)) = text.split_once('(') {
            let wrong = || format!("`{text}` should be `product · (products behind each other)`");
            let inner = rest.trim_end().strip_suffix(')').ok_or_else(wrong)?;
            let outer = outer.trim_end().strip_suffix(['·', '*']).ok_or_else(wrong)?;
            if outer.contains("++") {
                return Err(wrong());
            }
            axes.push(Axis { segments: vec![self.read_product(outer.trim())?], side, joined: true });
            text = inner.trim();
        }
        let segments =
            text.split("++").map(|product| self.read_product(product.trim())).collect::<Result<_, _>>()?;
        axes.push(Axis { segments, side, joined: false });
        Ok(axes)
    }

    fn read_product(&self, text: &str) -> Result<Product, String> {
        if text == "1" {
            return Ok(Vec::new());
        }
        text.split(['·', '*'])
            .map(|factor| {
                let factor = factor.trim();
                match sized(factor) {
                    Some(("pin", length)) => Ok(Factor::Pinned(length)),
                    Some((name, size)) => {
                        let id = self.known(name)?;
                        match self.node(id).size == size {
                            true => Ok(Factor::Node(id)),
                            false => Err(format!("`{name}` has {} units, not {size}", self.node(id).size)),
                        }
                    }
                    None => self.known(factor).map(Factor::Node),
                }
            })
            .collect()
    }

    fn known(&self, name: &str) -> Result<NodeId, String> {
        self.named(name).ok_or_else(|| {
            let known: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            match known.is_empty() {
                true => format!("there is no node `{name}`: say `node {name}[units]` before"),
                false => format!("there is no node `{name}`; there are {}", known.join(", ")),
            }
        })
    }
}

/// In front of an axis.
fn word(side: Side) -> &'static str {
    match side {
        Side::Writes => "",
        Side::Reads => "reads ",
        Side::Both => "both ",
    }
}

/// `name[number]`
fn sized(text: &str) -> Option<(&str, usize)> {
    let (name, size) = text.strip_suffix(']')?.split_once('[')?;
    Some((name.trim(), size.trim().parse().ok()?)).filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "symmetries 1
node stream[8]
node kv[2]
node r[3] in kv
node dv[4] in kv scalable
q.weight = kv · r · pin[4], reads stream
v.weight = kv · dv, reads stream
o.weight = stream, reads kv · r · dv
qkv.weight = kv · dv ++ kv · dv, reads 1
fused.weight = kv · (r · pin[4] ++ pin[4] ++ dv), reads stream
back.weight = stream, reads kv · (r ++ dv)
norm.running_var (variance) = stream
emb.weight = pin[11], both stream
";

    #[test]
    fn text_and_back() {
        let read = Symmetries::parse(TEXT).unwrap();
        assert_eq!(read.to_string(), TEXT);
        assert_eq!(Symmetries::parse(&read.to_string()).unwrap().fingerprint(), read.fingerprint());
        assert_eq!(read.shape(2), [8, 24]);
        assert_eq!((read.shape(4), read.lengths(4)), (vec![40, 8], vec![2, 20, 8]));
        assert_eq!(read.copies(read.named("r").unwrap()), 2);
        let mut turned = read.tensors[4].clone();
        turned.transpose();
        assert_eq!(read.dimension_texts(&turned), ["reads stream", "kv · (r · pin[4] ++ pin[4] ++ dv)"]);
    }

    #[test]
    fn people_write_stars_and_comments() {
        let read = Symmetries::parse(
            "node c[4]  # channels\n\nfc.weight = pin[10], reads c * pin[49]; fc.bias = pin[10]",
        )
        .unwrap();
        assert_eq!(read.shape(0), [10, 196]);
        let marked = Symmetries::parse("\u{feff}symmetries 1\r\nnode c[4]\r\nw=c, pin[2]\r\n").unwrap();
        assert_eq!((marked.tensors[0].name.as_str(), marked.shape(0)), ("w", vec![4, 2]));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text: &str| Symmetries::parse(text).unwrap_err().to_string();
        assert_eq!(error("node h[4]\nfc.weight = g"), "line 2: there is no node `g`; there are h");
        assert_eq!(error("node h"), "line 1: `h` should be `name[units]`");
        assert_eq!(error("node h[4]\nw = h[5]"), "line 2: `h` has 4 units, not 5");
        assert_eq!(error("node h[0]\nw = h"), "the node `h` has no units");
        assert_eq!(error("node h[4]"), "no tensor uses the node `h`");
        for text in ["", "symmetries 1\n", "# nothing\n", "w = pin[3]"] {
            assert!(error(text).starts_with("there is no node in it"), "{text}");
        }
        let large = 1_u64 << 32;
        let text =
            format!("node h[{large}]\nnode g[{large}] in h\nw = h · g\nv = h, g · pin[{large}], pin[0]");
        assert_eq!(error(&text), "`w` has more elements than can be counted");
        let orphan = error("node p[2]\nnode c[3] in p\na = p\nw = c");
        assert!(orphan.contains("`c`, which lies in `p`"), "{orphan}");
        for text in ["p (p)", "p · (p", "p ++ p · (p)", "(p)"] {
            let error = error(&format!("node p[2]\nw = {text}"));
            assert!(error.contains("should be"), "{error}");
        }
    }
}
