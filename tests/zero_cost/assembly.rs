//! One function of an assembly text, normalised for a comparison.

use std::collections::HashMap;
use std::fmt::Write;

/// The function's instructions and labels, one a line, followed by the constants that it refers to.
///
/// Local labels are numbered by their first appearance, and directives are removed. Registers, offsets, constants
/// and the names of called functions are unchanged. `None` if there is no such function.
///
/// The function is found by the end of its symbol, so its crate must be compiled with v0 symbol names.
pub fn function(text: &str, name: &str) -> Option<String> {
    let symbol_end = format!("{}{name}", name.len());
    let is_start = |line: &&str| label(line).is_some_and(|label| label.ends_with(&symbol_end));
    let mut lines = text.lines().skip_while(|line| !is_start(line));
    lines.next()?;

    let mut labels = Labels::default();
    let mut out = String::new();
    for line in lines.take_while(|line| !line.trim().starts_with(".cfi_endproc")) {
        if label(line).is_some() || !is_directive(line) {
            labels.write_line(&mut out, line);
        }
    }
    // A constant may refer to another one, so the list can grow during the loop.
    let mut next = 0;
    while let Some(constant) = labels.order.get(next).cloned() {
        next += 1;
        for line in data(text, &constant) {
            labels.write_line(&mut out, line);
        }
    }
    Some(out)
}

/// The lines of data under a label, if it is a label of data.
fn data<'a>(text: &'a str, of: &str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .skip_while(move |line| label(line) != Some(of))
        .skip(1)
        .take_while(|line| is_data(line))
}

fn label(line: &str) -> Option<&str> {
    line.trim_end()
        .strip_suffix(':')
        .filter(|label| !label.starts_with(char::is_whitespace))
}

fn is_directive(line: &str) -> bool {
    line.trim().is_empty() || line.trim().starts_with('.')
}

fn is_data(line: &str) -> bool {
    const DATA: [&str; 13] = [
        ".byte", ".short", ".2byte", ".hword", ".long", ".4byte", ".word", ".quad", ".8byte",
        ".xword", ".ascii", ".asciz", ".zero",
    ];
    let directive = line.split_whitespace().next().unwrap_or_default();
    DATA.contains(&directive)
}

/// Local labels, in the order of their first appearance.
#[derive(Default)]
struct Labels {
    order: Vec<String>,
    number: HashMap<String, usize>,
}

impl Labels {
    /// Writes a line with numbered local labels and normalised white space.
    fn write_line(&mut self, out: &mut String, line: &str) {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let in_label = |c: char| c.is_ascii_alphanumeric() || "._$".contains(c);
        let mut rest = words.as_str();
        while let Some(start) = rest.find(in_label) {
            let end = rest[start..]
                .find(|c| !in_label(c))
                .map_or(rest.len(), |n| start + n);
            out.push_str(&rest[..start]);
            match &rest[start..end] {
                local
                    if local.starts_with(".L")
                        || local.starts_with("LBB")
                        || local.starts_with("LCPI") =>
                {
                    let _ = write!(out, "label{}", self.number(local));
                }
                other => out.push_str(other),
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
        out.push('\n');
    }

    fn number(&mut self, label: &str) -> usize {
        *self.number.entry(label.to_owned()).or_insert_with(|| {
            self.order.push(label.to_owned());
            self.order.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::function;

    const ONE: &str = "_RNvCs1_3one4call:\n\t.cfi_startproc\n\tmovq\t.LCPI0_0(%rip), %rax\n\tje .LBB0_2\n\
                       .LBB0_2:\n\tretq\n\t.cfi_endproc\n.LCPI0_0:\n\t.quad\t7\n";

    #[test]
    fn labels_and_blanks_do_not_count() {
        let other = ONE
            .replace("LBB0_2", "LBB5_9")
            .replace("LCPI0", "LCPI8")
            .replace("je ", "je\t");
        assert_eq!(function(ONE, "call"), function(&other, "call"));
        assert_eq!(
            function(ONE, "call").unwrap(),
            "movq label1(%rip), %rax\nje label2\nlabel2:\nretq\n.quad 7\n"
        );
    }

    #[test]
    fn registers_and_constants_count() {
        for (from, to) in [("%rax", "%rcx"), ("\t7\n", "\t8\n"), ("je ", "jne ")] {
            assert_ne!(
                function(ONE, "call"),
                function(&ONE.replace(from, to), "call")
            );
        }
    }

    #[test]
    fn a_name_is_matched_whole() {
        assert_eq!(function(ONE, "all"), None);
    }
}
