//! The formatter: idempotent, keeps comments and meaning, leaves broken items alone.

mod support;

use fusion_dsl::{fmt, parse};
use support::{RECIPES, json};

/// Formats twice: the second time changes nothing, and the tree stays the same.
fn check(name: &str, text: &str) -> String {
    let (once, _) = fmt::format(text);
    let (twice, _) = fmt::format(&once);
    assert_eq!(once, twice, "{name}: not idempotent");
    let (before, errors) = parse(text);
    let (after, _) = parse(&once);
    if errors.is_empty() {
        assert_eq!(json(&before), json(&after), "{name}: the meaning changed\n{once}");
    }
    let comments = |text: &str| text.matches('#').count();
    assert_eq!(comments(text), comments(&once), "{name}: a comment was lost");
    once
}

#[test]
fn the_recipes_stay_the_same_recipes() {
    for (name, text) in RECIPES {
        check(name, text);
        check(name, &text.replace('\n', "\r\n"));
        check(name, &text.replace("  ", "\t"));
        check(name, &text.replace("\n\n", "\n\n\n\n"));
        check(name, &text.replace(" = ", "="));
    }
}

#[test]
fn the_recipes_of_the_reference_are_nearly_in_style() {
    let (_, text) = RECIPES[0];
    insta::assert_snapshot!(check("a1", text));
    let (_, text) = RECIPES[3];
    insta::assert_snapshot!(check("a4", text));
}

#[test]
fn odd_layouts_come_out_in_one_style() {
    let text = r#"
# first


  # indented comment
fusion   1 # edition
param    keep:fraction=60%"share" ;param n : count=3
import "x.fusion" as  x with{width=1024,}
model m[i]from "a"{scale=1.0;adapter= "b" ; }
let v=[
1,2, # two
  # own line
  ramp( 0.2,to : -0.6 ) ]
let w = (1 +
  2) * - x[ * ].best - not  y
average merged using   ties{ # why
  base llama;from chat {weight=0.1; on "*.mlp.*"{weight=2}}


  density=keep

  normalize   =true # yes
  on?layers 0 ..= 4{weight=0}
  on "*.self_attn.*"{weight=0}
  from [ a,b[2],
   c ]

}
average long using mean { from a_very_long_name_of_a_model_number_one { weight = 0.25 }; from another_long_name }
ensemble e using soft_vote { from [
  a,
  b
] }
expect a.b  <= 5GB
report [ a,b ]to"x"
sweep {}
# last"#;
    insta::assert_snapshot!(check(
        "odd",
        &text.replace("60%\"", "60% \"").replace("width=1024,", "width=1024")
    ));
}

#[test]
fn broken_items_are_left_as_they_are() {
    let text = "fusion 1\naverage   x using y {\n   a = \n}\nmodel   b from \"x\" # keep\nlet c = [1,\nsave   b to \"y\"\n";
    let (out, diagnostics) = fmt::format(text);
    assert_eq!(diagnostics.len(), 2, "{diagnostics:#?}");
    assert_eq!(
        out,
        "fusion 1\n\naverage   x using y {\n   a = \n}\nmodel b from \"x\"  # keep\nlet c = [1,\nsave b to \"y\"\n"
    );
    check("broken", text);
}

#[test]
fn carriage_returns_behind_a_broken_item_go_at_once() {
    for text in ["\"\r\r", "fusion 1\n\"a\r\r\r\nmodel b from \"x\"\r\n", "fusion 1\nlet x = \"\r"] {
        check("carriage returns", text);
    }
}

#[test]
fn items_are_moved_to_column_one() {
    let (out, diagnostics) = fmt::format("fusion 1\n\n   model a from \"x\"\n");
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(out, "fusion 1\n\nmodel a from \"x\"\n");
    assert!(parse(&out).1.is_empty());
}

#[test]
fn a_value_joined_to_one_line_lines_up_at_once() {
    let once = check(
        "joined",
        "fusion 1\ntrain t using sgd {\n  rate = uniform(0,\n    1)\n  seed = 1\n  e = [\n    1\n  ]\n}\n",
    );
    assert!(once.contains("  rate = uniform(0, 1)\n  seed = 1\n  e = [\n    1,\n  ]\n"), "{once}");
}
